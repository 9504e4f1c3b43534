// What stands between a Stream that core pulls, on any thread, and the exchange behind it, on the I/O thread: bounded
// buffers both ways, one end. Holds bytes and hooks, knows nothing of HTTP.
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>

#include "backend.hpp"

namespace orkestr::remote {

// Of all its forms.
std::size_t bytes_of(const CodeResult& result);

class Pipe {
 public:
  static constexpr std::size_t kWindowBytes = 1U << 20U;
  static constexpr std::size_t kPieceBytes = 64U << 10U;

  // What the producer wants to know. Called without locks held, from any thread; not after the end.
  struct Hooks {
    std::function<void()> on_room;     // there is room again, after has_room() was false
    std::function<void()> on_input;    // input has come, or its end
    std::function<void()> on_cancel;   // end it; the end is then given with finish() or fail()
    std::function<void()> on_abandon;  // nobody reads any more
  };
  void set_hooks(Hooks hooks);

  // --- producer
  bool has_room();  // false: on_room will be called
  void deliver(OutputStream stream, std::string_view bytes);
  // Likewise, but the reader is not woken: signal() follows.
  void gather(OutputStream stream, std::string_view bytes);
  void signal();
  void deliver(CodeEvent event);
  void finish(CommandEnd end = {});  // the first end counts, of this and fail()
  void fail(Error error);
  void set_pid(std::int64_t pid);
  // At most `size` bytes of input.
  std::size_t take_input(char* to, std::size_t size);
  bool input_ended();   // and everything of it was taken
  void accept_input();  // offer() takes bytes from now on

  // --- consumer: as Stream has it
  std::optional<Result<StreamItem>> take();
  bool readable() const;
  std::int64_t pid() const;
  bool finished() const;
  std::size_t offer(std::string_view bytes);
  void end_input();
  void cancel();
  void abandon();
  void on_ready(std::function<void()> hook);

 private:
  using Hook = std::shared_ptr<const std::function<void()>>;
  void end(Result<StreamItem> item);
  std::function<void()> hook_of(std::function<void()> Hooks::*member);

  mutable std::mutex mutex_;
  std::deque<Result<StreamItem>> items_;
  std::size_t buffered_ = 0;
  bool starved_producer_ = false;
  bool ended_ = false;
  std::string input_;
  std::size_t input_at_ = 0;
  bool takes_input_ = false;
  bool input_over_ = false;
  std::int64_t pid_ = 0;
  Hook ready_;
  Hooks hooks_;
};

// The stream that core holds; dropping it abandons the pipe.
class PipeStream final : public Stream {
 public:
  explicit PipeStream(std::shared_ptr<Pipe> pipe) : pipe_(std::move(pipe)) {}
  ~PipeStream() override { pipe_->abandon(); }
  std::optional<Result<StreamItem>> take() override { return pipe_->take(); }
  bool readable() const override { return pipe_->readable(); }
  std::int64_t pid() const override { return pipe_->pid(); }
  std::size_t offer(std::string_view bytes) override { return pipe_->offer(bytes); }
  void end_input() override { pipe_->end_input(); }
  bool finished() const override { return pipe_->finished(); }
  void resize(int, int) override {}  // no terminals here
  void cancel() override { pipe_->cancel(); }
  void on_ready(std::function<void()> hook) override { pipe_->on_ready(std::move(hook)); }

 private:
  const std::shared_ptr<Pipe> pipe_;
};

}  // namespace orkestr::remote
