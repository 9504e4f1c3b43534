// Code in the interpreter of a sandbox. A context has no handle here: its id says which.
#include <algorithm>

#include "options.hpp"
#include "records.hpp"
#include "sandbox.hpp"

using namespace orkestr;
using namespace orkestr::capi;

using Begun = Result<std::shared_ptr<Pending>>;

namespace {

Result<CodeContext> context_of(const Sandbox& sandbox, const std::string& id) {
  ORKESTR_TRY(const auto all, sandbox.code_contexts());
  const auto found = std::find_if(all.begin(), all.end(), [&](const CodeContext& one) { return one.id() == id; });
  if (found != all.end()) return *found;
  return Error(ErrorCode::not_found, "code context \"" + id + "\": sandbox " + sandbox.id() +
                                         " has none with this id; orkestr_sandbox_code_contexts() lists them");
}

// `change` with the context of this id, unless nobody wants it any more. Gives what `change` does.
template <class T>
orkestr_operation* begin_with(orkestr_sandbox* sandbox, const char* context_id,
                              Result<T> (*change)(const CodeContext& context)) {
  return begin_of(sandbox, [&](SandboxBody& body) -> Begun {
    ORKESTR_TRY(const auto id, text("context_id", context_id));
    return giving<T>(*body.core, [sandbox = body.sandbox, id, change](const ClientCore::Wanted& wanted) -> Result<T> {
      ORKESTR_TRY(const auto context, context_of(sandbox, id));
      if (!wanted()) return Error(ErrorCode::cancelled, "cancelled");
      return change(context);
    });
  });
}

}  // namespace

orkestr_operation* orkestr_sandbox_run_code(orkestr_sandbox* sandbox, const char* code,
                                            const orkestr_code_options* options) {
  return begin_of(sandbox, [&](SandboxBody& body) -> Begun {
    ORKESTR_TRY(const auto source, text("code", code));
    ORKESTR_TRY(auto chosen, code_options(options));
    return giving(body.sandbox.run_code_async(source, std::move(chosen)));
  });
}

orkestr_status orkestr_sandbox_run_code_stream(orkestr_sandbox* sandbox, const char* code,
                                               const orkestr_code_options* options, orkestr_stream** stream,
                                               orkestr_error** error) {
  return call(error, [&]() -> Result<void> {
    ORKESTR_CHECK(clear_output("stream", stream));
    ORKESTR_TRY(const auto body, orkestr_sandbox::open("sandbox", sandbox));
    ORKESTR_CHECK(body->core->check());
    ORKESTR_TRY(const auto source, text("code", code));
    ORKESTR_TRY(auto chosen, code_options(options));
    ORKESTR_TRY(auto opened, body->sandbox.run_code_stream(source, std::move(chosen)));
    *stream = make_handle(flow(std::move(opened)), body->core);
    return {};
  });
}

orkestr_operation* orkestr_sandbox_create_code_context(orkestr_sandbox* sandbox, const char* cwd) {
  return begin_of(
      sandbox, [&](SandboxBody& body) { return giving(body.sandbox.create_code_context_async(text_or_empty(cwd))); });
}

orkestr_operation* orkestr_sandbox_code_contexts(orkestr_sandbox* sandbox) {
  return begin_of(sandbox, [](SandboxBody& body) { return giving(body.sandbox.code_contexts_async()); });
}

orkestr_operation* orkestr_code_context_restart(orkestr_sandbox* sandbox, const char* context_id) {
  return begin_with<CodeContext>(sandbox, context_id, [](const CodeContext& context) -> Result<CodeContext> {
    ORKESTR_CHECK(context.restart());
    return context;
  });
}

orkestr_operation* orkestr_code_context_remove(orkestr_sandbox* sandbox, const char* context_id) {
  return begin_with<void>(sandbox, context_id, [](const CodeContext& context) { return context.remove(); });
}
