#include "options.hpp"
#include "records.hpp"
#include "sandbox.hpp"

using namespace orkestr;
using namespace orkestr::capi;

using Begun = Result<std::shared_ptr<Pending>>;

namespace {

constexpr int kMode = 0644;
constexpr std::chrono::seconds kExpiresIn{600};

// For every function on one file: `work` gets the files and the path.
template <class Work>
orkestr_operation* begin_on(orkestr_sandbox* sandbox, const char* path, Work work) noexcept {
  return begin_of(sandbox, [&](SandboxBody& body) -> Begun {
    ORKESTR_TRY(const auto where, text("path", path));
    return work(body.sandbox.files(), where);
  });
}

template <class Open>
orkestr_status open_stream(orkestr_sandbox* sandbox, const char* path, orkestr_stream** stream, orkestr_error** error,
                           Open open) noexcept {
  return call(error, [&]() -> Result<void> {
    ORKESTR_CHECK(clear_output("stream", stream));
    ORKESTR_TRY(const auto body, orkestr_sandbox::open("sandbox", sandbox));
    ORKESTR_CHECK(body->core->check());
    ORKESTR_TRY(const auto where, text("path", path));
    ORKESTR_TRY(auto opened, open(body->sandbox.files(), where));
    *stream = make_handle(flow(std::move(opened)), body->core);
    return {};
  });
}

}  // namespace

orkestr_operation* orkestr_files_read(orkestr_sandbox* sandbox, const char* path) {
  return begin_on(sandbox, path, [](const Files& files, const std::string& where) {
    return pending(files.read_async(where), 0,
                   [](std::string content) { return std::optional<Node>(Node::bytes(std::move(content))); });
  });
}

orkestr_operation* orkestr_files_write(orkestr_sandbox* sandbox, const char* path, const void* content, size_t length,
                                       int mode) {
  return begin_on(sandbox, path, [&](const Files& files, const std::string& where) -> Begun {
    ORKESTR_TRY(const auto data, bytes("content", content, length));
    return giving(files.write_async(where, std::string(data), mode == 0 ? kMode : mode));
  });
}

orkestr_status orkestr_files_read_stream(orkestr_sandbox* sandbox, const char* path, orkestr_stream** stream,
                                         orkestr_error** error) {
  return open_stream(sandbox, path, stream, error,
                     [](const Files& files, const std::string& where) { return files.read_stream(where); });
}

orkestr_status orkestr_files_write_stream(orkestr_sandbox* sandbox, const char* path, int mode, orkestr_stream** stream,
                                          orkestr_error** error) {
  return open_stream(sandbox, path, stream, error, [&](const Files& files, const std::string& where) {
    return files.write_stream(where, mode == 0 ? kMode : mode);
  });
}

orkestr_operation* orkestr_files_list(orkestr_sandbox* sandbox, const char* path) {
  return begin_on(sandbox, path,
                  [](const Files& files, const std::string& where) { return giving(files.list_async(where)); });
}

orkestr_operation* orkestr_files_stat(orkestr_sandbox* sandbox, const char* path) {
  return begin_on(sandbox, path,
                  [](const Files& files, const std::string& where) { return giving(files.stat_async(where)); });
}

orkestr_operation* orkestr_files_exists(orkestr_sandbox* sandbox, const char* path) {
  return begin_on(sandbox, path, [](const Files& files, const std::string& where) {
    return pending(files.stat_async(where), 0,
                   [](const FileStat& stat) { return std::optional<Node>(Node::flag(stat.exists)); });
  });
}

orkestr_operation* orkestr_files_remove(orkestr_sandbox* sandbox, const char* path) {
  return begin_on(sandbox, path,
                  [](const Files& files, const std::string& where) { return giving(files.remove_async(where)); });
}

orkestr_operation* orkestr_files_mkdir(orkestr_sandbox* sandbox, const char* path, int parents) {
  return begin_on(sandbox, path, [&](const Files& files, const std::string& where) {
    return giving(files.mkdir_async(where, parents != 0));
  });
}

orkestr_operation* orkestr_files_move(orkestr_sandbox* sandbox, const char* source, const char* destination) {
  return begin_of(sandbox, [&](SandboxBody& body) -> Begun {
    ORKESTR_TRY(const auto from, text("source", source));
    ORKESTR_TRY(const auto to, text("destination", destination));
    return giving(body.sandbox.files().move_async(from, to));
  });
}

orkestr_operation* orkestr_files_write_batch(orkestr_sandbox* sandbox, const orkestr_file* files, size_t count) {
  return begin_of(sandbox, [&](SandboxBody& body) -> Begun {
    ORKESTR_TRY(auto batch, batch_files(files, count));
    return giving(body.sandbox.files().write_batch_async(std::move(batch)));
  });
}

orkestr_operation* orkestr_files_presign_download(orkestr_sandbox* sandbox, const char* path, int64_t expires_in_ms) {
  return begin_on(sandbox, path, [&](const Files& files, const std::string& where) {
    return giving(files.presign_download_async(where, seconds(expires_in_ms, kExpiresIn)));
  });
}

orkestr_operation* orkestr_files_presign_upload(orkestr_sandbox* sandbox, const char* path, int64_t expires_in_ms) {
  return begin_on(sandbox, path, [&](const Files& files, const std::string& where) {
    return giving(files.presign_upload_async(where, seconds(expires_in_ms, kExpiresIn)));
  });
}
