// The code interpreter: code run in an interpreter that stays, rather than in a process of its own. Variables, imports
// and figures of one call are there in the next one of the same context, and results come rich: text, HTML tables,
// images. For sandboxes of a service that were made from the template `code-interpreter`, or one built on it; any other
// sandbox, and every local one, answers interpreter_unavailable: use exec() there.
//
//   auto sandbox = orkestr::Sandbox::create({"code-interpreter"}).value();
//   sandbox.run_code("import pandas as pd; frame = pd.DataFrame({'a': [1, 2]})").value();
//   auto run = sandbox.run_code("frame.sum()").value();   // run.text() is the sum, as pandas shows it
//
// An exception of the code is a result (CodeExecution::error), not an error: what was done up to it is kept, as in a
// notebook. A context is one interpreter, with variables of its own; contexts live in the sandbox, so they survive
// pause and resume and end with it. Without one that you create, code runs in the context "default".
//
// Thread safety: a CodeContext is a handle, as cheap to copy as a pointer; all members from any thread.
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <orkestr/operation.hpp>
#include <orkestr/options.hpp>
#include <orkestr/process.hpp>
#include <string>
#include <string_view>
#include <vector>

namespace orkestr {

class SandboxImpl;

// One rich result: all forms in which the interpreter gave it.
struct CodeResult {
  std::string type;  // the richest of them: "text", "html", "image_png", "json", "chart"; a newer service may have more
  std::optional<std::string> text;
  std::optional<std::string> html;
  std::optional<std::string> png;    // the image, as bytes
  std::optional<std::string> json;   // JSON text
  std::optional<std::string> chart;  // JSON text: what the figure shows, as data
};

// The exception that the code ended with.
struct CodeError {
  std::string name;   // "ZeroDivisionError"
  std::string value;  // "division by zero"
  std::vector<std::string> traceback;
};

struct CodeExecution {
  std::vector<CodeResult> results;
  std::string stdout_data;  // text
  std::string stderr_data;
  std::optional<CodeError> error;
  std::optional<std::int64_t> execution_count;  // the number of this run in its context
  std::string context_id;
  std::chrono::milliseconds duration{0};
  bool interrupted = false;            // the timeout passed: the run was ended, the context's variables are kept
  bool restarted = false;              // the interpreter had died and was started anew: the variables are lost
  std::vector<std::string> truncated;  // which outputs the service has cut

  // The last result that has a text: what the last expression shows.
  ORKESTR_API std::optional<std::string> text() const;
};

// One event of a run as it happens. `kind` says which of the others is set.
struct CodeEvent {
  enum class Kind {
    output,  // `stream` and `text`
    result,  // `result`
    error,   // `error`: the code raised; `done` still comes
    done,    // `execution`, as run_code() gives it, with everything that came before
  };
  Kind kind = Kind::output;
  OutputStream stream = OutputStream::standard_output;
  std::string text;
  CodeResult result;
  CodeError error;
  CodeExecution execution;
};
// "stream", "result", "error", "done": as the wire and the other languages call them.
ORKESTR_API std::string_view to_string(CodeEvent::Kind value) noexcept;

struct CodeOptions {
  std::string language = "python";  // what else there is depends on the template
  std::string context_id;           // empty: the context "default"
  // 1 ms to 24 h; the run is then interrupted.
  std::chrono::milliseconds timeout{60'000};
};

// The events of a run, pulled. Reading slowly slows the run down. One reader at a time. Dropping or closing it leaves
// the run going on until its own timeout.
class ORKESTR_API CodeStream {
 public:
  struct Impl;
  explicit CodeStream(std::unique_ptr<Impl> impl);
  ~CodeStream();
  CodeStream(CodeStream&&) noexcept;
  CodeStream& operator=(CodeStream&&) noexcept;

  // The next event; nothing after `done`, after an error, and after close(). Waits at most `timeout` (nothing: as long
  // as the run may take): then an `output` event without text. Errors: interpreter_unavailable, not_found for an
  // unknown context, not_ready, connection.
  Result<std::optional<CodeEvent>> next(std::optional<std::chrono::milliseconds> timeout = std::nullopt);
  // Readable when next() would not wait. Owned by the stream.
  int fd();
  // Lets go. Idempotent.
  void close();

 private:
  std::unique_ptr<Impl> impl_;
};

struct CodeContextInfo {
  std::string id;
  std::string language;
  std::string cwd;  // empty: the service did not say
  std::optional<TimePoint> created_at;
  std::optional<TimePoint> last_used_at;
  std::int64_t executions = 0;  // so far
  bool alive = true;            // its interpreter runs
};

class ORKESTR_API CodeContext {
 public:
  CodeContext(std::shared_ptr<SandboxImpl> sandbox, CodeContextInfo info);

  std::string id() const;
  // As of the creation or the list; `alive` also as of the last restart().
  CodeContextInfo info() const;
  // Sandbox::run_code() in this context, whatever CodeOptions::context_id says.
  Result<CodeExecution> run_code(std::string_view code, CodeOptions options = {}) const;
  Operation<CodeExecution> run_code_async(std::string_view code, CodeOptions options = {}) const;
  // A new interpreter without variables, under the same id.
  Result<void> restart() const;
  Operation<void> restart_async() const;
  // Ends the interpreter and forgets the context. There is no way back; not_found when it is gone already.
  Result<void> remove() const;
  Operation<void> remove_async() const;

 private:
  struct State;
  std::shared_ptr<State> state_;
};

}  // namespace orkestr
