#include "support/service/http_server.hpp"

#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <poll.h>
#include <signal.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/http/buffer_body.hpp>
#include <boost/beast/http/parser.hpp>
#include <boost/beast/http/read.hpp>
#include <chrono>
#include <list>
#include <mutex>
#include <stdexcept>
#include <thread>
#include <vector>

namespace orkestr::testing {

namespace {

namespace beast = boost::beast;
namespace http = boost::beast::http;

class PlainWire final : public Wire {
 public:
  explicit PlainWire(int socket) { fd = socket; }
  long read(char* to, std::size_t size) override { return ::recv(fd, to, size, 0); }
  bool write(const char* from, std::size_t size) override {
    while (size > 0) {
      const ssize_t count = ::send(fd, from, size, MSG_NOSIGNAL);
      if (count <= 0) return false;
      from += count;
      size -= static_cast<std::size_t>(count);
    }
    return true;
  }
  // By the kernel, as file servers do: what a benchmark then measures is the client.
  std::optional<bool> write_file(int file, std::int64_t size) override {
    for (off_t at = 0; at < size;) {
      if (::sendfile(fd, file, &at, static_cast<std::size_t>(size - at)) <= 0) return false;
    }
    return true;
  }
};

class TlsWire final : public Wire {
 public:
  TlsWire(int socket, SSL_CTX* context) : ssl_(SSL_new(context)) {
    fd = socket;
    SSL_set_fd(ssl_, socket);
  }
  ~TlsWire() override { SSL_free(ssl_); }
  bool accept() { return SSL_accept(ssl_) == 1; }
  long read(char* to, std::size_t size) override {
    const int count = SSL_read(ssl_, to, static_cast<int>(std::min<std::size_t>(size, 1U << 20U)));
    return count > 0 ? count : SSL_get_error(ssl_, count) == SSL_ERROR_ZERO_RETURN ? 0 : -1;
  }
  bool write(const char* from, std::size_t size) override {
    return size == 0 || SSL_write(ssl_, from, static_cast<int>(size)) == static_cast<int>(size);
  }

 private:
  SSL* ssl_;
};

// What Beast reads from.
struct BeastStream {
  Wire& wire;
  template <class Buffers>
  std::size_t read_some(const Buffers& buffers, beast::error_code& error) {
    const auto first = boost::asio::buffer_sequence_begin(buffers);
    const boost::asio::mutable_buffer buffer(*first);
    const long count = wire.read(static_cast<char*>(buffer.data()), buffer.size());
    if (count > 0) return static_cast<std::size_t>(count);
    error = count == 0 ? beast::error_code(boost::asio::error::eof)
                       : beast::error_code(boost::asio::error::connection_reset);
    return 0;
  }
  template <class Buffers>
  std::size_t read_some(const Buffers& buffers) {
    beast::error_code error;
    const auto count = read_some(buffers, error);
    if (error) throw beast::system_error(error);
    return count;
  }
};

std::string lower(std::string_view text) {
  std::string out(text);
  for (char& c : out) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  return out;
}

void read_query(std::string_view text, std::map<std::string, std::string>& query) {
  while (!text.empty()) {
    const auto end = std::min(text.find('&'), text.size());
    const auto pair = text.substr(0, end);
    const auto equals = std::min(pair.find('='), pair.size());
    query[url_decoded(pair.substr(0, equals))] =
        equals < pair.size() ? url_decoded(pair.substr(equals + 1)) : std::string();
    text.remove_prefix(std::min(end + 1, text.size()));
  }
}

}  // namespace

std::string url_decoded(std::string_view text) {
  std::string out;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '+') {
      out += ' ';
    } else if (text[i] == '%' && i + 2 < text.size()) {
      out += static_cast<char>(std::stoi(std::string(text.substr(i + 1, 2)), nullptr, 16));
      i += 2;
    } else {
      out += text[i];
    }
  }
  return out;
}

bool Wire::peer_gone() const {
  pollfd one{fd, POLLRDHUP, 0};
  return ::poll(&one, 1, 0) > 0 && (one.revents & (POLLRDHUP | POLLHUP | POLLERR)) != 0;
}

void Wire::close_gently() const {
  std::array<char, 1U << 16U> rest{};
  pollfd one{fd, POLLIN, 0};
  ::shutdown(fd, SHUT_WR);
  while (::poll(&one, 1, 200) > 0 && ::read(fd, rest.data(), rest.size()) > 0) continue;
}

// ---- answers

bool Answer::raw(std::string_view bytes) {
  if (has_fault_ && fault_.cut_at >= 0) {
    const auto room = static_cast<std::size_t>(std::max<std::int64_t>(fault_.cut_at - written_, 0));
    if (bytes.size() >= room) {
      if (room > 0) wire_.write(bytes.data(), room);
      written_ += static_cast<std::int64_t>(room);
      closing_ = true;
      return false;
    }
  }
  written_ += static_cast<std::int64_t>(bytes.size());
  if (has_fault_ && fault_.byte_pause_ms > 0) {
    for (const char& c : bytes) {
      if (!wire_.write(&c, 1)) return !(closing_ = true);
      std::this_thread::sleep_for(std::chrono::milliseconds(fault_.byte_pause_ms));
    }
    return true;
  }
  if (!wire_.write(bytes.data(), bytes.size())) closing_ = true;
  return !closing_;
}

bool Answer::divert() {
  sent_ = true;
  if (!has_fault_) return false;
  // Nobody waits for an answer to who has gone.
  const auto until = std::chrono::steady_clock::now() + std::chrono::milliseconds(fault_.delay_ms);
  while (std::chrono::steady_clock::now() < until) {
    if (wire_.peer_gone()) return diverted_ = closing_ = true;
    std::this_thread::sleep_for(std::chrono::milliseconds(std::min(fault_.delay_ms, 5)));
  }
  if (fault_.unanswered) return diverted_ = closing_ = true;
  if (fault_.raw) {
    raw(*fault_.raw);
    const std::string comment = ":" + std::string(1022, '.') + "\n";
    while (fault_.comments && !closing_ && raw(comment)) std::this_thread::sleep_for(std::chrono::milliseconds(50));
    if (!closing_) wire_.close_gently();
    return diverted_ = closing_ = true;
  }
  if (fault_.endless || fault_.endless_line) {
    raw("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n");
    const std::string piece = fault_.endless_line ? std::string(1U << 16U, 'x') : std::string(1U << 16U, '\n');
    for (int i = 0; i < 16384 && raw(piece); ++i) continue;
    return diverted_ = closing_ = true;
  }
  return false;
}

bool Answer::send(int status, std::string_view body, const std::map<std::string, std::string>& headers) {
  if (divert()) return false;
  std::string head = "HTTP/1.1 " + std::to_string(status) + " -\r\n";
  for (const auto& [name, value] : headers) head += name + ": " + value + "\r\n";
  if (headers.count("Content-Type") == 0 && !body.empty()) head += "Content-Type: application/json\r\n";
  if (status != 204) head += "Content-Length: " + std::to_string(body.size()) + "\r\n";
  head += "\r\n";
  head += body;
  return raw(head);
}

bool Answer::begin_stream(const std::string& type, std::int64_t length) {
  if (divert()) return false;
  chunked_ = length < 0;
  return raw("HTTP/1.1 200 OK\r\nContent-Type: " + type + "\r\n" +
             (chunked_ ? std::string("Transfer-Encoding: chunked\r\n\r\n")
                       : "Content-Length: " + std::to_string(length) + "\r\n\r\n"));
}

bool Answer::stream(std::string_view bytes) {
  if (bytes.empty() || diverted_ || closing_) return !closing_;
  if (!chunked_) return raw(bytes);
  char size[32];
  std::snprintf(size, sizeof size, "%zx\r\n", bytes.size());
  std::string piece = size;
  piece += bytes;
  piece += "\r\n";
  return raw(piece);
}

bool Answer::stream_file(int file, std::int64_t size) {
  if (!has_fault_ && !chunked_ && !closing_) {
    if (const auto written = wire_.write_file(file, size)) {
      closing_ = !*written;
      return *written;
    }
  }
  std::vector<char> piece(256U << 10U);
  for (ssize_t count = 0; (count = ::read(file, piece.data(), piece.size())) > 0;) {
    if (!stream({piece.data(), static_cast<std::size_t>(count)})) return false;
  }
  return true;
}

bool Answer::end_stream() {
  if (diverted_ || closing_) return false;
  return !chunked_ || raw("0\r\n\r\n");
}

// ---- the server

struct HttpServer::Impl {
  Handler handler;
  Faults faults;
  SSL_CTX* tls = nullptr;
  int listener = -1;
  int port = 0;
  std::thread acceptor;
  std::mutex mutex;
  struct Connection {
    int fd = -1;
    std::thread thread;
    bool over = false;
  };
  std::list<Connection> connections;
  std::atomic<int> accepted = 0;
  bool stopping = false;

  void accept_all() {
    while (true) {
      const int fd = ::accept4(listener, nullptr, nullptr, SOCK_CLOEXEC);
      std::lock_guard lock(mutex);
      if (stopping) {
        if (fd >= 0) ::close(fd);
        return;
      }
      if (fd < 0) continue;
      const int on = 1;
      ::setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
      for (auto at = connections.begin(); at != connections.end();) {
        if (!at->over) {
          ++at;
          continue;
        }
        at->thread.join();
        at = connections.erase(at);
      }
      auto& connection = connections.emplace_back();
      connection.fd = fd;
      const int number = ++accepted;
      connection.thread = std::thread([this, &connection, fd, number] {
        serve(fd, number);
        std::lock_guard inner(mutex);
        ::close(std::exchange(connection.fd, -1));
        connection.over = true;
      });
    }
  }

  void serve(int fd, int number) {
    // OpenSSL writes without MSG_NOSIGNAL.
    sigset_t pipe;
    sigemptyset(&pipe);
    sigaddset(&pipe, SIGPIPE);
    ::pthread_sigmask(SIG_BLOCK, &pipe, nullptr);
    std::unique_ptr<Wire> wire;
    if (tls != nullptr) {
      auto secure = std::make_unique<TlsWire>(fd, tls);
      if (!secure->accept()) return;
      wire = std::move(secure);
    } else {
      wire = std::make_unique<PlainWire>(fd);
    }
    BeastStream stream{*wire};
    beast::flat_buffer buffer;
    while (serve_one(*wire, stream, buffer, number)) continue;
    let_go(fd);
  }

  // A close with bytes unread resets the connection, and the answer on its way may be lost with it: so the peer is told
  // that this was all, and given a moment to go first.
  static void let_go(int fd) {
    ::shutdown(fd, SHUT_WR);
    std::array<char, 4096> rest{};
    for (int i = 0; i < 50; ++i) {
      pollfd wait{fd, POLLIN, 0};
      if (::poll(&wait, 1, 20) > 0 && ::recv(fd, rest.data(), rest.size(), MSG_DONTWAIT) <= 0) return;
    }
  }

  bool serve_one(Wire& wire, BeastStream& stream, beast::flat_buffer& buffer, int number) {
    http::request_parser<http::buffer_body> parser;
    parser.body_limit(boost::none);
    beast::error_code error;
    http::read_header(stream, buffer, parser, error);
    if (error) return false;
    Request request;
    const auto& message = parser.get();
    request.method = std::string(message.method_string());
    request.target = std::string(message.target());
    const auto question = std::min(request.target.find('?'), request.target.size());
    request.path = url_decoded(std::string_view(request.target).substr(0, question));
    if (question < request.target.size())
      read_query(std::string_view(request.target).substr(question + 1), request.query);
    for (const auto& field : message) request.headers[lower(field.name_string())] = std::string(field.value());
    request.content_length = parser.content_length().value_or(0);
    const bool wants_close = !message.keep_alive();
    bool broken = false;
    const Body more = [&]() -> std::string {
      std::string piece(256U << 10U, '\0');
      if (parser.is_done() || broken) return {};
      parser.get().body().data = piece.data();
      parser.get().body().size = piece.size();
      parser.get().body().more = true;
      http::read(stream, buffer, parser, error);
      if (error && error != http::error::need_buffer) {
        broken = true;
        return {};
      }
      piece.resize(piece.size() - parser.get().body().size);
      return piece;
    };
    if (request.method != "PUT") {
      for (std::string piece = more(); !piece.empty(); piece = more()) request.body += piece;
      if (broken) return false;
    }
    auto fault = faults(request, number);
    Answer answer(wire, fault.value_or(Fault()), fault.has_value());
    handler(request, more, answer);
    if (!answer.sent()) answer.send(500, R"({"detail":"the test service forgot to answer"})");
    return answer.keep_alive() && !wants_close && !broken && parser.is_done();
  }
};

HttpServer::HttpServer(int port, const std::string& certificate, const std::string& private_key, Handler handler,
                       Faults faults)
    : impl_(std::make_unique<Impl>()) {
  impl_->handler = std::move(handler);
  impl_->faults = std::move(faults);
  if (!certificate.empty()) {
    impl_->tls = SSL_CTX_new(TLS_server_method());
    BIO* bio = BIO_new_mem_buf(certificate.data(), static_cast<int>(certificate.size()));
    X509* x509 = PEM_read_bio_X509(bio, nullptr, nullptr, nullptr);
    BIO_free(bio);
    bio = BIO_new_mem_buf(private_key.data(), static_cast<int>(private_key.size()));
    EVP_PKEY* key = PEM_read_bio_PrivateKey(bio, nullptr, nullptr, nullptr);
    BIO_free(bio);
    const bool good = SSL_CTX_use_certificate(impl_->tls, x509) == 1 && SSL_CTX_use_PrivateKey(impl_->tls, key) == 1;
    X509_free(x509);
    EVP_PKEY_free(key);
    if (!good) throw std::runtime_error("the test certificate is not accepted");
  }
  impl_->listener = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  const int on = 1;
  ::setsockopt(impl_->listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(static_cast<std::uint16_t>(port));
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof address;
  if (::bind(impl_->listener, reinterpret_cast<sockaddr*>(&address), sizeof address) != 0 ||
      ::listen(impl_->listener, 512) != 0 ||
      ::getsockname(impl_->listener, reinterpret_cast<sockaddr*>(&address), &size) != 0) {
    throw std::runtime_error("the test service cannot listen on port " + std::to_string(port));
  }
  impl_->port = ntohs(address.sin_port);
  impl_->acceptor = std::thread([impl = impl_.get()] { impl->accept_all(); });
}

HttpServer::~HttpServer() {
  {
    std::lock_guard lock(impl_->mutex);
    impl_->stopping = true;
    ::shutdown(impl_->listener, SHUT_RDWR);
    for (auto& connection : impl_->connections) ::shutdown(connection.fd, SHUT_RDWR);
  }
  impl_->acceptor.join();
  for (auto& connection : impl_->connections) connection.thread.join();
  ::close(impl_->listener);
  SSL_CTX_free(impl_->tls);
}

int HttpServer::port() const { return impl_->port; }
int HttpServer::accepted() const { return impl_->accepted; }
int HttpServer::open() const {
  std::lock_guard lock(impl_->mutex);
  int count = 0;
  for (const auto& connection : impl_->connections) count += connection.over ? 0 : 1;
  return count;
}
void HttpServer::close_connections() {
  std::lock_guard lock(impl_->mutex);
  for (const auto& connection : impl_->connections) {
    if (!connection.over) ::shutdown(connection.fd, SHUT_RDWR);
  }
}

}  // namespace orkestr::testing
