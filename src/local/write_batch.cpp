// LocalSession: several files at once, each as write_file() writes one, a few at a time.
#include <algorithm>
#include <atomic>
#include <functional>
#include <memory>
#include <mutex>
#include <utility>

#include "local/session.hpp"
#include "wire/message.hpp"

namespace orkestr::local {
namespace {

// Enough to hide the round trips; each has at most one window of its content under way.
constexpr std::size_t kAtOnce = 4;

// Owned by the hooks of its streams, so until the last file is written.
class BatchWriter : public std::enable_shared_from_this<BatchWriter> {
 public:
  using Open = std::function<std::unique_ptr<Stream>(std::string path, int mode)>;

  BatchWriter(std::vector<BatchFile> files, Open open, Completion<std::vector<BatchWriteResult>> done)
      : files_(std::move(files)), open_(std::move(open)), done_(std::move(done)), active_(files_.size()) {
    for (const BatchFile& file : files_) results_.push_back({file.path, 0, std::nullopt});
  }

  void start() {
    if (files_.empty()) return complete();
    for (std::size_t i = 0; i < std::min(kAtOnce, files_.size()); ++i) open_next();
  }

  void cancel() {
    std::vector<std::shared_ptr<Stream>> open;
    {
      std::lock_guard lock(mutex_);
      cancelled_ = true;
      for (const Active& one : active_) {
        if (one.stream) open.push_back(one.stream);
      }
    }
    for (const auto& stream : open) stream->cancel();
  }

 private:
  struct Active {
    std::shared_ptr<Stream> stream;
    std::size_t offered = 0;
    bool input_ended = false;
  };

  void open_next() {
    std::size_t index = 0;
    std::shared_ptr<Stream> stream;
    {
      std::lock_guard lock(mutex_);
      if (next_ == files_.size()) return;
      index = next_++;
      stream = active_[index].stream = open_(files_[index].path, files_[index].mode);
    }
    stream->on_ready([self = shared_from_this(), index] { self->move(index); });
    if (cancelled_) stream->cancel();
  }

  // Hooks of one stream may run at once on two threads.
  void move(std::size_t index) {
    std::unique_lock lock(mutex_);
    Active& one = active_[index];
    if (!one.stream) return;
    const std::string_view content = files_[index].content;
    while (one.offered < content.size()) {
      const std::size_t taken = one.stream->offer(content.substr(one.offered));
      if (taken == 0) break;
      one.offered += taken;
    }
    if (one.offered == content.size() && !std::exchange(one.input_ended, true)) one.stream->end_input();
    auto item = one.stream->take();
    if (!item) return;
    if (*item) {
      results_[index].bytes_written = content.size();
    } else {
      results_[index].error = item->error();
    }
    // Its hook holds us: let go outside of the lock.
    const std::shared_ptr<Stream> finished = std::move(one.stream);
    std::string().swap(files_[index].content);
    const bool last = ++ended_ == files_.size();
    lock.unlock();
    finished->on_ready(nullptr);
    if (last) {
      complete();
    } else {
      open_next();
    }
  }

  void complete() { done_(std::move(results_)); }

  std::mutex mutex_;
  std::vector<BatchFile> files_;
  const Open open_;
  const Completion<std::vector<BatchWriteResult>> done_;
  std::vector<BatchWriteResult> results_;
  std::vector<Active> active_;
  std::size_t next_ = 0;
  std::size_t ended_ = 0;
  std::atomic<bool> cancelled_ = false;
};

}  // namespace

CancelFunction LocalSession::write_batch(std::vector<BatchFile> files, Completion<std::vector<BatchWriteResult>> done) {
  // (Core keeps the session as long as `done`.)
  auto open = [this](std::string path, int mode) { return write_file(std::move(path), mode, {}); };
  auto writer = std::make_shared<BatchWriter>(std::move(files), std::move(open), std::move(done));
  writer->start();
  return [weak = std::weak_ptr<BatchWriter>(writer)] {
    if (const auto self = weak.lock()) self->cancel();
  };
}

}  // namespace orkestr::local
