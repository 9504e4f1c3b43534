// A stream pulled by the user's thread, with blocking waits: what ExecStream, FileReader and FileWriter share.
#pragma once

#include <atomic>
#include <memory>

#include "core/handles.hpp"
#include "core/waiter.hpp"

namespace orkestr::core {

class Pull {
 public:
  // `while_ready` also runs at each readiness, on whatever thread that is: for feeding input beside reading.
  Pull(std::shared_ptr<SandboxImpl> sandbox, std::unique_ptr<Stream> stream,
       std::function<void(Stream&)> while_ready = nullptr);
  ~Pull();

  // Nothing at the deadline.
  std::optional<Result<StreamItem>> next(base::Deadline deadline);
  // Writes all of it, waiting for room. An early end of the stream is returned: with its error, or as an `end` item.
  std::optional<Result<StreamItem>> offer_all(std::string_view bytes, base::Deadline deadline);
  std::int64_t pid() const;  // any thread
  Stream* stream() { return shared_->stream.get(); }
  int fd();
  bool forked() const { return sandbox_->client->forked(); }
  Result<void> check_process() const { return sandbox_->client->check_process(); }
  void cancel();  // any thread
  void close();   // any thread, but not while another one is in next()

 private:
  // What the stream's hook needs, also while this object is being destroyed.
  struct Shared {
    std::mutex mutex;  // serialises while_ready with the end of the stream
    std::unique_ptr<Stream> stream;
    std::function<void(Stream&)> while_ready;
    Waiter waiter;
  };
  std::shared_ptr<SandboxImpl> sandbox_;  // keeps the I/O thread
  std::shared_ptr<Shared> shared_;
};

}  // namespace orkestr::core
