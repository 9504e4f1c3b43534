// The output of a command and of a background command as it comes.
//
// All looks, and writing as much as there is room for, are on the JavaScript thread.
#include <napi.h>

#include <orkestr/orkestr.hpp>

#include "handle.hpp"
#include "readiness.hpp"
#include "surface.hpp"

namespace orkestr::node {

namespace {

using Info = const Napi::CallbackInfo&;
using Output = std::shared_ptr<ExecStream>;
using Logs = std::shared_ptr<LogStream>;

// A chunk; null at the end; undefined when there is nothing yet.
template <class Stream>
Napi::Value next(Napi::Env env, Stream& stream) {
  const std::optional<ExecChunk> chunk = take(env, stream.next(kNow));
  if (!chunk) return env.Null();
  if (!chunk->is_final() && chunk->data.empty()) return env.Undefined();
  return to_js(env, *chunk);
}

Napi::Value exec_stream(Info info) {
  ExecOptions options = exec_options(get_object(info[2], "options"));
  const auto& sandbox = of_handle<Sandbox>(info[0], "sandbox");
  auto stream = info[1].IsArray() ? sandbox.run_stream(get_texts(info[1], "command"), std::move(options))
                                  : sandbox.exec_stream(get_text(info[1], "command"), std::move(options));
  return make_handle<Output>(info.Env(), std::make_shared<ExecStream>(take(info.Env(), std::move(stream))));
}

// How many of the bytes there was room for; who waits for more is lib/process.js, where a timer costs no thread.
Napi::Value write(Info info) {
  const Output output = of_handle<Output>(info[0], "stream");
  const std::string bytes = get_bytes(info[1], "data");
  return to_number(info.Env(), take(info.Env(), output->write_some(bytes, kNow)));
}

ExecStream& output_of(Info info) { return *of_handle<Output>(info[0], "stream"); }
LogStream& logs_of(Info info) { return *of_handle<Logs>(info[0], "stream"); }

Napi::Value open_logs(Info info) {
  const auto& command = of_handle<BackgroundCommand>(info[0], "command");
  const auto offset = static_cast<std::uint64_t>(std::max<std::int64_t>(0, get_integer(info[1], "offset")));
  auto stream = command.stream(offset, std::chrono::seconds{get_integer(info[2], "timeoutSeconds")});
  return make_handle<Logs>(info.Env(), std::make_shared<LogStream>(take(info.Env(), std::move(stream))));
}

}  // namespace

void export_streams(Napi::Env, Napi::Object exports) {
  add(exports, "execStream", exec_stream);
  add(exports, "streamNext", [](Info info) { return next(info.Env(), output_of(info)); });
  add(exports, "streamReady", [](Info info) { return ready(info.Env(), of_handle<Output>(info[0], "stream")); });
  add(exports, "streamWrite", write);
  add(exports, "streamCloseInput", [](Info info) { output_of(info).close_input(); });
  add(exports, "streamResize", [](Info info) {
    take(info.Env(), output_of(info).resize(static_cast<int>(get_integer(info[1], "cols")),
                                            static_cast<int>(get_integer(info[2], "rows"))));
  });
  add(exports, "streamPid", [](Info info) { return to_number(info.Env(), output_of(info).pid()); });
  add(exports, "streamCancel", [](Info info) { output_of(info).cancel(); });
  add(exports, "streamClose", [](Info info) { output_of(info).close(); });
  add(exports, "openLogs", open_logs);
  add(exports, "logsNext", [](Info info) { return next(info.Env(), logs_of(info)); });
  add(exports, "logsReady", [](Info info) { return ready(info.Env(), of_handle<Logs>(info[0], "stream")); });
  add(exports, "logsClose", [](Info info) { logs_of(info).close(); });
}

}  // namespace orkestr::node
