// The files of a sandbox: whole ones by operations, pieces as far as there are any, or room for them. No thread waits
// for a guest that stalls.
#include <napi.h>

#include <orkestr/orkestr.hpp>

#include "handle.hpp"
#include "readiness.hpp"
#include "surface.hpp"

namespace orkestr::node {

namespace {

using Info = const Napi::CallbackInfo&;
using Reader = std::shared_ptr<FileReader>;
using Writer = std::shared_ptr<FileWriter>;

Napi::Value to_js(Napi::Env env, const BatchWriteResult& result) {
  Napi::Object out = Napi::Object::New(env);
  out.Set("path", to_text(env, result.path));
  out.Set("bytesWritten", result.error ? env.Null() : to_number(env, result.bytes_written));
  out.Set("error", result.error ? to_text(env, to_string(result.error->code())) : env.Null());
  out.Set("message", result.error ? to_text(env, result.error->message()) : env.Null());
  return out;
}

Napi::Value to_js(Napi::Env env, const PresignedUrl& url) {
  Napi::Object out = Napi::Object::New(env);
  out.Set("url", to_text(env, url.url));
  out.Set("method", to_text(env, url.method));
  out.Set("path", to_text(env, url.path));
  out.Set("expiresAt", to_ms(env, url.expires_at));
  return out;
}

Files files_of(Info info) { return of_handle<Sandbox>(info[0], "sandbox").files(); }
std::string path_of(Info info) { return get_text(info[1], "path"); }
Napi::Value to_buffer(Napi::Env env, std::string bytes) { return to_bytes(env, std::move(bytes)); }

Napi::Value write_batch(Info info) {
  if (!info[1].IsArray()) throw Napi::TypeError::New(info.Env(), "files is no array");
  const auto pairs = info[1].As<Napi::Array>();
  const int mode = *get_optional_int(info[2], "mode");
  std::vector<BatchFile> batch;
  for (std::uint32_t i = 0; i < pairs.Length(); ++i) {
    const Napi::Object pair = get_object(pairs.Get(i), "files");
    batch.push_back({get_text(pair.Get(0U), "path"), get_bytes(pair.Get(1U), "content"), mode});
  }
  return begin(info.Env(), files_of(info).write_batch_async(std::move(batch)),
               [](Napi::Env env, const std::vector<BatchWriteResult>& results) {
                 Napi::Array out = Napi::Array::New(env, results.size());
                 for (std::size_t i = 0; i < results.size(); ++i) {
                   out.Set(static_cast<std::uint32_t>(i), to_js(env, results[i]));
                 }
                 return out;
               });
}

Napi::Value presign(Info info) {
  const std::chrono::seconds time{get_integer(info[3], "expiresIn")};
  const Files files = files_of(info);
  auto operation = get_flag(info[2], "upload") ? files.presign_upload_async(path_of(info), time)
                                               : files.presign_download_async(path_of(info), time);
  return begin(info.Env(), std::move(operation),
               [](Napi::Env env, const PresignedUrl& url) { return to_js(env, url); });
}

// Not one that was dropped.
template <class Transfer>
const Transfer& transfer_of(Info info) {
  const auto& transfer = of_handle<Transfer>(info[0], "transfer");
  if (!transfer) throw_error(info.Env(), Error(ErrorCode::not_ready, "the file's stream is closed; open another one"));
  return transfer;
}

Napi::Value open_reader(Info info) {
  return make_handle(info.Env(),
                     std::make_shared<FileReader>(take(info.Env(), files_of(info).read_stream(path_of(info)))));
}

// What has come, about `size` bytes at most; empty at the end of the file, undefined when there is nothing yet.
Napi::Value read_piece(Info info) {
  const auto& reader = transfer_of<Reader>(info);
  const auto size = static_cast<std::size_t>(std::max<std::int64_t>(1, get_integer(info[1], "size")));
  std::string all;
  while (all.size() < size) {
    auto piece = reader->next(kNow);
    if (!piece.ok() && all.empty()) throw_error(info.Env(), piece.error());
    if (!piece.ok()) break;  // the next look tells it again
    if (!*piece && all.empty()) return info.Env().Undefined();
    if (!*piece || (*piece)->empty()) break;
    if (all.empty()) {
      all = std::move(**piece);
    } else {
      all += **piece;
    }
  }
  return to_bytes(info.Env(), std::move(all));
}

Napi::Value open_writer(Info info) {
  const int mode = *get_optional_int(info[2], "mode");
  return make_handle(info.Env(),
                     std::make_shared<FileWriter>(take(info.Env(), files_of(info).write_stream(path_of(info), mode))));
}

// How many of the bytes there was room for.
Napi::Value write_piece(Info info) {
  const std::string bytes = get_bytes(info[1], "content");
  return to_number(info.Env(), take(info.Env(), transfer_of<Writer>(info)->write_some(bytes, kNow)));
}

// Whether it is in its place.
Napi::Value finish_file(Info info) {
  return Napi::Boolean::New(info.Env(), take(info.Env(), transfer_of<Writer>(info)->finish(kNow)));
}

// `cancel`: what was not read or finished goes nowhere.
template <class Transfer>
void drop(Info info) {
  auto& transfer = of_handle<Transfer>(info[0], "transfer");
  if (transfer && get_flag(info[1], "cancel")) transfer->cancel();
  transfer.reset();
}

}  // namespace

void export_files(Napi::Env, Napi::Object exports) {
  add(exports, "readFile",
      [](Info info) { return begin(info.Env(), files_of(info).read_async(path_of(info)), to_buffer); });
  add(exports, "writeFile", [](Info info) {
    std::string content = get_bytes(info[2], "content");
    const int mode = *get_optional_int(info[3], "mode");
    return begin(info.Env(), files_of(info).write_async(path_of(info), std::move(content), mode), to_undefined);
  });
  add(exports, "listFiles", [](Info info) {
    return begin(info.Env(), files_of(info).list_async(path_of(info)),
                 [](Napi::Env env, const std::vector<FileEntry>& entries) { return node::to_js(env, entries); });
  });
  add(exports, "statFile", [](Info info) {
    return begin(info.Env(), files_of(info).stat_async(path_of(info)),
                 [](Napi::Env env, const FileStat& stat) { return node::to_js(env, stat); });
  });
  add(exports, "deleteFile",
      [](Info info) { return begin(info.Env(), files_of(info).remove_async(path_of(info)), to_undefined); });
  add(exports, "mkdir", [](Info info) {
    return begin(info.Env(), files_of(info).mkdir_async(path_of(info), get_flag(info[2], "parents")), to_undefined);
  });
  add(exports, "moveFile", [](Info info) {
    return begin(info.Env(), files_of(info).move_async(get_text(info[1], "source"), get_text(info[2], "destination")),
                 to_undefined);
  });
  add(exports, "writeBatch", write_batch);
  add(exports, "presign", presign);
  add(exports, "openReader", open_reader);
  add(exports, "readPiece", read_piece);
  add(exports, "openWriter", open_writer);
  add(exports, "writePiece", write_piece);
  add(exports, "finishFile", finish_file);
  add(exports, "readerReady", [](Info info) { return ready(info.Env(), transfer_of<Reader>(info)); });
  add(exports, "writerReady", [](Info info) { return ready(info.Env(), transfer_of<Writer>(info)); });
  // What is open otherwise goes when the garbage collector notices, which for a file half written is too late.
  add(exports, "dropReader", drop<Reader>);
  add(exports, "dropWriter", drop<Writer>);
}

}  // namespace orkestr::node
