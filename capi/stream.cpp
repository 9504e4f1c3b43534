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
  Result<std::optional<Node>> next(Wait wait) override { return piece(stream_.next(wait)); }
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
  Result<std::optional<Node>> next(Wait wait) override { return piece(stream_.next(wait)); }
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
  Result<std::optional<Node>> next(Wait wait) override {
    ORKESTR_TRY(auto read, reader_.next(wait));
    if (!read) return std::optional<Node>(Node());
    if (read->empty()) return std::optional<Node>();
    ExecChunk chunk;
    chunk.data = std::move(*read);
    return std::optional<Node>(to_node(std::move(chunk)));
  }
  Result<void> cancel() override {
    reader_.cancel();
    return {};
  }
  int fd() override { return reader_.fd(); }

 private:
  FileReader reader_;
};

class CodeFlow final : public Flow {
 public:
  explicit CodeFlow(CodeStream stream) : stream_(std::move(stream)) {}
  Result<std::optional<Node>> next(Wait wait) override {
    ORKESTR_TRY(auto event, stream_.next(wait));
    if (!event) return std::optional<Node>();
    if (event->kind == CodeEvent::Kind::output && event->text.empty()) return std::optional<Node>(Node());
    if (event->kind == CodeEvent::Kind::done) over = true;
    return std::optional<Node>(to_node(std::move(*event)));
  }
  Result<void> cancel() override {
    return wrong("stream has the events of a run of code: free it; the run goes on until its own timeout");
  }
  int fd() override { return stream_.fd(); }

 private:
  CodeStream stream_;
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

Result<std::optional<Node>> Flow::next(Wait /*wait*/) {
  return wrong("stream writes a file; there is nothing to read from it");
}
Result<std::optional<Node>> Flow::piece(Result<std::optional<ExecChunk>> chunk) {
  if (!chunk.ok()) return chunk.error();
  if (!*chunk) return std::optional<Node>();
  if ((*chunk)->is_final()) over = true;
  if ((*chunk)->data.empty() && !over) return std::optional<Node>(Node());
  return std::optional<Node>(to_node(std::move(**chunk)));
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
std::shared_ptr<Flow> flow(CodeStream stream) { return std::make_shared<CodeFlow>(std::move(stream)); }

orkestr_stream* make_handle(std::shared_ptr<Flow> flow, std::shared_ptr<ClientCore> core) {
  return std::make_unique<orkestr_stream>(StreamBody{std::move(flow), std::move(core)}).release();
}

}  // namespace orkestr::capi

using namespace orkestr;
using namespace orkestr::capi;

namespace {

// After each look at what there is to read: the callback is worth a call again, or its last one.
void after_next(Flow& flow, Dispatcher& dispatcher) {
  const auto watched = flow.watched.load();
  if (watched == 0) return;
  if (flow.over) {
    dispatcher.drop(watched);
  } else {
    dispatcher.again(watched);
  }
}

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

Result<orkestr_status> next(Flow& flow, Flow::Wait wait, orkestr_value** piece) {
  auto got = flow.next(wait);
  if (!got.ok() || !*got) flow.over = true;
  if (!got.ok()) return got.error();
  if (!*got) return ORKESTR_END;
  if ((*got)->type() == ORKESTR_TYPE_NULL) return ORKESTR_AGAIN;
  *piece = make_value(std::move(*got));
  return ORKESTR_OK;
}

Result<void> watch(Dispatcher& dispatcher, const std::shared_ptr<Flow>& flow, orkestr_callback callback, void* user) {
  const int fd = flow->fd();
  if (fd < 0) return wrong("stream has no descriptor: it writes a file, or the process has none left");
  auto ready = [flow, callback, user](bool last) {
    last = last || flow->freed || flow->over;
    if (!last) callback(user, ORKESTR_OK);
    if (!last && !flow->over && !flow->freed) return true;
    callback(user, ORKESTR_END);
    return false;
  };
  return dispatcher.watch(fd, std::move(ready), &flow->watched);
}

}  // namespace

orkestr_status orkestr_stream_next(orkestr_stream* stream, int64_t timeout_ms, orkestr_value** piece,
                                   orkestr_error** error) {
  return call(error, [&]() -> Result<orkestr_status> {
    ORKESTR_CHECK(clear_output("piece", piece));
    ORKESTR_TRY(const auto body, orkestr_stream::open("stream", stream));
    bool had_its_turn = false;
    auto status = alone(&Flow::reading, "reading", stream, [&](Flow& flow) {
      had_its_turn = true;
      return next(flow, waiting_time(timeout_ms), piece);
    });
    if (had_its_turn) after_next(*body->flow, body->core->dispatcher);
    return status;
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
    if (!watched.ok()) flow->notified = false;
    if (flow->over) body->core->dispatcher.drop(flow->watched);  // its descriptor need not say so
    return watched;
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
