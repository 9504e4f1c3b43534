#include "stream.hpp"

#include "guard.hpp"
#include "operation.hpp"
#include "options.hpp"
#include "records.hpp"

namespace orkestr::capi {
namespace {

Error wrong(const char* text) { return {ErrorCode::invalid_argument, text}; }

class ExecFlow final : public Flow {
 public:
  explicit ExecFlow(ExecStream stream) : stream_(std::move(stream)) {}
  Result<std::optional<ExecChunk>> next(Wait wait) override { return stream_.next(wait); }
  Result<std::size_t> write(std::string_view bytes, Wait wait) override { return stream_.write_some(bytes, wait); }
  Result<bool> finish(Wait /*wait*/) override {
    stream_.close_input();
    return true;
  }
  Result<void> resize(int cols, int rows) override { return stream_.resize(cols, rows); }
  Result<void> cancel() override {
    stream_.cancel();
    return {};
  }
  int fd() override { return stream_.fd(); }
  std::int64_t pid() const override { return stream_.pid(); }

 private:
  ExecStream stream_;
};

class LogFlow final : public Flow {
 public:
  explicit LogFlow(LogStream stream) : stream_(std::move(stream)) {}
  Result<std::optional<ExecChunk>> next(Wait wait) override { return stream_.next(wait); }
  Result<void> cancel() override {
    return wrong(
        "stream reads the output of a background command: free it, or kill the command with orkestr_command_kill()");
  }
  int fd() override { return stream_.fd(); }

 private:
  LogStream stream_;
};

class ReaderFlow final : public Flow {
 public:
  explicit ReaderFlow(FileReader reader) : reader_(std::move(reader)) {}
  Result<std::optional<ExecChunk>> next(Wait wait) override {
    ORKESTR_TRY(auto piece, reader_.next(wait));
    ExecChunk chunk;
    if (!piece) return std::optional<ExecChunk>(std::move(chunk));
    if (piece->empty()) return std::optional<ExecChunk>();
    chunk.data = std::move(*piece);
    return std::optional<ExecChunk>(std::move(chunk));
  }
  Result<void> cancel() override {
    reader_.cancel();
    return {};
  }
  int fd() override { return reader_.fd(); }

 private:
  FileReader reader_;
};

class WriterFlow final : public Flow {
 public:
  explicit WriterFlow(FileWriter writer) : writer_(std::move(writer)) {}
  Result<std::size_t> write(std::string_view bytes, Wait wait) override { return writer_.write_some(bytes, wait); }
  Result<bool> finish(Wait wait) override { return writer_.finish(wait); }
  Result<void> cancel() override {
    writer_.cancel();
    return {};
  }

 private:
  FileWriter writer_;
};

}  // namespace

Result<std::optional<ExecChunk>> Flow::next(Wait /*wait*/) {
  return wrong("stream writes a file; there is nothing to read from it");
}
Result<std::size_t> Flow::write(std::string_view /*bytes*/, Wait /*wait*/) {
  return wrong("stream is only read; nothing can be written to it");
}
Result<bool> Flow::finish(Wait /*wait*/) {
  return wrong("stream is only read; it has no input that could be finished");
}
Result<void> Flow::resize(int /*cols*/, int /*rows*/) { return wrong("stream has no terminal that could be resized"); }

std::shared_ptr<Flow> flow(ExecStream stream) { return std::make_shared<ExecFlow>(std::move(stream)); }
std::shared_ptr<Flow> flow(LogStream stream) { return std::make_shared<LogFlow>(std::move(stream)); }
std::shared_ptr<Flow> flow(FileReader reader) { return std::make_shared<ReaderFlow>(std::move(reader)); }
std::shared_ptr<Flow> flow(FileWriter writer) { return std::make_shared<WriterFlow>(std::move(writer)); }

orkestr_stream* make_handle(std::shared_ptr<Flow> flow, std::shared_ptr<ClientCore> core) {
  return std::make_unique<orkestr_stream>(StreamBody{std::move(flow), std::move(core)}).release();
}

}  // namespace orkestr::capi

using namespace orkestr;
using namespace orkestr::capi;

namespace {

// `work` with the flow, which nobody else reads (or writes) meanwhile.
template <class Work>
auto alone(std::mutex Flow::*side, const char* what, orkestr_stream* stream, Work work)
    -> decltype(work(std::declval<Flow&>())) {
  ORKESTR_TRY(const auto body, orkestr_stream::open("stream", stream));
  const auto flow = body->flow;  // survives a callback that frees the handle
  const std::unique_lock lock((*flow).*side, std::try_to_lock);
  if (!lock.owns_lock()) return Error(ErrorCode::not_ready, std::string("another thread is ") + what + " this stream");
  return work(*flow);
}

Result<std::uint64_t> watch(Dispatcher& dispatcher, const std::shared_ptr<Flow>& flow, orkestr_callback callback,
                            void* user) {
  const int fd = flow->fd();
  if (fd < 0) return wrong("stream has no descriptor: it writes a file, or the process has none left");
  return dispatcher.watch(fd, [flow, callback, user](bool last) {
    last = last || flow->freed;
    if (!last) callback(user, ORKESTR_OK);
    if (!last && !flow->over && !flow->freed) return true;
    callback(user, ORKESTR_END);
    return false;
  });
}

}  // namespace

orkestr_status orkestr_stream_next(orkestr_stream* stream, int64_t timeout_ms, orkestr_value** piece,
                                   orkestr_error** error) {
  return call(error, [&]() -> Result<orkestr_status> {
    ORKESTR_CHECK(clear_output("piece", piece));
    return alone(&Flow::reading, "reading", stream, [&](Flow& flow) -> Result<orkestr_status> {
      auto next = flow.next(waiting_time(timeout_ms));
      if (!next.ok()) {
        flow.over = true;
        return next.error();
      }
      if (!*next) {
        flow.over = true;
        return ORKESTR_END;
      }
      if ((*next)->data.empty() && !(*next)->is_final()) return ORKESTR_AGAIN;
      *piece = make_value(to_node(std::move(**next)));
      return ORKESTR_OK;
    });
  });
}

orkestr_status orkestr_stream_write(orkestr_stream* stream, const void* data, size_t length, int64_t timeout_ms,
                                    size_t* written, orkestr_error** error) {
  if (written != nullptr) *written = 0;
  return call(error, [&]() -> Result<orkestr_status> {
    if (written == nullptr) return is_null("written");
    ORKESTR_TRY(const auto view, bytes("data", data, length));
    return alone(&Flow::writing, "writing to", stream, [&](Flow& flow) -> Result<orkestr_status> {
      ORKESTR_TRY(*written, flow.write(view, waiting_time(timeout_ms)));
      return *written == 0 && !view.empty() ? ORKESTR_AGAIN : ORKESTR_OK;
    });
  });
}

orkestr_status orkestr_stream_finish(orkestr_stream* stream, int64_t timeout_ms, orkestr_error** error) {
  return call(error, [&]() -> Result<orkestr_status> {
    return alone(&Flow::writing, "writing to", stream, [&](Flow& flow) -> Result<orkestr_status> {
      ORKESTR_TRY(const bool finished, flow.finish(waiting_time(timeout_ms)));
      return finished ? ORKESTR_OK : ORKESTR_AGAIN;
    });
  });
}

orkestr_status orkestr_stream_resize(orkestr_stream* stream, int cols, int rows, orkestr_error** error) {
  return call(error, [&]() -> Result<void> {
    ORKESTR_TRY(const auto body, orkestr_stream::open("stream", stream));
    return body->flow->resize(cols, rows);
  });
}

orkestr_status orkestr_stream_cancel(orkestr_stream* stream, orkestr_error** error) {
  return call(error, [&]() -> Result<void> {
    ORKESTR_TRY(const auto body, orkestr_stream::open("stream", stream));
    return body->flow->cancel();
  });
}

int orkestr_stream_fd(orkestr_stream* stream) {
  return look(-1, [&] {
    const auto body = orkestr_stream::find(stream);
    return body ? body->flow->fd() : -1;
  });
}

orkestr_status orkestr_stream_notify(orkestr_stream* stream, orkestr_callback callback, void* user,
                                     orkestr_error** error) {
  return call(error, [&]() -> Result<void> {
    ORKESTR_TRY(const auto body, orkestr_stream::open("stream", stream));
    ORKESTR_CHECK(check_callback(callback));
    ORKESTR_CHECK(body->core->check());
    const auto flow = body->flow;
    if (flow->notified.exchange(true)) return wrong("stream has a callback already");
    auto watched = watch(body->core->dispatcher, flow, callback, user);
    if (!watched) {
      flow->notified = false;
      return watched.error();
    }
    flow->watched = *watched;
    if (flow->freed) body->core->dispatcher.drop(*watched);
    return {};
  });
}

int64_t orkestr_stream_pid(const orkestr_stream* stream) {
  return look(std::int64_t{0}, [&] {
    const auto body = orkestr_stream::find(stream);
    return body ? body->flow->pid() : 0;
  });
}

void orkestr_stream_free(orkestr_stream* stream) {
  if (const auto body = orkestr_stream::find(stream)) {
    body->flow->freed = true;
    if (const auto watched = body->flow->watched.load(); watched != 0) body->core->dispatcher.drop(watched);
  }
  orkestr_stream::free(stream);
}
