// A stream pulled by the user's thread, with blocking waits: what ExecStream, FileReader and FileWriter share.
#pragma once

#include <atomic>
#include <memory>
#include <optional>

#include "core/handles.hpp"
#include "core/input_feeder.hpp"
#include "core/waiter.hpp"

namespace orkestr::core {

class Pull {
 public:
  // `input` is fed beside reading, at each readiness, on whatever thread that is; before what write() gives.
  Pull(std::shared_ptr<SandboxImpl> sandbox, std::unique_ptr<Stream> stream,
       std::optional<InputFeeder> input = std::nullopt);
  ~Pull();

  // Nothing at the deadline.
  std::optional<Result<StreamItem>> next(base::Deadline deadline);
  // Writes all of it, waiting for room. An early end of the stream is returned: with its error, or as an `end` item.
  std::optional<Result<StreamItem>> offer_all(std::string_view bytes, base::Deadline deadline);
  // Likewise, as many as there is room for: `taken` is 0 only at the deadline, and with an early end.
  std::optional<Result<StreamItem>> offer_some(std::string_view bytes, std::size_t& taken, base::Deadline deadline);
  // For a stream that was given an `input` which does not end by itself. Waits until there is room for some of the
  // bytes and answers how many it took, 0 at the deadline; all of them go nowhere once the stream has ended. Beside
  // whoever reads; one writer at a time.
  Result<std::size_t> write_some(std::string_view bytes, base::Deadline deadline);
  void end_input();                 // after all of that input; any thread, idempotent
  void resize(int cols, int rows);  // any thread
  std::int64_t pid() const;         // any thread
  Stream* stream() { return shared_->stream.get(); }
  int fd();
  // Readable when offer_some(), or next(), after it had nothing, is worth another try.
  int fd_for_room();
  bool forked() const { return sandbox_->client->forked(); }
  Result<void> check_process() const { return sandbox_->client->check_process(); }
  void cancel();  // any thread
  void close();   // any thread, but not while another one is in next()

 private:
  // What the stream's hook needs, also while this object is being destroyed.
  struct Shared {
    std::mutex mutex;  // for what is not the reader's: input, and the end of the stream
    std::unique_ptr<Stream> stream;
    std::optional<InputFeeder> input;
    Waiter waiter;  // of the reader
    Waiter room;    // of the writer
  };
  std::shared_ptr<SandboxImpl> sandbox_;  // keeps the I/O thread
  std::shared_ptr<Shared> shared_;
};

}  // namespace orkestr::core
