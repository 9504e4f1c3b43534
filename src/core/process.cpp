#include "orkestr/process.hpp"

#include "base/try.hpp"
#include "core/collect.hpp"
#include "core/command_end.hpp"
#include "core/exec_stream.hpp"

namespace orkestr {

ExecStream::ExecStream(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
ExecStream::~ExecStream() = default;
ExecStream::ExecStream(ExecStream&&) noexcept = default;
ExecStream& ExecStream::operator=(ExecStream&&) noexcept = default;

ExecStream::Impl::Impl(std::shared_ptr<SandboxImpl> sandbox, std::unique_ptr<Stream> stream, ExecOptions options)
    : timeout(options.timeout), pull(std::move(sandbox), std::move(stream), feeder(std::move(options.stdin_data))) {}

std::function<void(Stream&)> ExecStream::Impl::feeder(std::optional<std::string> input) {
  if (!input) return nullptr;
  auto feeder = std::make_shared<core::InputFeeder>(std::move(*input));
  return [feeder](Stream& stream) { feeder->feed(stream); };
}

Result<std::optional<ExecChunk>> ExecStream::next(std::optional<std::chrono::milliseconds> timeout) {
  ORKESTR_CHECK(impl_->pull.check_process());
  if (impl_->over) return std::optional<ExecChunk>();
  const auto deadline = timeout ? base::Deadline::after(*timeout) : base::Deadline::never();
  auto item = impl_->pull.next(deadline);
  if (!item) return std::optional<ExecChunk>(ExecChunk{});
  if (!*item) {
    impl_->over = true;
    return item->error();
  }
  StreamItem& got = **item;
  ExecChunk chunk;
  if (got.kind == StreamItem::Kind::output) {
    chunk.stream = got.stream;
    chunk.data = std::move(got.data);
    return std::optional<ExecChunk>(std::move(chunk));
  }
  impl_->over = true;
  // The output so far went to the reader.
  if (auto error = core::error_of(got.end, impl_->timeout, {}, {})) return *error;
  chunk.exit_code = got.end.exit_code;
  chunk.duration = got.end.duration;
  return std::optional<ExecChunk>(std::move(chunk));
}

int ExecStream::fd() { return impl_->pull.fd(); }
std::int64_t ExecStream::pid() const { return impl_->pull.pid(); }

void ExecStream::cancel() {
  if (!impl_->pull.forked()) impl_->pull.cancel();
}

void ExecStream::close() {
  if (impl_->pull.forked()) return;
  impl_->over = true;
  impl_->pull.close();
}

}  // namespace orkestr
