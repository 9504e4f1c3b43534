// Streams: one interface over the library's ExecStream, LogStream, FileReader, FileWriter and CodeStream.
#pragma once

#include <atomic>
#include <memory>
#include <mutex>
#include <optional>
#include <orkestr/orkestr.hpp>
#include <string_view>

#include "client.hpp"
#include "value.hpp"

namespace orkestr::capi {

class Flow {
 public:
  using Wait = std::chrono::milliseconds;
  virtual ~Flow() = default;
  // The next piece: nothing at the end, null when `wait` has passed.
  virtual Result<std::optional<Node>> next(Wait wait);
  // How many bytes it took; 0 when `wait` has passed.
  virtual Result<std::size_t> write(std::string_view bytes, Wait wait);
  // False when `wait` has passed.
  virtual Result<bool> finish(Wait wait);
  virtual Result<void> resize(int cols, int rows);
  virtual Result<void> cancel() = 0;
  virtual int fd() { return -1; }
  virtual std::int64_t pid() const { return 0; }

  // One reader and one writer at a time.
  std::mutex reading, writing;
  std::atomic<bool> over{false};  // the last piece was given, or the end
  // Of the callback, which may come, and free the stream, before the call that asked for it returns.
  std::atomic<bool> notified{false}, freed{false};
  std::atomic<std::uint64_t> watched{0};  // by the dispatcher; 0: not

 protected:
  // Of a command's output: an empty one that is not final is none in time.
  Result<std::optional<Node>> piece(Result<std::optional<ExecChunk>> chunk);
};

std::shared_ptr<Flow> flow(ExecStream stream);
std::shared_ptr<Flow> flow(LogStream stream);
std::shared_ptr<Flow> flow(FileReader reader);
std::shared_ptr<Flow> flow(FileWriter writer);
std::shared_ptr<Flow> flow(CodeStream stream);

struct StreamBody {
  std::shared_ptr<Flow> flow;
  std::shared_ptr<ClientCore> core;
};

orkestr_stream* make_handle(std::shared_ptr<Flow> flow, std::shared_ptr<ClientCore> core);

}  // namespace orkestr::capi

struct orkestr_stream : orkestr::capi::Handle<orkestr_stream, orkestr::capi::StreamBody, 0x6f737472> {
  using Handle::Handle;
};
