// HTTP/1.1 for the test service: requests by Boost.Beast's parser, answers written by hand, so that a fault can cut
// them at any byte.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <string_view>

#include "support/service/service.hpp"

namespace orkestr::testing {

struct Request {
  std::string method;
  std::string path;  // decoded, without the query
  std::string target;
  std::map<std::string, std::string> query;
  std::map<std::string, std::string> headers;  // names in lower case
  std::string body;                            // but for PUT
  std::uint64_t content_length = 0;
};

// The bytes of one connection.
class Wire {
 public:
  virtual ~Wire() = default;
  virtual long read(char* to, std::size_t size) = 0;  // 0: end; -1: error
  virtual bool write(const char* from, std::size_t size) = 0;
  // From its beginning. Nothing: this wire cannot, and nothing was sent.
  virtual std::optional<bool> write_file(int /*file*/, std::int64_t /*size*/) { return {}; }
  int fd = -1;
  bool peer_gone() const;
  // Says no more, and reads what the other side still sends: it would not hear the answer if its data met a closed end.
  void close_gently() const;
};

// One answer. Exactly one of send() and begin_stream() … end_stream(); false: the peer is gone.
class Answer {
 public:
  Answer(Wire& wire, Fault fault, bool has_fault) : wire_(wire), fault_(std::move(fault)), has_fault_(has_fault) {}
  bool send(int status, std::string_view body, const std::map<std::string, std::string>& headers = {});
  bool begin_stream(const std::string& type, std::int64_t length = -1);  // without a length: chunked
  bool stream(std::string_view bytes);
  bool stream_file(int file, std::int64_t size);
  bool end_stream();
  bool sent() const { return sent_; }
  bool keep_alive() const { return !closing_; }
  Wire& wire() { return wire_; }

 private:
  bool raw(std::string_view bytes);
  bool divert();  // true when a fault has sent something else
  Wire& wire_;
  Fault fault_;
  bool has_fault_;
  bool sent_ = false, closing_ = false, chunked_ = false, diverted_ = false;
  std::int64_t written_ = 0;
};

class HttpServer {
 public:
  // Gives the next piece of a PUT's body; empty: its end, or the peer's.
  using Body = std::function<std::string()>;
  using Handler = std::function<void(const Request&, const Body&, Answer&)>;
  using Faults = std::function<std::optional<Fault>(const Request&, int connection)>;
  HttpServer(int port, const std::string& certificate, const std::string& private_key, Handler handler, Faults faults);
  ~HttpServer();
  int port() const;
  int accepted() const;
  int open() const;
  void close_connections();

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

// A certificate for 127.0.0.1 and localhost, and the authority that signed it; PEM.
struct TestCertificate {
  std::string authority, certificate, private_key;
};
TestCertificate make_certificate();

std::string url_decoded(std::string_view text);

}  // namespace orkestr::testing
