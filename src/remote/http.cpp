#include "remote/http.hpp"

#include <curl/curl.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <cstdlib>
#include <map>

#include "orkestr/version.hpp"
#include "remote/open_sockets.hpp"

namespace orkestr::remote {
namespace {

using Clock = base::Deadline::Clock;
using std::chrono::milliseconds;
using std::chrono::nanoseconds;

constexpr std::size_t kMaxHeaderBytes = 256U << 10U;
constexpr long kMaxIdleConnections = 64;

bool global_init() {
  static const bool good = curl_global_init(CURL_GLOBAL_DEFAULT) == CURLE_OK;
  return good;
}

std::string environment(const char* name) {
  const char* value = std::getenv(name);
  return value != nullptr ? value : "";
}

bool same_name(std::string_view line, std::string_view lower_name) {
  if (line.size() <= lower_name.size() || line[lower_name.size()] != ':') return false;
  for (std::size_t i = 0; i < lower_name.size(); ++i) {
    const char c = line[i];
    if ((c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c) != lower_name[i]) return false;
  }
  return true;
}

std::string_view header_value(std::string_view line) {
  std::string_view value = line.substr(line.find(':') + 1);
  while (!value.empty() && (value.front() == ' ' || value.front() == '\t')) value.remove_prefix(1);
  while (!value.empty() && static_cast<unsigned char>(value.back()) <= ' ') value.remove_suffix(1);
  return value;
}

// Delta seconds only, maybe with a fraction; a date is ignored.
std::optional<double> parse_retry_after(std::string_view text) {
  double seconds = 0;
  const char* all = text.data() + text.size();
  const auto [end, error] = std::from_chars(text.data(), all, seconds, std::chars_format::fixed);
  if (error != std::errc() || end != all || !std::isfinite(seconds) || seconds < 0) return std::nullopt;
  return seconds;
}

// libcurl repeats the address of a proxy that it cannot read, with the password that may be in it.
std::string without_proxy_address(std::string_view told) {
  const auto quote = told.find('\'');
  if (!told.starts_with("Unsupported proxy") || quote == std::string_view::npos) return std::string(told);
  const auto last = told.rfind('\'');
  const std::string_view rest = last > quote ? told.substr(last + 1) : std::string_view();
  return fmt::format("{}'…'{}", told.substr(0, quote), rest);
}

Error unreachable(std::string_view why, ErrorDetails details) {
  return Error(ErrorCode::connection,
               fmt::format("the service cannot be reached: {}. Check base_url and the network", why),
               std::move(details));
}

}  // namespace

HttpSettings http_settings_from_environment() {
  HttpSettings settings;
  for (const char* name : {"CURL_CA_BUNDLE", "SSL_CERT_FILE"}) {
    if (settings.ca_file.empty()) settings.ca_file = environment(name);
  }
  settings.ca_path = environment("SSL_CERT_DIR");
  // Not where a web server runs us: there HTTP_PROXY may be a header of a request.
  if (environment("http_proxy").empty() && environment("REQUEST_METHOD").empty()) {
    settings.http_proxy = environment("HTTP_PROXY");
  }
  return settings;
}

struct Exchange::Impl {
  HttpRequest request;
  Handlers handlers;
  CURL* easy = nullptr;  // while it is in the multi handle
  curl_slist* headers = nullptr;
  std::array<char, CURL_ERROR_SIZE> error_text{};
  HttpAnswer answer;
  std::size_t body_sent = 0;
  std::uint64_t uploaded = 0;
  std::size_t header_bytes = 0;
  bool sent = false;          // some of the request may have been: there was a connection for it
  bool answering = false;     // a byte of the final answer has come
  bool headers_over = false;  // all of its headers have
  bool too_large = false;
  std::optional<Clock::time_point> paused_since;
  Clock::time_point expires;
  base::Reactor::TimerId watchdog = 0;
  bool ended = false;

  void expect_answer() { expires = Clock::now() + request.patience.answer; }
  void moved(std::size_t bytes) {
    const auto now = Clock::now();
    const auto bought = nanoseconds(static_cast<std::int64_t>(bytes) * (1'000'000'000 / kSlowestRate));
    expires = std::min(expires + bought, now + request.patience.silence);
  }
  void release() {
    if (easy != nullptr) curl_easy_cleanup(easy);
    curl_slist_free_all(headers);
    easy = nullptr;
    headers = nullptr;
  }
  ~Impl() { release(); }

  static int on_connected(void* self, char*, char*, int, int) {
    static_cast<Impl*>(self)->sent = true;
    static_cast<Impl*>(self)->expect_answer();
    return CURL_PREREQFUNC_OK;
  }
  static std::size_t on_header(char* data, std::size_t size, std::size_t count, void* self);
  static std::size_t on_body(char* data, std::size_t size, std::size_t count, void* self);
  static std::size_t read_body(char* to, std::size_t size, std::size_t count, void* self);
  static int refuse_rewind(void* self, curl_off_t, int) {
    return static_cast<Impl*>(self)->rewind() ? CURL_SEEKFUNC_OK : CURL_SEEKFUNC_FAIL;
  }
  bool rewind() {
    if (request.method == "PUT" || (body_sent > 0 && !request.repeatable)) return false;
    body_sent = 0;
    return true;
  }
};

Exchange::Exchange(std::weak_ptr<Http> http) : http_(std::move(http)), impl_(std::make_unique<Impl>()) {}
Exchange::~Exchange() = default;

const std::string& Exchange::request_id() const { return impl_->answer.request_id; }
bool Exchange::sent() const { return impl_->sent; }

std::size_t Exchange::Impl::on_header(char* data, std::size_t size, std::size_t count, void* self) {
  auto& impl = *static_cast<Impl*>(self);
  const std::string_view line(data, size * count);
  impl.header_bytes += line.size();
  if (impl.header_bytes > kMaxHeaderBytes) {
    impl.too_large = true;
    return 0;
  }
  if (line.substr(0, 5) == "HTTP/") {
    impl.answer = {};
    const auto space = line.find(' ');
    if (space != std::string_view::npos) {
      std::from_chars(line.data() + space + 1, line.data() + line.size(), impl.answer.status);
    }
    if (!impl.answering && impl.answer.status >= 200) {
      impl.answering = true;
      impl.expires = Clock::now() + impl.request.patience.silence;
    }
  } else if (line == "\r\n" || line == "\n") {
    impl.headers_over = impl.answering;
  } else if (same_name(line, "x-request-id")) {
    impl.answer.request_id = header_value(line);
  } else if (same_name(line, "retry-after")) {
    impl.answer.retry_after = parse_retry_after(header_value(line));
  } else if (same_name(line, "content-type")) {
    impl.answer.content_type = header_value(line).substr(0, 128);
  } else if (same_name(line, "content-length") || same_name(line, "transfer-encoding")) {
    impl.answer.has_length = true;
  }
  return line.size();
}

std::size_t Exchange::Impl::on_body(char* data, std::size_t size, std::size_t count, void* self) {
  auto& impl = *static_cast<Impl*>(self);
  const std::string_view bytes(data, size * count);
  if (impl.handlers.on_data && impl.answer.status >= 200 && impl.answer.status < 300) {
    if (!impl.handlers.on_data(bytes)) {
      if (!impl.paused_since) impl.paused_since = Clock::now();
      return CURL_WRITEFUNC_PAUSE;
    }
  } else if (impl.answer.body.size() + bytes.size() > impl.request.max_answer_bytes) {
    impl.too_large = true;
    return 0;
  } else {
    impl.answer.body += bytes;
  }
  impl.moved(bytes.size());
  return bytes.size();
}

std::size_t Exchange::Impl::read_body(char* to, std::size_t size, std::size_t count, void* self) {
  auto& impl = *static_cast<Impl*>(self);
  std::size_t given = 0;
  bool last = false;
  if (impl.handlers.read) {
    given = impl.handlers.read(to, size * count);
    if (given == 0) {
      if (!impl.paused_since) impl.paused_since = Clock::now();
      return CURL_READFUNC_PAUSE;
    }
    impl.uploaded += given;
    last = impl.uploaded >= impl.request.upload_bytes;
  } else {
    given = std::min(size * count, impl.request.body.size() - impl.body_sent);
    std::copy_n(impl.request.body.data() + impl.body_sent, given, to);
    impl.body_sent += given;
    last = impl.body_sent == impl.request.body.size();
  }
  if (last) {
    impl.expect_answer();
  } else {
    impl.moved(given);
  }
  return given;
}

// libcurl's multi handle and what of the reactor belongs to it. I/O thread, but for `sockets`.
struct Http::Multi {
  explicit Multi(IoLoop& its_loop) : loop(its_loop) {}
  IoLoop& loop;
  CURLM* handle = nullptr;
  OpenSockets sockets;
  std::map<int, std::uint32_t> watched;
  base::Reactor::TimerId timer = 0;
  std::map<CURL*, std::shared_ptr<Exchange>> open;
  Http* owner = nullptr;

  void act(curl_socket_t socket, int events) {
    int running = 0;
    curl_multi_socket_action(handle, socket, events, &running);
    collect();
  }

  // Only outside of libcurl's callbacks: the ends of exchanges may remove and add handles.
  void collect() {
    int left = 0;
    while (handle != nullptr) {
      const CURLMsg* message = curl_multi_info_read(handle, &left);
      if (message == nullptr) return;
      if (message->msg != CURLMSG_DONE) continue;
      const CURLcode code = message->data.result;
      const auto found = open.find(message->easy_handle);
      if (found == open.end()) continue;
      const auto exchange = found->second;
      owner->finish(exchange, outcome(*exchange->impl_, code));
    }
  }

  static Result<HttpAnswer> outcome(Exchange::Impl& impl, CURLcode code);

  static int on_socket(CURL*, curl_socket_t fd, int what, void* self, void*) {
    auto& multi = *static_cast<Multi*>(self);
    auto& reactor = multi.loop.reactor();
    if (what == CURL_POLL_REMOVE) {
      reactor.remove(fd);
      multi.watched.erase(fd);
      return 0;
    }
    std::uint32_t events = 0;
    if ((what & CURL_POLL_IN) != 0) events |= EPOLLIN;
    if ((what & CURL_POLL_OUT) != 0) events |= EPOLLOUT;
    const auto [at, is_new] = multi.watched.try_emplace(fd, events);
    if (!is_new) {
      if (at->second != events) reactor.modify(fd, events);
      at->second = events;
      return 0;
    }
    const auto added = reactor.add(fd, events, [&multi, fd](std::uint32_t ready) {
      int mask = 0;
      if ((ready & EPOLLIN) != 0) mask |= CURL_CSELECT_IN;
      if ((ready & EPOLLOUT) != 0) mask |= CURL_CSELECT_OUT;
      if ((ready & (EPOLLERR | EPOLLHUP)) != 0) mask |= CURL_CSELECT_ERR;
      multi.act(fd, mask);
    });
    return added ? 0 : -1;
  }

  // Never calls libcurl from here, not even for a timeout of 0: that would recurse.
  static int on_timer(CURLM*, long after_ms, void* self) {
    auto& multi = *static_cast<Multi*>(self);
    auto& reactor = multi.loop.reactor();
    if (multi.timer != 0) reactor.cancel_timer(std::exchange(multi.timer, 0));
    if (after_ms >= 0) {
      multi.timer = reactor.add_timer(milliseconds(after_ms), [&multi] {
        multi.timer = 0;
        multi.act(CURL_SOCKET_TIMEOUT, 0);
      });
    }
    return 0;
  }

  static curl_socket_t open_socket(void* self, curlsocktype, curl_sockaddr* address) {
    const int fd = ::socket(address->family, address->socktype | SOCK_CLOEXEC, address->protocol);
    if (fd < 0) return CURL_SOCKET_BAD;
    static_cast<Multi*>(self)->sockets.add(fd);
    return fd;
  }
  static int close_socket(void* self, curl_socket_t fd) {
    static_cast<Multi*>(self)->sockets.remove(fd);
    return ::close(fd);
  }
};

Result<HttpAnswer> Http::Multi::outcome(Exchange::Impl& impl, CURLcode code) {
  if (impl.too_large || code == CURLE_FILESIZE_EXCEEDED) {
    ErrorDetails details;
    details.status_code = impl.answer.status;
    details.request_id = impl.answer.request_id;
    return Error(ErrorCode::api,
                 fmt::format("the service's answer has more than {} bytes, which is more than is taken",
                             impl.header_bytes > kMaxHeaderBytes ? kMaxHeaderBytes : impl.request.max_answer_bytes),
                 std::move(details));
  }
  // libcurl is content with an answer that ends within its headers; what ends before its status, too.
  if (code == CURLE_OK && !impl.headers_over) code = CURLE_GOT_NOTHING;
  if (code == CURLE_OK) return std::move(impl.answer);
  const std::string_view told(impl.error_text.data());
  const std::string why = told.empty() ? curl_easy_strerror(code) : without_proxy_address(told);
  ErrorDetails details;
  details.status_code = impl.answer.status;
  details.request_id = impl.answer.request_id;
  if (!impl.sent) details.stage = kStageConnect;
  switch (code) {
    case CURLE_OPERATION_TIMEDOUT:  // only connecting has a timeout of libcurl's own
      details.stage = impl.sent ? kStageTime : kStageConnectTime;
      return unreachable(why, std::move(details));
    case CURLE_COULDNT_RESOLVE_HOST:
    case CURLE_COULDNT_RESOLVE_PROXY:
    case CURLE_COULDNT_CONNECT:
      return unreachable(why, std::move(details));
    case CURLE_PEER_FAILED_VERIFICATION:
    case CURLE_SSL_CACERT_BADFILE:
      details.stage = kStageCertificate;
      return Error(ErrorCode::connection,
                   fmt::format("the service's certificate is not trusted: {}. SSL_CERT_FILE names a file of more "
                               "certificate authorities",
                               why),
                   details);
    default:
      if (!impl.sent) return unreachable(why, std::move(details));
      return Error(ErrorCode::connection,
                   impl.answering ? fmt::format("the connection to the service broke within its answer: {}", why)
                                  : fmt::format("the connection to the service broke: {}", why),
                   details);
  }
}

Result<std::shared_ptr<Http>> Http::create(std::shared_ptr<IoLoop> loop, HttpSettings settings) {
  if (!global_init()) return Error(ErrorCode::internal, "libcurl could not be initialised");
  return std::shared_ptr<Http>(new Http(std::move(loop), std::move(settings)));
}

Http::Http(std::shared_ptr<IoLoop> loop, HttpSettings settings)
    : loop_(std::move(loop)), settings_(std::move(settings)), multi_(std::make_unique<Multi>(*loop_)) {
  multi_->owner = this;
}

// shut_down() was called, or we are a forked child's copy, whose multi handle is not ours to touch.
Http::~Http() = default;

std::shared_ptr<Exchange> Http::prepare(HttpRequest request, Exchange::Handlers handlers) {
  std::shared_ptr<Exchange> exchange(new Exchange(weak_from_this()));
  exchange->impl_->request = std::move(request);
  exchange->impl_->handlers = std::move(handlers);
  return exchange;
}

void Exchange::begin() {
  const auto http = http_.lock();
  if (http && http->post([http, self = shared_from_this()] { http->begin(self); })) return;
  impl_->ended = true;
  const auto mine = std::exchange(impl_->handlers, {});
  mine.on_end(Error(ErrorCode::not_ready, "the client was closed; open another one"));
}

void Http::begin(const std::shared_ptr<Exchange>& exchange) {
  auto& impl = *exchange->impl_;
  if (impl.ended) return;
  if (closed_) return finish(exchange, Error(ErrorCode::cancelled, "the client was closed"));
  if (multi_->handle == nullptr) {
    multi_->handle = curl_multi_init();
    curl_multi_setopt(multi_->handle, CURLMOPT_SOCKETFUNCTION, Multi::on_socket);
    curl_multi_setopt(multi_->handle, CURLMOPT_SOCKETDATA, multi_.get());
    curl_multi_setopt(multi_->handle, CURLMOPT_TIMERFUNCTION, Multi::on_timer);
    curl_multi_setopt(multi_->handle, CURLMOPT_TIMERDATA, multi_.get());
    curl_multi_setopt(multi_->handle, CURLMOPT_MAXCONNECTS, kMaxIdleConnections);
  }
  CURL* easy = curl_easy_init();
  if (multi_->handle == nullptr || easy == nullptr) {
    return finish(exchange, Error(ErrorCode::internal, "libcurl has no memory for another request"));
  }
  impl.easy = easy;
  const HttpRequest& request = impl.request;
  auto set = [easy](CURLoption option, auto value) { curl_easy_setopt(easy, option, value); };
  set(CURLOPT_URL, request.url.c_str());
  set(CURLOPT_PATH_AS_IS, 1L);  // what was asked for, and no other place that ".." leads to
  set(CURLOPT_PROTOCOLS_STR, "http,https");
  set(CURLOPT_NOSIGNAL, 1L);
  set(CURLOPT_QUICK_EXIT, 1L);  // ending a request must not wait for a name server that does not answer
  set(CURLOPT_ERRORBUFFER, impl.error_text.data());
  set(CURLOPT_USERAGENT, "orkestr/" ORKESTR_VERSION);
  set(CURLOPT_SUPPRESS_CONNECT_HEADERS, 1L);
  set(CURLOPT_TCP_KEEPALIVE, 1L);
  set(CURLOPT_CONNECTTIMEOUT_MS, static_cast<long>(request.patience.connect.count()));
  set(CURLOPT_HTTP_VERSION, static_cast<long>(request.streamed ? CURL_HTTP_VERSION_1_1 : CURL_HTTP_VERSION_2TLS));
  if (!request.streamed) set(CURLOPT_MAXFILESIZE_LARGE, static_cast<curl_off_t>(request.max_answer_bytes));
  if (request.streamed) set(CURLOPT_BUFFERSIZE, 256L << 10U);
  // Requests to one HTTP/2 server share a connection; without it each would open one before the first has answered.
  if (request.url.compare(0, 6, "https:") == 0) set(CURLOPT_PIPEWAIT, 1L);
  if (!settings_.ca_file.empty()) set(CURLOPT_CAINFO, settings_.ca_file.c_str());
  if (!settings_.ca_path.empty()) set(CURLOPT_CAPATH, settings_.ca_path.c_str());
  if (!settings_.http_proxy.empty() && request.url.compare(0, 5, "http:") == 0) {
    set(CURLOPT_PROXY, settings_.http_proxy.c_str());
  }
  set(CURLOPT_OPENSOCKETFUNCTION, Multi::open_socket);
  set(CURLOPT_OPENSOCKETDATA, multi_.get());
  set(CURLOPT_CLOSESOCKETFUNCTION, Multi::close_socket);
  set(CURLOPT_CLOSESOCKETDATA, multi_.get());
  set(CURLOPT_HEADERFUNCTION, Exchange::Impl::on_header);
  set(CURLOPT_HEADERDATA, &impl);
  set(CURLOPT_WRITEFUNCTION, Exchange::Impl::on_body);
  set(CURLOPT_WRITEDATA, &impl);
  set(CURLOPT_READFUNCTION, Exchange::Impl::read_body);
  set(CURLOPT_READDATA, &impl);
  set(CURLOPT_SEEKFUNCTION, Exchange::Impl::refuse_rewind);
  set(CURLOPT_SEEKDATA, &impl);
  set(CURLOPT_PREREQFUNCTION, Exchange::Impl::on_connected);
  set(CURLOPT_PREREQDATA, &impl);
  if (request.method == "POST" || request.method == "PATCH") {
    set(CURLOPT_POST, 1L);
    if (request.method != "POST") set(CURLOPT_CUSTOMREQUEST, request.method.c_str());
    set(CURLOPT_POSTFIELDSIZE_LARGE, static_cast<curl_off_t>(request.body.size()));
  } else if (request.method == "PUT") {
    set(CURLOPT_UPLOAD, 1L);
    set(CURLOPT_INFILESIZE_LARGE, static_cast<curl_off_t>(request.upload_bytes));
    set(CURLOPT_UPLOAD_BUFFERSIZE, 256L << 10U);
  } else if (request.method != "GET") {
    set(CURLOPT_CUSTOMREQUEST, request.method.c_str());
  }
  // Nothing of an empty body can tell whether it was sent, and an upload cannot be begun anew: such a request goes over
  // a connection of its own, on which libcurl repeats nothing.
  if (request.method != "GET" && request.body.empty() && !request.repeatable) set(CURLOPT_FRESH_CONNECT, 1L);
  for (const std::string& header : request.headers) impl.headers = curl_slist_append(impl.headers, header.c_str());
  impl.headers = curl_slist_append(impl.headers, "Expect:");  // no round trip before the body
  set(CURLOPT_HTTPHEADER, impl.headers);

  impl.expires = Clock::now() + request.patience.connect;
  multi_->open.emplace(easy, exchange);
  if (curl_multi_add_handle(multi_->handle, easy) != CURLM_OK) {
    return finish(exchange, Error(ErrorCode::internal, "libcurl refused a request"));
  }
  watch(exchange);
  multi_->act(CURL_SOCKET_TIMEOUT, 0);
}

// Looks again after the shortest of the phases at most: so the timer is never behind when another phase begins.
void Http::watch(const std::shared_ptr<Exchange>& exchange) {
  const auto& times = exchange->impl_->request.patience;
  const auto look =
      std::min(exchange->impl_->expires, Clock::now() + std::min({times.connect, times.answer, times.silence}));
  exchange->impl_->watchdog = loop_->reactor().add_timer(look, [this, exchange] {
    auto& impl = *exchange->impl_;
    impl.watchdog = 0;
    if (impl.ended) return;
    const auto now = Clock::now();
    if (impl.paused_since) impl.expires = std::max(impl.expires, now + std::chrono::seconds(1));
    if (now < impl.expires) return watch(exchange);
    ErrorDetails details;
    details.status_code = impl.answer.status;
    details.request_id = impl.answer.request_id;
    const auto& patience = impl.request.patience;
    if (!impl.sent) {
      details.stage = kStageConnectTime;
      return finish(exchange, unreachable(fmt::format("no connection within {} s",
                                                      std::chrono::duration<double>(patience.connect).count()),
                                          std::move(details)));
    }
    details.stage = kStageTime;
    finish(exchange, Error(ErrorCode::connection,
                           impl.answering
                               ? fmt::format("the service sent its answer too slowly: nothing, or less than {} bytes a "
                                             "second, for {} s",
                                             kSlowestRate, std::chrono::duration<double>(patience.silence).count())
                               : fmt::format("the service did not answer within {} s",
                                             std::chrono::duration<double>(patience.answer).count()),
                           std::move(details)));
  });
}

void Http::finish(const std::shared_ptr<Exchange>& exchange, Result<HttpAnswer> result) {
  auto& impl = *exchange->impl_;
  if (std::exchange(impl.ended, true)) return;
  if (impl.watchdog != 0) loop_->reactor().cancel_timer(std::exchange(impl.watchdog, 0));
  if (impl.easy != nullptr) {
    multi_->open.erase(impl.easy);
    curl_multi_remove_handle(multi_->handle, impl.easy);
  }
  impl.release();
  const auto handlers = std::exchange(impl.handlers, {});  // they may hold the exchange
  handlers.on_end(std::move(result));
}

void Exchange::cancel() {
  const auto http = http_.lock();
  if (!http) return;
  http->post([http, self = shared_from_this()] { http->finish(self, Error(ErrorCode::cancelled, "cancelled")); });
}

void Exchange::resume() {
  const auto http = http_.lock();
  if (!http) return;
  http->post([http, self = shared_from_this()] {
    auto& impl = *self->impl_;
    if (impl.ended || !impl.paused_since) return;
    impl.expires += Clock::now() - *std::exchange(impl.paused_since, std::nullopt);
    curl_easy_pause(impl.easy, CURLPAUSE_CONT);
    http->multi_->act(CURL_SOCKET_TIMEOUT, 0);
  });
}

void Http::shut_down() {
  closed_ = true;
  while (!multi_->open.empty()) {
    const auto exchange = multi_->open.begin()->second;
    finish(exchange, Error(ErrorCode::cancelled, "the client was closed"));
  }
  if (multi_->handle != nullptr) curl_multi_cleanup(multi_->handle);
  multi_->handle = nullptr;
  // What libcurl did not take back itself.
  for (const auto& [fd, events] : multi_->watched) loop_->reactor().remove(fd);
  multi_->watched.clear();
  if (multi_->timer != 0) loop_->reactor().cancel_timer(std::exchange(multi_->timer, 0));
}

void Http::close_descriptors_after_fork() noexcept { multi_->sockets.close_all(); }

}  // namespace orkestr::remote
