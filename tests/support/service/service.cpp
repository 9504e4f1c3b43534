#include "support/service/service.hpp"

#include <stdlib.h>
#include <unistd.h>

#include <fstream>

#include "support/service/http_server.hpp"
#include "support/service/routes.hpp"

namespace orkestr::testing {

struct TestService::Impl {
  Options options;
  TestCertificate certificate;
  std::string ca_file;
  mutable std::mutex mutex;
  std::vector<Fault> faults;
  std::vector<RecordedRequest> records;
  std::unique_ptr<Routes> routes;
  std::unique_ptr<HttpServer> server;

  std::optional<Fault> note(const Request& request, int connection) {
    if (request.path.compare(0, 7, "/_test/") == 0) return std::nullopt;
    std::lock_guard lock(mutex);
    if (options.record) records.push_back({request.method, request.target, request.headers, request.body, connection});
    for (Fault& fault : faults) {
      const bool method = fault.method.empty() || fault.method == request.method;
      const bool target = fault.target.empty() || request.target.find(fault.target) != std::string::npos;
      if (!method || !target || fault.times == 0) continue;
      if (fault.times > 0) --fault.times;
      return fault;
    }
    return std::nullopt;
  }
};

TestService::TestService(Options options) : impl_(std::make_unique<Impl>()) {
  impl_->options = std::move(options);
  if (impl_->options.tls) {
    impl_->certificate = make_certificate();
    std::string pattern = "/tmp/orkestr-ca-XXXXXX";
    const int fd = ::mkstemp(pattern.data());
    ::close(fd);
    impl_->ca_file = pattern;
    std::ofstream(pattern) << impl_->certificate.authority;
  }
  Impl* impl = impl_.get();
  impl->routes = std::make_unique<Routes>(*this, impl->options);
  impl->server = std::make_unique<HttpServer>(
      impl->options.port, impl->certificate.certificate, impl->certificate.private_key,
      [impl](const Request& request, const HttpServer::Body& body, Answer& answer) {
        impl->routes->answer(request, body, answer);
      },
      [impl](const Request& request, int connection) { return impl->note(request, connection); });
}

TestService::~TestService() {
  impl_->routes->stop();
  impl_->server.reset();
  impl_->routes.reset();
  if (!impl_->ca_file.empty()) ::unlink(impl_->ca_file.c_str());
}

int TestService::port() const { return impl_->server->port(); }
std::string TestService::base_url() const {
  return (impl_->options.tls ? "https://127.0.0.1:" : "http://127.0.0.1:") + std::to_string(port()) +
         impl_->options.prefix;
}
std::string TestService::ca_file() const { return impl_->ca_file; }
void TestService::inject(Fault fault) {
  std::lock_guard lock(impl_->mutex);
  impl_->faults.push_back(std::move(fault));
}
void TestService::clear() {
  std::lock_guard lock(impl_->mutex);
  impl_->faults.clear();
  impl_->records.clear();
}
std::vector<RecordedRequest> TestService::requests() const {
  std::lock_guard lock(impl_->mutex);
  return impl_->records;
}
int TestService::connections() const { return impl_->server->accepted(); }
int TestService::open_connections() const { return impl_->server->open(); }
void TestService::close_connections() { impl_->server->close_connections(); }

}  // namespace orkestr::testing
