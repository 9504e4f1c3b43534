// A call as the Stream that core pulls. Dropping it lets go of the call.
#pragma once

#include <memory>

#include "backend.hpp"
#include "local/call.hpp"

namespace orkestr::local {

class CallStream final : public Stream {
 public:
  explicit CallStream(std::shared_ptr<Call> call) : call_(std::move(call)) {}
  ~CallStream() override;

  std::optional<Result<StreamItem>> take() override;
  bool readable() const override { return call_->readable(); }
  std::int64_t pid() const override { return call_->pid(); }
  std::size_t offer(std::string_view bytes) override { return call_->offer(bytes); }
  bool finished() const override { return call_->finished(); }
  void end_input() override { call_->end_input(); }
  void resize(int cols, int rows) override { call_->resize(cols, rows); }
  void cancel() override { call_->cancel(); }
  void on_ready(std::function<void()> hook) override { call_->on_ready(std::move(hook)); }

 private:
  std::shared_ptr<Call> call_;
};

}  // namespace orkestr::local
