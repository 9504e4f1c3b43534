// A client: the choice of backend, and the one I/O thread its sandboxes share.
//
// The backend of a call is decided in this order: the client it is given; the default client that was set;
// ORKESTR_BACKEND=local|remote; ORKESTR_API_KEY or ORKESTR_BASE_URL set (remote); else local. Set ORKESTR_BACKEND=local
// where code must never leave the machine.
//
// The remote backend reaches a service over HTTP. It needs a key (else opening is `unauthorized`), which is in no error
// text and no log. Proxies and certificate authorities are those of the environment (https_proxy, no_proxy,
// SSL_CERT_FILE, SSL_CERT_DIR, CURL_CA_BUNDLE), read when the client is opened.
//
// A Client is a handle, as cheap to copy as a pointer, usable from any thread. In a forked child it answers not_ready:
// use a new one.
#pragma once

#include <chrono>
#include <memory>
#include <optional>
#include <orkestr/error.hpp>
#include <string>

namespace orkestr {

enum class BackendKind { automatic, local, remote };

struct ClientOptions {
  BackendKind backend = BackendKind::automatic;
  std::string api_key;   // remote; empty: ORKESTR_API_KEY
  std::string base_url;  // remote; empty: ORKESTR_BASE_URL, else https://api.orkestr.eu
  // Remote: of one request, 1 to 3600 s; one that carries a command waits for that command's timeout besides. Local
  // operations have deadlines of their own.
  std::chrono::seconds timeout{30};
};

class ClientImpl;

class ORKESTR_API Client {
 public:
  static Result<Client> open(ClientOptions options = {});
  explicit Client(std::shared_ptr<ClientImpl> impl) : impl_(std::move(impl)) {}

  // "local" or "remote".
  std::string backend() const;
  // Ends the I/O thread; open operations complete with `cancelled`. Sandboxes live on. Idempotent. Waits 5 s at most
  // for a template that is being built to notice.
  void close();

  const std::shared_ptr<ClientImpl>& impl() const { return impl_; }

 private:
  std::shared_ptr<ClientImpl> impl_;
};

// What calls use that are given no client; made at the first such call. Set to nothing, it is made anew at the next.
ORKESTR_API Result<Client> get_default_client();
ORKESTR_API void set_default_client(std::optional<Client> client);

}  // namespace orkestr
