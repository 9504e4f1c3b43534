// The test service as a program: prints its address (and, with --tls, the file of its authority), serves until its
// standard input ends or a signal comes.
#include <signal.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "support/service/service.hpp"

int main(int argc, char** argv) {
  orkestr::testing::TestService::Options options;
  for (int i = 1; i < argc; ++i) {
    if (std::strcmp(argv[i], "--port") == 0 && i + 1 < argc) {
      options.port = std::atoi(argv[++i]);
    } else if (std::strcmp(argv[i], "--key") == 0 && i + 1 < argc) {
      options.key = argv[++i];
    } else if (std::strcmp(argv[i], "--prefix") == 0 && i + 1 < argc) {
      options.prefix = argv[++i];
    } else if (std::strcmp(argv[i], "--tls") == 0) {
      options.tls = true;
    } else if (std::strcmp(argv[i], "--no-record") == 0) {
      options.record = false;
    } else {
      std::fprintf(stderr,
                   "usage: orkestr-test-service [--port N] [--key KEY] [--prefix PATH] [--tls] [--no-record]\n");
      return 2;
    }
  }
  // Both interrupt the wait below: blocked in the service's own threads, and handled without a restart.
  sigset_t ends;
  sigemptyset(&ends);
  sigaddset(&ends, SIGTERM);
  sigaddset(&ends, SIGINT);
  ::pthread_sigmask(SIG_BLOCK, &ends, nullptr);
  struct sigaction action {};
  action.sa_handler = [](int) {};
  ::sigaction(SIGTERM, &action, nullptr);
  ::sigaction(SIGINT, &action, nullptr);
  orkestr::testing::TestService service(options);
  std::printf("%s %s\n", service.base_url().c_str(), service.ca_file().c_str());
  std::fflush(stdout);
  ::pthread_sigmask(SIG_UNBLOCK, &ends, nullptr);
  char byte = 0;
  while (::read(0, &byte, 1) > 0) continue;
}
