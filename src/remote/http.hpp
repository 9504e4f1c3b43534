// HTTP for the remote backend: libcurl's multi interface, driven by the client's one reactor. Any number of exchanges
// at once; connections are kept and used again.
//
// Threads. prepare(), and begin(), cancel() and resume() of an exchange, may be called from any thread. Handlers run on
// the I/O thread, except that on_end may come before begin() returns when the client was closed. shut_down() ends every
// exchange with `cancelled`.
//
// What it does not do: follow redirects, keep cookies, decode compressed bodies, repeat a request of which a byte of
// the body may have left (see HttpRequest::repeatable).
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "backend.hpp"

namespace orkestr::remote {

// From the environment and the client's options; read once, when the client is opened.
struct HttpSettings {
  std::string ca_file;  // empty: the system's
  std::string ca_path;
  std::string http_proxy;  // for http:// only, where libcurl itself reads lower-case http_proxy alone; empty: none
};
HttpSettings http_settings_from_environment();

// How long an exchange may take. Every byte that comes or goes buys time, at kSlowestRate, up to the limit of its
// phase: so silence ends an exchange, and so does a peer that sends a byte a second. Time in which our own side did not
// take data does not count.
struct Patience {
  std::chrono::milliseconds connect{30'000};  // until there is a connection, with its handshakes
  std::chrono::milliseconds answer{30'000};   // from there, or from the last byte sent, to the first of the answer
  std::chrono::milliseconds silence{30'000};  // within the answer, and while sending
};
inline constexpr std::int64_t kSlowestRate = 1024;  // bytes a second

// ErrorDetails::stage of a connection error. Of the first three: nothing of the request was sent. After `connect` and
// without a stage another attempt may do better.
inline constexpr const char* kStageConnect = "connect";
inline constexpr const char* kStageConnectTime = "connect timeout";
inline constexpr const char* kStageCertificate = "certificate";
inline constexpr const char* kStageTime = "timeout";

struct HttpRequest {
  std::string method;  // GET, POST, PUT, DELETE
  std::string url;
  std::vector<std::string> headers;  // "Name: value"; User-Agent and Accept are set here
  std::string body;                  // of POST
  std::uint64_t upload_bytes = 0;    // of PUT, whose body comes from Handlers::read
  // True where the service would not mind to get it twice, which it never does with GET: libcurl repeats by itself what
  // it sent on a kept connection that turned out to be closed. Else only a request is repeated of whose body nothing
  // was sent.
  bool repeatable = false;
  // The answer is consumed piece by piece, maybe slowly: it gets an HTTP/1.1 connection, so that a slow consumer holds
  // up the sender by TCP and not by filling memory.
  bool streamed = false;
  std::size_t max_answer_bytes = 1U << 20U;  // of a body that is collected
  Patience patience;
};

struct HttpAnswer {
  int status = 0;
  std::string body;                   // empty where Handlers::on_data took it
  std::string request_id;             // as it came: see shown_request()
  std::optional<double> retry_after;  // seconds
  std::string content_type;
  bool has_length = false;  // Content-Length, or chunks: an answer that breaks off does not look like a whole one
};

class Http;

class Exchange : public std::enable_shared_from_this<Exchange> {
 public:
  struct Handlers {
    // Takes the body of a 2xx answer; false: nothing was taken, call again after resume(). Without it bodies are
    // collected.
    std::function<bool(std::string_view)> on_data;
    // Gives at most `size` bytes of the body of a PUT; 0: none now, call again after resume().
    std::function<std::size_t(char* to, std::size_t size)> read;
    // Once. Errors: connection, cancelled; api for an answer that is too large.
    std::function<void(Result<HttpAnswer>)> on_end;
  };
  // Sends it. Once; any thread.
  void begin();
  // Ends it with `cancelled`, closing its connection, unless it has ended. Any thread.
  void cancel();
  // After on_data or read could not: goes on. Any thread.
  void resume();
  // Of the answer, once its headers have come. I/O thread.
  const std::string& request_id() const;
  // Whether some of the request may have been sent. I/O thread.
  bool sent() const;

 private:
  friend class Http;
  struct Impl;
  explicit Exchange(std::weak_ptr<Http> http);
  const std::weak_ptr<Http> http_;
  std::unique_ptr<Impl> impl_;

 public:
  ~Exchange();
};

class Http : public std::enable_shared_from_this<Http> {
 public:
  static Result<std::shared_ptr<Http>> create(std::shared_ptr<IoLoop> loop, HttpSettings settings);
  ~Http();

  // Nothing is sent before begin(), so that handlers can be sure to know their exchange.
  std::shared_ptr<Exchange> prepare(HttpRequest request, Exchange::Handlers handlers);
  // False once the client was closed. The task runs on the I/O thread.
  bool post(std::function<void()> task) { return loop_->post(std::move(task)); }
  IoLoop& loop() { return *loop_; }

  void shut_down();  // I/O thread
  void close_descriptors_after_fork() noexcept;

 private:
  friend class Exchange;
  struct Multi;
  explicit Http(std::shared_ptr<IoLoop> loop, HttpSettings settings);
  void begin(const std::shared_ptr<Exchange>& exchange);
  void watch(const std::shared_ptr<Exchange>& exchange);
  void finish(const std::shared_ptr<Exchange>& exchange, Result<HttpAnswer> result);

  const std::shared_ptr<IoLoop> loop_;
  const HttpSettings settings_;
  std::unique_ptr<Multi> multi_;
  bool closed_ = false;  // I/O thread
};

}  // namespace orkestr::remote
