#include "core/collect.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <atomic>
#include <mutex>

#include "core/command_end.hpp"
#include "core/input_feeder.hpp"
#include "core/output_cap.hpp"

namespace orkestr::core {
namespace {

// Pulls a stream whenever it is ready. Kept alive by the stream's own hook, which goes at the end.
template <class T, class Sink>
class Collector : public std::enable_shared_from_this<Collector<T, Sink>> {
 public:
  Collector(std::unique_ptr<Stream> stream, Sink sink)
      : state_(std::make_shared<detail::OperationValue<T>>()), stream_(std::move(stream)), sink_(std::move(sink)) {}

  static Operation<T> run(std::unique_ptr<Stream> stream, Sink sink) {
    auto collector = std::make_shared<Collector>(std::move(stream), std::move(sink));
    collector->state_->on_cancel([weak = collector->weak_from_this()] {
      auto self = weak.lock();
      if (!self) return;
      std::lock_guard lock(self->mutex_);
      if (self->stream_) self->stream_->cancel();
    });
    Operation<T> operation(collector->state_);
    // The raw pointer is safe: the hook that holds the collector is cleared before the stream goes.
    Stream* raw = collector->stream_.get();
    raw->on_ready([collector] { collector->pump(); });
    return operation;
  }

 private:
  void pump() {
    std::optional<Result<T>> result;
    std::unique_ptr<Stream> finished;
    {
      std::lock_guard lock(mutex_);
      if (!stream_) return;
      sink_.feed(*stream_);
      while (!result) {
        auto item = stream_->take();
        if (!item) return;
        if (!*item) {
          result.emplace(item->error());
        } else if ((*item)->kind == StreamItem::Kind::end) {
          result.emplace(sink_.end((*item)->end));
        } else if (auto problem = sink_.accept(**item)) {
          result.emplace(std::move(*problem));
        }
      }
      finished = std::move(stream_);
    }
    const auto self = this->shared_from_this();
    finished->on_ready(nullptr);
    finished.reset();
    state_->set(std::move(*result));
  }

  std::shared_ptr<detail::OperationValue<T>> state_;
  std::mutex mutex_;
  std::unique_ptr<Stream> stream_;
  Sink sink_;
};

struct CommandSink {
  ExecOptions options;
  InputFeeder input;
  OutputCap out;
  OutputCap err;

  explicit CommandSink(ExecOptions o)
      : options(std::move(o)),
        input(std::move(options.stdin_data).value_or(std::string())),
        out(options.max_output_bytes),
        err(options.max_output_bytes) {}

  void feed(Stream& stream) {
    if (options.stdin_data) input.feed(stream);
  }
  std::optional<Error> accept(const StreamItem& item) {
    if (item.kind == StreamItem::Kind::output) {
      (item.stream == OutputStream::standard_output ? out : err).append(item.data);
    }
    return std::nullopt;
  }
  Result<ExecResult> end(const CommandEnd& end) {
    ExecResult result;
    result.truncated = out.truncated() || err.truncated();
    // The guest counts what it sent; a transfer cut short by a cancel leaves us with less.
    result.stdout_total_bytes = std::max(end.stdout_bytes, out.total());
    result.stderr_total_bytes = std::max(end.stderr_bytes, err.total());
    result.stdout_data = out.take();
    result.stderr_data = err.take();
    if (auto error = error_of(end, options.timeout, std::move(result.stdout_data), std::move(result.stderr_data)))
      return *error;
    result.exit_code = end.exit_code;
    result.duration = end.duration;
    result.user_time = end.user_time;
    result.system_time = end.system_time;
    result.max_rss_kb = end.max_rss_kb;
    result.network_denied = end.network_denied;
    return result;
  }
};

// A string that grows copies itself again and again, and each time into memory that must be faulted in. So the size of
// a file that turns out to be large is asked for, beside the transfer: a hint, nothing depends on it.
constexpr std::size_t kAskForSize = 2U << 20U;

struct ReadSink {
  std::shared_ptr<Session> session;
  std::string path;
  std::string content;
  std::shared_ptr<std::atomic<std::uint64_t>> size_hint;

  void feed(Stream&) {}
  std::optional<Error> accept(const StreamItem& item) {
    const std::size_t total = content.size() + item.data.size();
    if (total > kMaxReadBytes) {
      return Error(ErrorCode::invalid_argument,
                   fmt::format("read {}: it is longer than {} bytes; read it in pieces with read_stream()", path,
                               kMaxReadBytes));
    }
    if (total > kAskForSize && !size_hint) {
      size_hint = std::make_shared<std::atomic<std::uint64_t>>(0);
      session->stat_file(path, [hint = size_hint](Result<FileStat> stat) {
        if (stat) *hint = stat->size;
      });
    }
    if (size_hint && *size_hint > content.capacity())
      content.reserve(std::min<std::uint64_t>(*size_hint, kMaxReadBytes));
    content += item.data;
    return std::nullopt;
  }
  Result<std::string> end(const CommandEnd&) { return std::move(content); }
};

struct WriteSink {
  InputFeeder input;

  void feed(Stream& stream) { input.feed(stream); }
  std::optional<Error> accept(const StreamItem&) { return std::nullopt; }
  Result<void> end(const CommandEnd&) { return {}; }
};

}  // namespace

Operation<ExecResult> collect_command(std::unique_ptr<Stream> stream, ExecOptions options) {
  return Collector<ExecResult, CommandSink>::run(std::move(stream), CommandSink(std::move(options)));
}

Operation<std::string> collect_file(std::shared_ptr<Session> session, std::string path) {
  auto stream = session->read_file(path);
  return Collector<std::string, ReadSink>::run(std::move(stream),
                                               ReadSink{std::move(session), std::move(path), {}, {}});
}

Operation<void> feed_file(std::unique_ptr<Stream> stream, std::string content) {
  return Collector<void, WriteSink>::run(std::move(stream), WriteSink{InputFeeder(std::move(content))});
}

}  // namespace orkestr::core
