// The scenarios over the backend that --backend names: local, or remote, which is a service in this very process.
#define DOCTEST_CONFIG_IMPLEMENT
#include <cstdlib>
#include <cstring>
#include <memory>

#include "support/service/service.hpp"
#include "support/suite.hpp"

int main(int argc, char** argv) {
  const bool remote = argc > 1 && std::strcmp(argv[1], "--backend=remote") == 0;
  orkestr::ClientOptions options;
  options.backend = remote ? orkestr::BackendKind::remote : orkestr::BackendKind::local;
  std::unique_ptr<orkestr::testing::TestService> service;
  if (remote) {
    for (const char* name : {"http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"}) ::unsetenv(name);
    orkestr::testing::TestService::Options served;
    served.record = false;
    service = std::make_unique<orkestr::testing::TestService>(served);
    options.base_url = service->base_url();
    options.api_key = served.key;
    // For clients that scenarios make themselves.
    ::setenv("ORKESTR_BASE_URL", options.base_url.c_str(), 1);
    ::setenv("ORKESTR_API_KEY", options.api_key.c_str(), 1);
  }
  return orkestr::testing::run_suite(argc, argv, options);
}
