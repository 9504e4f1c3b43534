#include "orkestr/files.hpp"

#include "base/try.hpp"
#include "core/collect.hpp"
#include "core/pull.hpp"
#include "core/submit.hpp"
#include "core/validate.hpp"

namespace orkestr {

using core::check_mode;
using core::check_path;
using core::check_writable_path;
using core::completed;

// Bytes that came in one piece but were asked for in smaller ones wait here.
struct FileReader::Impl {
  Impl(std::shared_ptr<SandboxImpl> sandbox, std::unique_ptr<Stream> stream)
      : pull(std::move(sandbox), std::move(stream)) {}
  // Gives `take` at most `max_bytes`, in pieces, and answers how many. The first is waited for, until `deadline`; then
  // only what is there.
  template <class Take>
  Result<std::optional<std::size_t>> read(std::size_t max_bytes, base::Deadline deadline, Take take) {
    using Count = std::optional<std::size_t>;
    ORKESTR_CHECK(pull.check_process());
    std::size_t total = 0;
    while (total < max_bytes) {
      if (at < rest.size()) {
        const std::string_view piece = std::string_view(rest).substr(at, max_bytes - total);
        take(piece);
        at += piece.size();
        total += piece.size();
        continue;
      }
      if (over) break;
      if (fetch(total == 0 ? deadline : base::Deadline::after(std::chrono::seconds(0)))) continue;
      if (total == 0) return Count();
      break;
    }
    if (total == 0 && failure) return *failure;
    return Count(total);
  }
  Result<std::optional<std::size_t>> read_to(char* to, std::size_t size, base::Deadline deadline) {
    return read(size, deadline, [&](std::string_view piece) { to = std::copy(piece.begin(), piece.end(), to); });
  }
  // Lets the stream go on to `rest`, or to its end. False at the deadline.
  bool fetch(base::Deadline deadline) {
    auto item = pull.next(deadline);
    if (!item) return false;
    if (!*item) failure = item->error();
    over = !*item || (*item)->kind == StreamItem::Kind::end;
    if (!over && (*item)->kind == StreamItem::Kind::output) {
      rest = std::move((*item)->data);
      at = 0;
    }
    return true;
  }
  core::Pull pull;
  std::string rest;
  std::size_t at = 0;
  bool over = false;
  std::optional<Error> failure;  // how it ended; every later call answers it, too
};

FileReader::FileReader(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
FileReader::~FileReader() = default;
FileReader::FileReader(FileReader&&) noexcept = default;
FileReader& FileReader::operator=(FileReader&&) noexcept = default;

Result<std::string> FileReader::read(std::size_t max_bytes) {
  std::string out;
  ORKESTR_CHECK(impl_->read(max_bytes, base::Deadline::never(), [&](std::string_view piece) { out += piece; }));
  return out;
}

Result<std::size_t> FileReader::read(char* to, std::size_t size) {
  ORKESTR_TRY(const auto count, impl_->read_to(to, size, base::Deadline::never()));
  return count.value_or(0);
}
Result<std::optional<std::size_t>> FileReader::read(char* to, std::size_t size, std::chrono::milliseconds timeout) {
  return impl_->read_to(to, size, base::Deadline::after(timeout));
}

Result<std::optional<std::string>> FileReader::next(std::chrono::milliseconds timeout) {
  using Piece = std::optional<std::string>;
  ORKESTR_CHECK(impl_->pull.check_process());
  const auto deadline = base::Deadline::after(timeout);
  while (impl_->at == impl_->rest.size() && !impl_->over) {
    if (!impl_->fetch(deadline)) return Piece();
  }
  std::string piece = impl_->at == 0 ? std::move(impl_->rest) : impl_->rest.substr(impl_->at);
  impl_->rest.clear();
  impl_->at = 0;
  if (piece.empty() && impl_->failure) return *impl_->failure;
  return Piece(std::move(piece));
}

int FileReader::fd() { return impl_->pull.fd(); }
void FileReader::cancel() {
  if (!impl_->pull.forked()) impl_->pull.cancel();
}

struct FileWriter::Impl {
  Impl(std::shared_ptr<SandboxImpl> sandbox, std::unique_ptr<Stream> stream)
      : pull(std::move(sandbox), std::move(stream)) {}
  // Remembers how the transfer ended, for every later call.
  Result<void> over(const Result<StreamItem>& item) {
    ended =
        item ? Error(ErrorCode::internal, "the sandbox ended the transfer before the file was complete") : item.error();
    return *ended;
  }
  // False at the deadline.
  Result<bool> finish(base::Deadline deadline) {
    ORKESTR_CHECK(pull.check_process());
    if (ended) return *ended;
    if (finished) return true;
    if (!std::exchange(finishing, true)) pull.stream()->end_input();
    while (true) {
      auto item = pull.next(deadline);
      if (!item) return false;
      if (!*item) {
        ORKESTR_CHECK(over(*item));
      } else if ((*item)->kind == StreamItem::Kind::end) {
        break;
      }
    }
    finished = true;
    return true;
  }
  core::Pull pull;
  std::optional<Error> ended;
  bool finishing = false;
  bool finished = false;
};

FileWriter::FileWriter(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
FileWriter::~FileWriter() = default;
FileWriter::FileWriter(FileWriter&&) noexcept = default;
FileWriter& FileWriter::operator=(FileWriter&&) noexcept = default;

Result<void> FileWriter::write(std::string_view bytes) {
  ORKESTR_CHECK(impl_->pull.check_process());
  if (impl_->ended) return *impl_->ended;
  if (impl_->finishing) return Error(ErrorCode::not_ready, "write: this writer was finished; open another one");
  // The stream has a deadline of its own for a guest that takes nothing.
  if (auto early = impl_->pull.offer_all(bytes, base::Deadline::never())) return impl_->over(*early);
  return {};
}

Result<std::size_t> FileWriter::write_some(std::string_view bytes, std::chrono::milliseconds timeout) {
  ORKESTR_CHECK(impl_->pull.check_process());
  if (impl_->ended) return *impl_->ended;
  if (impl_->finishing) return Error(ErrorCode::not_ready, "write: this writer was finished; open another one");
  std::size_t taken = 0;
  if (auto early = impl_->pull.offer_some(bytes, taken, base::Deadline::after(timeout))) {
    ORKESTR_CHECK(impl_->over(*early));
  }
  return taken;
}

Result<void> FileWriter::finish() {
  ORKESTR_TRY([[maybe_unused]] const bool finished, impl_->finish(base::Deadline::never()));
  return {};
}
Result<bool> FileWriter::finish(std::chrono::milliseconds timeout) {
  return impl_->finish(base::Deadline::after(timeout));
}

int FileWriter::fd() { return impl_->pull.fd_for_room(); }
void FileWriter::cancel() {
  if (!impl_->pull.forked()) impl_->pull.cancel();
}

Operation<std::string> Files::read_async(std::string_view path) const {
  if (auto here = sandbox_->client->check_process(); !here) return completed<std::string>(here.error());
  auto clean = check_path("path", path);
  if (!clean) return completed<std::string>(clean.error());
  return core::collect_file(sandbox_->session, *clean);
}

Operation<void> Files::write_async(std::string_view path, std::string content, int mode) const {
  if (auto here = sandbox_->client->check_process(); !here) return completed<void>(here);
  auto clean = check_writable_path("path", path);
  if (!clean) return completed<void>(clean.error());
  if (auto good = check_mode(mode); !good) return completed<void>(good);
  auto stream = sandbox_->session->write_file(*clean, mode, content.size());
  return core::feed_file(std::move(stream), std::move(content));
}

Result<FileReader> Files::read_stream(std::string_view path) const {
  ORKESTR_CHECK(sandbox_->client->check_process());
  ORKESTR_TRY(auto clean, check_path("path", path));
  return FileReader(std::make_unique<FileReader::Impl>(sandbox_, sandbox_->session->read_file(std::move(clean))));
}

namespace {

Result<std::unique_ptr<FileWriter::Impl>> open_writer(const std::shared_ptr<SandboxImpl>& sandbox,
                                                      std::string_view path, int mode,
                                                      std::optional<std::uint64_t> size) {
  ORKESTR_CHECK(sandbox->client->check_process());
  ORKESTR_TRY(auto clean, check_writable_path("path", path));
  ORKESTR_CHECK(check_mode(mode));
  return std::make_unique<FileWriter::Impl>(sandbox, sandbox->session->write_file(std::move(clean), mode, size));
}

}  // namespace

Result<FileWriter> Files::write_stream(std::string_view path, int mode) const {
  ORKESTR_TRY(auto writer, open_writer(sandbox_, path, mode, std::nullopt));
  return FileWriter(std::move(writer));
}

Operation<std::vector<FileEntry>> Files::list_async(std::string_view path) const {
  using Value = std::vector<FileEntry>;
  if (auto here = sandbox_->client->check_process(); !here) return completed<Value>(here.error());
  auto clean = check_path("path", path);
  if (!clean) return completed<Value>(clean.error());
  return core::submit<Value>(
      [&](auto done) { return sandbox_->session->list_files(std::move(*clean), std::move(done)); });
}

Operation<FileStat> Files::stat_async(std::string_view path) const {
  if (auto here = sandbox_->client->check_process(); !here) return completed<FileStat>(here.error());
  auto clean = check_path("path", path);
  if (!clean) return completed<FileStat>(clean.error());
  return core::submit<FileStat>(
      [&](auto done) { return sandbox_->session->stat_file(std::move(*clean), std::move(done)); });
}

Operation<void> Files::remove_async(std::string_view path) const {
  if (auto here = sandbox_->client->check_process(); !here) return completed<void>(here);
  auto clean = check_writable_path("path", path);
  if (!clean) return completed<void>(clean.error());
  return core::submit<void>(
      [&](auto done) { return sandbox_->session->remove_file(std::move(*clean), std::move(done)); });
}

Operation<void> Files::mkdir_async(std::string_view path, bool parents) const {
  if (auto here = sandbox_->client->check_process(); !here) return completed<void>(here);
  auto clean = check_writable_path("path", path);
  if (!clean) return completed<void>(clean.error());
  return core::submit<void>(
      [&](auto done) { return sandbox_->session->make_directory(std::move(*clean), parents, std::move(done)); });
}

Operation<void> Files::move_async(std::string_view source, std::string_view destination) const {
  if (auto here = sandbox_->client->check_process(); !here) return completed<void>(here);
  auto from = check_writable_path("source", source);
  if (!from) return completed<void>(from.error());
  auto to = check_writable_path("destination", destination);
  if (!to) return completed<void>(to.error());
  return core::submit<void>(
      [&](auto done) { return sandbox_->session->move_file(std::move(*from), std::move(*to), std::move(done)); });
}

Operation<std::vector<BatchWriteResult>> Files::write_batch_async(std::vector<BatchFile> files) const {
  using Value = std::vector<BatchWriteResult>;
  if (auto here = sandbox_->client->check_process(); !here) return completed<Value>(here.error());
  if (auto good = core::check_batch(files); !good) return completed<Value>(good.error());
  // The session goes on opening files until the last one is written.
  return core::submit<Value>([&](Completion<Value> done) {
    return sandbox_->session->write_batch(std::move(files), [sandbox = sandbox_, done = std::move(done)](
                                                                Result<Value> results) { done(std::move(results)); });
  });
}

namespace {

Operation<PresignedUrl> presign(const std::shared_ptr<SandboxImpl>& sandbox, Session::Presigned kind,
                                Result<std::string> path, std::chrono::seconds expires_in) {
  if (auto here = sandbox->client->check_process(); !here) return completed<PresignedUrl>(here.error());
  if (!path) return completed<PresignedUrl>(path.error());
  if (auto good = core::check_expires_in(expires_in); !good) return completed<PresignedUrl>(good.error());
  return core::submit<PresignedUrl>(
      [&](auto done) { return sandbox->session->presign(kind, std::move(*path), expires_in, std::move(done)); });
}

}  // namespace

Operation<PresignedUrl> Files::presign_download_async(std::string_view path, std::chrono::seconds expires_in) const {
  return presign(sandbox_, Session::Presigned::download, check_path("path", path), expires_in);
}
Operation<PresignedUrl> Files::presign_upload_async(std::string_view path, std::chrono::seconds expires_in) const {
  return presign(sandbox_, Session::Presigned::upload, check_writable_path("path", path), expires_in);
}
Result<PresignedUrl> Files::presign_download(std::string_view path, std::chrono::seconds expires_in) const {
  return presign_download_async(path, expires_in).get();
}
Result<PresignedUrl> Files::presign_upload(std::string_view path, std::chrono::seconds expires_in) const {
  return presign_upload_async(path, expires_in).get();
}
Result<std::vector<BatchWriteResult>> Files::write_batch(std::vector<BatchFile> files) const {
  return write_batch_async(std::move(files)).get();
}

Result<std::string> Files::read(std::string_view path) const { return read_async(path).get(); }

// From the caller's memory, without the copy that an asynchronous write has to keep.
Result<void> Files::write(std::string_view path, std::string_view content, int mode) const {
  ORKESTR_TRY(auto impl, open_writer(sandbox_, path, mode, content.size()));
  FileWriter writer(std::move(impl));
  ORKESTR_CHECK(writer.write(content));
  return writer.finish();
}

Result<std::vector<FileEntry>> Files::list(std::string_view path) const { return list_async(path).get(); }
Result<FileStat> Files::stat(std::string_view path) const { return stat_async(path).get(); }

Result<bool> Files::exists(std::string_view path) const {
  ORKESTR_TRY(const auto info, stat(path));
  return info.exists;
}

Result<void> Files::remove(std::string_view path) const { return remove_async(path).get(); }
Result<void> Files::mkdir(std::string_view path, bool parents) const { return mkdir_async(path, parents).get(); }
Result<void> Files::move(std::string_view source, std::string_view destination) const {
  return move_async(source, destination).get();
}

}  // namespace orkestr
