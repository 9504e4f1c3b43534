#include "orkestr/process.hpp"

#include <fmt/format.h>

#include "base/try.hpp"
#include "core/command_end.hpp"
#include "core/exec_stream.hpp"
#include "core/validate.hpp"

namespace orkestr {

ExecStream::ExecStream(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
ExecStream::~ExecStream() = default;
ExecStream::ExecStream(ExecStream&&) noexcept = default;
ExecStream& ExecStream::operator=(ExecStream&&) noexcept = default;

namespace {

std::optional<core::InputFeeder> feeder(std::optional<std::string> input, bool stays_open) {
  if (!input && !stays_open) return std::nullopt;
  return core::InputFeeder(std::move(input).value_or(std::string()), !stays_open);
}

}  // namespace

ExecStream::Impl::Impl(std::shared_ptr<SandboxImpl> sandbox, std::unique_ptr<Stream> stream, ExecOptions options)
    : timeout(options.timeout),
      input_open(options.stdin_open || options.tty),
      tty(options.tty),
      pull(std::move(sandbox), std::move(stream), feeder(std::move(options.stdin_data), input_open)) {}

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

Result<std::size_t> ExecStream::write_some(std::string_view bytes, std::optional<std::chrono::milliseconds> timeout) {
  ORKESTR_CHECK(impl_->pull.check_process());
  if (!impl_->input_open) {
    return Error(ErrorCode::invalid_argument,
                 "write: the command was started without an open standard input; set stdin_open or tty");
  }
  return impl_->pull.write_some(bytes, timeout ? base::Deadline::after(*timeout) : base::Deadline::never());
}

Result<void> ExecStream::write(std::string_view bytes, std::optional<std::chrono::milliseconds> timeout) {
  using std::chrono::steady_clock;
  const auto start = steady_clock::now();
  const std::size_t all = bytes.size();
  do {
    auto left = timeout;
    if (left) *left -= std::chrono::duration_cast<std::chrono::milliseconds>(steady_clock::now() - start);
    ORKESTR_TRY(const std::size_t taken, write_some(bytes, left));
    if (taken == 0 && !bytes.empty()) {
      return Error(ErrorCode::exec_timeout,
                   fmt::format("write: within {} ms the command took {} of {} bytes; it still runs. Read its output "
                               "beside writing, wait longer, or cancel it",
                               timeout.value_or(std::chrono::milliseconds(0)).count(), all - bytes.size(), all));
    }
    bytes.remove_prefix(taken);
  } while (!bytes.empty());
  return {};
}

void ExecStream::close_input() {
  if (!impl_->pull.forked() && impl_->input_open) impl_->pull.end_input();
}

Result<void> ExecStream::resize(int cols, int rows) {
  ORKESTR_CHECK(impl_->pull.check_process());
  if (!impl_->tty) {
    return Error(ErrorCode::invalid_argument, "resize: the command was started without a terminal; set tty");
  }
  ORKESTR_CHECK(core::check_terminal(cols, rows));
  impl_->pull.resize(cols, rows);
  return {};
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
