#include "remote/transfers.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <stdlib.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstring>

#include "base/cancellable.hpp"
#include "base/unique_fd.hpp"
#include "remote/answers.hpp"
#include "remote/pipe.hpp"
#include "remote/shell_line.hpp"
#include "remote/text.hpp"

namespace orkestr::remote {
namespace {

using base::JsonValue;
constexpr std::chrono::seconds kUrlLife{600};
// What a file of kJsonLimit becomes, and what is around it.
constexpr std::size_t kMaxFileAnswer = (kJsonLimit / 3 * 4) + (64U << 10U);

HttpRequest presigned_request(const Api& api, const std::string& method, const std::string& url) {
  HttpRequest http;
  http.method = method;
  http.url = url;
  http.streamed = true;
  http.patience.connect = http.patience.answer = http.patience.silence = api.settings().timeout;
  return http;
}

CancelFunction presign(const std::shared_ptr<Api>& api, const std::string& sandbox_id, Session::Presigned kind,
                       const std::string& path, Completion<PresignedUrl> done) {
  return api->ask<PresignedUrl>(
      presign_request(sandbox_id, kind, path, kUrlLife), std::move(done),
      [base = api->settings().base_url](const JsonValue& json, const AnswerContext& context) -> Result<PresignedUrl> {
        auto url = decode_presigned(json, context);
        if (!url) return url;
        if (auto good = check_presigned(*url, base, context.what); !good) return good.error();
        return url;
      });
}

// Of a request to a presigned address. Its 403 has nothing to do with the key.
Error refused(const Api& api, const HttpAnswer& answer, const ApiRequest& request) {
  const Error error = api.refused(answer, request);
  if (answer.status != 403) return error;
  return Error(error.code(),
               fmt::format("{}: the address that the service gave for the file was refused with HTTP status 403; it is "
                           "good for {} s only",
                           request.what, kUrlLife.count()),
               error.details());
}

class Download : public std::enable_shared_from_this<Download> {
 public:
  Download(std::shared_ptr<Api> api, std::string sandbox_id, std::string path, std::shared_ptr<Pipe> pipe)
      : api_(std::move(api)), sandbox_id_(std::move(sandbox_id)), path_(std::move(path)), pipe_(std::move(pipe)) {}

  void start() {
    Pipe::Hooks hooks;
    hooks.on_cancel = hooks.on_abandon = [self = shared_from_this()] {
      self->api_->http().post([self] { self->current_.cancel(); });
    };
    hooks.on_room = [self = shared_from_this()] {
      self->api_->http().post([self] {
        if (self->exchange_) self->exchange_->resume();
      });
    };
    pipe_->set_hooks(std::move(hooks));
    const bool posted = api_->http().post([self = shared_from_this()] { self->ask(); });
    if (!posted) pipe_->fail(Error(ErrorCode::not_ready, "the client was closed; open another one"));
  }

 private:
  void ask() {
    current_.step([&] {
      return api_->call(read_file_request(sandbox_id_, path_), {kMaxFileAnswer},
                        [self = shared_from_this()](Result<JsonValue> json, const AnswerContext& context) {
                          if (!json && is_too_large(json.error())) return self->ask_for_url();
                          if (!json) return self->pipe_->fail(json.error());
                          auto content = decode_file(*json, context, self->path_);
                          if (!content) return self->pipe_->fail(content.error());
                          self->pipe_->deliver(OutputStream::standard_output, *content);
                          self->pipe_->finish();
                        });
    });
  }

  // The service says so, or its answer began to be.
  static bool is_too_large(const Error& error) {
    const int status = error.details().status_code;
    return error.code() == ErrorCode::api && (status == 413 || (status >= 200 && status < 300));
  }

  void ask_for_url() {
    current_.step([&] {
      return presign(api_, sandbox_id_, Session::Presigned::download, path_,
                     [self = shared_from_this()](Result<PresignedUrl> url) {
                       if (!url) return self->pipe_->fail(url.error());
                       self->fetch(url->url);
                     });
    });
  }

  void fetch(const std::string& url) {
    Exchange::Handlers handlers;
    handlers.on_data = [self = shared_from_this()](std::string_view bytes) {
      if (!self->pipe_->has_room()) return false;
      self->pipe_->gather(OutputStream::standard_output, bytes);
      self->wake_reader();
      return true;
    };
    handlers.on_end = [self = shared_from_this()](Result<HttpAnswer> answer) {
      self->exchange_ = nullptr;
      const ApiRequest request{"read " + self->path_, "GET", {}, {}, true};
      if (!answer) return self->pipe_->fail(self->api_->explain(answer.error(), request));
      if (answer->status < 200 || answer->status > 299)
        return self->pipe_->fail(refused(*self->api_, *answer, request));
      if (!answer->has_length) {
        return self->pipe_->fail(
            Error(ErrorCode::connection, fmt::format("{}: the service did not say how long the file is, so nobody can "
                                                     "tell whether all of it came: its answer has neither "
                                                     "Content-Length nor chunks",
                                                     request.what)));
      }
      self->pipe_->finish();
    };
    exchange_ = api_->http().prepare(presigned_request(*api_, "GET", url), std::move(handlers));
    current_.step([exchange = exchange_] {
      exchange->begin();
      return [exchange] { exchange->cancel(); };
    });
  }

  // libcurl gives what it has read in pieces of 16 KiB; the reader is woken once for all of them.
  void wake_reader() {
    if (waking_) return;
    waking_ = api_->http().post([self = shared_from_this()] {
      self->waking_ = false;
      self->pipe_->signal();
    });
  }

  const std::shared_ptr<Api> api_;
  const std::string sandbox_id_, path_;
  const std::shared_ptr<Pipe> pipe_;
  std::shared_ptr<Exchange> exchange_;
  bool waking_ = false;
  base::Cancellable current_;
};

// Bytes that wait for their number to be known.
class Spool {
 public:
  std::uint64_t size() const { return size_; }
  const std::string& memory() const { return memory_; }
  Result<void> append(std::string_view bytes) {
    if (!file_ && size_ + bytes.size() < kJsonLimit) {
      memory_ += bytes;
      size_ += bytes.size();
      return {};
    }
    if (!file_) {
      if (auto opened = open(); !opened) return opened;
    }
    for (std::size_t done = 0; done < bytes.size();) {
      const ssize_t count = ::write(file_.get(), bytes.data() + done, bytes.size() - done);
      if (count < 0 && errno == EINTR) continue;
      if (count < 0) return problem(errno);
      done += static_cast<std::size_t>(count);
    }
    size_ += bytes.size();
    return {};
  }
  // Before its end: at least one byte.
  Result<std::size_t> read(std::uint64_t at, char* to, std::size_t size) const {
    const ssize_t count = ::pread(file_.get(), to, size, static_cast<off_t>(at));
    if (count > 0) return static_cast<std::size_t>(count);
    return problem(count < 0 ? errno : EIO);
  }

 private:
  static Error problem(int error) {
    return Error(
        ErrorCode::internal,
        fmt::format("a file of {} MiB and more is kept in a temporary file until its length is known, and that "
                    "failed: {}. Set TMPDIR to a directory with room",
                    kJsonLimit >> 20U, ::strerror(error)));
  }
  Result<void> open() {
    const char* directory = ::getenv("TMPDIR");
    std::string place = directory != nullptr && *directory != '\0' ? directory : "/tmp";
    file_ = base::UniqueFd(::open(place.c_str(), O_TMPFILE | O_RDWR | O_CLOEXEC, 0600));
    if (!file_) {  // a file system that has no such files
      place += "/orkestr-upload-XXXXXX";
      file_ = base::UniqueFd(::mkostemp(place.data(), O_CLOEXEC));
      if (!file_) return problem(errno);
      ::unlink(place.c_str());
    }
    const std::string held = std::exchange(memory_, {});
    size_ = 0;
    return append(held);
  }
  std::string memory_;
  base::UniqueFd file_;
  std::uint64_t size_ = 0;
};

class Upload : public std::enable_shared_from_this<Upload> {
 public:
  Upload(std::shared_ptr<Api> api, std::string sandbox_id, std::string path, int mode,
         std::optional<std::uint64_t> size, std::shared_ptr<Pipe> pipe)
      : api_(std::move(api)),
        sandbox_id_(std::move(sandbox_id)),
        path_(std::move(path)),
        mode_(mode),
        size_(size),
        pipe_(std::move(pipe)) {}

  void start() {
    pipe_->accept_input();
    Pipe::Hooks hooks;
    hooks.on_cancel =
        hooks.on_abandon = [self = shared_from_this()] { self->api_->http().post([self] { self->stop(); }); };
    hooks.on_input = [self = shared_from_this()] { self->api_->http().post([self] { self->input(); }); };
    pipe_->set_hooks(std::move(hooks));
    const bool posted = api_->http().post([self = shared_from_this()] { self->begin(); });
    if (!posted) pipe_->fail(Error(ErrorCode::not_ready, "the client was closed; open another one"));
  }

 private:
  void begin() {
    direct_ = size_ && *size_ >= kJsonLimit;
    if (direct_) ask_for_url(*size_);
    input();
  }

  void input() {
    if (direct_) {
      if (exchange_) exchange_->resume();
      return;
    }
    if (sent_ || pipe_->finished()) return;
    std::array<char, 64U << 10U> piece;
    while (const std::size_t count = pipe_->take_input(piece.data(), piece.size())) {
      if (auto kept = spool_.append({piece.data(), count}); !kept) return pipe_->fail(kept.error());
    }
    if (!pipe_->input_ended()) return;
    sent_ = true;
    if (spool_.size() >= kJsonLimit) return ask_for_url(spool_.size());
    current_.step([&] {
      return api_->call(write_file_request(sandbox_id_, path_, spool_.memory(), mode_), {},
                        [self = shared_from_this()](const Result<JsonValue>& json, const AnswerContext&) {
                          if (!json) return self->pipe_->fail(json.error());
                          self->pipe_->finish();
                        });
    });
  }

  void ask_for_url(std::uint64_t size) {
    current_.step([&] {
      return presign(api_, sandbox_id_, Session::Presigned::upload, path_,
                     [self = shared_from_this(), size](Result<PresignedUrl> url) {
                       if (!url) return self->pipe_->fail(url.error());
                       self->put(url->url, size);
                     });
    });
  }

  void put(const std::string& url, std::uint64_t size) {
    HttpRequest http = presigned_request(*api_, "PUT", url);
    http.upload_bytes = size;
    Exchange::Handlers handlers;
    handlers.read = [self = shared_from_this()](char* to, std::size_t most) -> std::size_t {
      if (self->direct_) return self->pipe_->take_input(to, most);
      const auto count = self->spool_.read(self->spool_at_, to, most);
      if (!count) {
        self->pipe_->fail(count.error());
        self->exchange_->cancel();
        return 0;
      }
      self->spool_at_ += *count;
      return *count;
    };
    handlers.on_end = [self = shared_from_this()](Result<HttpAnswer> answer) {
      self->exchange_ = nullptr;
      const ApiRequest request{"write " + self->path_, "PUT", {}, {}, true};
      if (!answer) return self->pipe_->fail(self->api_->explain(answer.error(), request));
      if (answer->status < 200 || answer->status > 299)
        return self->pipe_->fail(refused(*self->api_, *answer, request));
      self->set_mode();
    };
    exchange_ = api_->http().prepare(std::move(http), std::move(handlers));
    current_.step([exchange = exchange_] {
      exchange->begin();
      return [exchange] { exchange->cancel(); };
    });
  }

  void set_mode() {
    if (mode_ == 0644) return pipe_->finish();
    CommandRequest request;
    request.cwd = "/";
    request.timeout = std::chrono::seconds(10);
    ApiRequest call = exec_request(sandbox_id_, fmt::format("chmod {:o} {}", mode_, shell_quoted(path_)), request);
    call.what = "set the mode of " + path_;
    current_.step([&] {
      return api_->call(std::move(call), {1U << 20U, request.timeout},
                        [self = shared_from_this()](Result<JsonValue> json, const AnswerContext& context) {
                          if (!json) return self->pipe_->fail(json.error());
                          auto answer = decode_exec(*json, context);
                          if (!answer) return self->pipe_->fail(answer.error());
                          if (answer->end.exit_code == 0) return self->pipe_->finish();
                          self->pipe_->fail(Error(
                              ErrorCode::api, fmt::format("write {}: it was written, but its mode could not be set: {}",
                                                          self->path_, shown(answer->stderr_data, context.key, 300))));
                        });
    });
  }

  void stop() {
    if (pipe_->finished()) return;
    current_.cancel();
    pipe_->fail(Error(ErrorCode::cancelled, fmt::format("write {}: cancelled", path_)));
  }

  const std::shared_ptr<Api> api_;
  const std::string sandbox_id_, path_;
  const int mode_;
  const std::optional<std::uint64_t> size_;
  const std::shared_ptr<Pipe> pipe_;
  bool direct_ = false;  // straight from the pipe into a PUT
  bool sent_ = false;
  Spool spool_;
  std::uint64_t spool_at_ = 0;
  std::shared_ptr<Exchange> exchange_;
  base::Cancellable current_;
};

}  // namespace

Result<void> check_presigned(const PresignedUrl& url, const std::string& base_url, const std::string& what) {
  const bool https = url.url.compare(0, 8, "https://") == 0;
  const bool http = url.url.compare(0, 7, "http://") == 0;
  const bool plain = std::all_of(url.url.begin(), url.url.end(),
                                 [](char c) { return c > ' ' && static_cast<unsigned char>(c) < 0x7f; });
  if (plain && url.url.size() <= 16384 && (https || (http && base_url.compare(0, 5, "http:") == 0))) return {};
  return Error(ErrorCode::api, fmt::format("{}: the service gave an address for the file that is not used: {}", what,
                                           http ? "it is not encrypted, and the service itself is"
                                                : "it is neither http:// nor https://"));
}

std::unique_ptr<Stream> read_stream(std::shared_ptr<Api> api, const std::string& sandbox_id, const std::string& path) {
  auto pipe = std::make_shared<Pipe>();
  std::make_shared<Download>(std::move(api), sandbox_id, path, pipe)->start();
  return std::make_unique<PipeStream>(std::move(pipe));
}

std::unique_ptr<Stream> write_stream(std::shared_ptr<Api> api, const std::string& sandbox_id, const std::string& path,
                                     int mode, std::optional<std::uint64_t> size) {
  auto pipe = std::make_shared<Pipe>();
  std::make_shared<Upload>(std::move(api), sandbox_id, path, mode, size, pipe)->start();
  return std::make_unique<PipeStream>(std::move(pipe));
}

}  // namespace orkestr::remote
