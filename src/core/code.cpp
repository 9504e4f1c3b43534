#include "orkestr/code.hpp"

#include <algorithm>
#include <mutex>

#include "base/try.hpp"
#include "core/handles.hpp"
#include "core/pull.hpp"
#include "core/submit.hpp"
#include "core/validate.hpp"

namespace orkestr {

using core::completed;

std::string_view to_string(CodeEvent::Kind value) noexcept {
  switch (value) {
    case CodeEvent::Kind::output:
      return "stream";
    case CodeEvent::Kind::result:
      return "result";
    case CodeEvent::Kind::error:
      return "error";
    case CodeEvent::Kind::done:
      break;
  }
  return "done";
}

std::optional<std::string> CodeExecution::text() const {
  const auto last =
      std::find_if(results.rbegin(), results.rend(), [](const CodeResult& one) { return one.text.has_value(); });
  return last == results.rend() ? std::nullopt : last->text;
}

// --- CodeStream

struct CodeStream::Impl {
  Impl(std::shared_ptr<SandboxImpl> sandbox, std::unique_ptr<Stream> stream)
      : pull(std::move(sandbox), std::move(stream)) {}
  core::Pull pull;
  bool over = false;
};

CodeStream::CodeStream(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
CodeStream::~CodeStream() = default;
CodeStream::CodeStream(CodeStream&&) noexcept = default;
CodeStream& CodeStream::operator=(CodeStream&&) noexcept = default;

Result<std::optional<CodeEvent>> CodeStream::next(std::optional<std::chrono::milliseconds> timeout) {
  ORKESTR_CHECK(impl_->pull.check_process());
  if (impl_->over) return std::optional<CodeEvent>();
  auto item = impl_->pull.next(timeout ? base::Deadline::after(*timeout) : base::Deadline::never());
  if (!item) return std::optional<CodeEvent>(CodeEvent{});
  if (!*item) {
    impl_->over = true;
    return item->error();
  }
  if ((*item)->kind == StreamItem::Kind::code) return std::optional<CodeEvent>(std::move(*(*item)->code));
  impl_->over = true;
  return std::optional<CodeEvent>();
}

int CodeStream::fd() { return impl_->pull.fd(); }

void CodeStream::close() {
  if (impl_->pull.forked()) return;
  impl_->over = true;
  impl_->pull.close();
}

// --- CodeContext

struct CodeContext::State {
  State(std::shared_ptr<SandboxImpl> its_sandbox, CodeContextInfo its_info)
      : sandbox(std::move(its_sandbox)), id(its_info.id), info(std::move(its_info)) {}
  const std::shared_ptr<SandboxImpl> sandbox;
  const std::string id;
  std::mutex mutex;
  CodeContextInfo info;
};

CodeContext::CodeContext(std::shared_ptr<SandboxImpl> sandbox, CodeContextInfo info)
    : state_(std::make_shared<State>(std::move(sandbox), std::move(info))) {}

std::string CodeContext::id() const { return state_->id; }

CodeContextInfo CodeContext::info() const {
  std::lock_guard lock(state_->mutex);
  return state_->info;
}

Operation<CodeExecution> CodeContext::run_code_async(std::string_view code, CodeOptions options) const {
  options.context_id = state_->id;
  return Sandbox(state_->sandbox).run_code_async(code, std::move(options));
}
Result<CodeExecution> CodeContext::run_code(std::string_view code, CodeOptions options) const {
  return run_code_async(code, std::move(options)).get();
}

Operation<void> CodeContext::restart_async() const {
  const auto& sandbox = state_->sandbox;
  if (auto here = sandbox->client->check_process(); !here) return completed<void>(here);
  return core::submit<void>([&](Completion<void> done) {
    return sandbox->session->restart_context(state_->id,
                                             [state = state_, done = std::move(done)](const Result<void>& restarted) {
                                               if (restarted) {
                                                 std::lock_guard lock(state->mutex);
                                                 state->info.alive = true;
                                               }
                                               done(restarted);
                                             });
  });
}
Result<void> CodeContext::restart() const { return restart_async().get(); }

Operation<void> CodeContext::remove_async() const {
  const auto& sandbox = state_->sandbox;
  if (auto here = sandbox->client->check_process(); !here) return completed<void>(here);
  return core::submit<void>([&](auto done) { return sandbox->session->remove_context(state_->id, std::move(done)); });
}
Result<void> CodeContext::remove() const { return remove_async().get(); }

// --- Sandbox

Operation<CodeExecution> Sandbox::run_code_async(std::string_view code, CodeOptions options) const {
  if (auto here = impl_->client->check_process(); !here) return completed<CodeExecution>(here.error());
  if (auto good = core::check_code(code, options); !good) return completed<CodeExecution>(good.error());
  return core::submit<CodeExecution>(
      [&](auto done) { return impl_->session->run_code(std::string(code), std::move(options), std::move(done)); });
}
Result<CodeExecution> Sandbox::run_code(std::string_view code, CodeOptions options) const {
  return run_code_async(code, std::move(options)).get();
}

Result<CodeStream> Sandbox::run_code_stream(std::string_view code, CodeOptions options) const {
  ORKESTR_CHECK(impl_->client->check_process());
  ORKESTR_CHECK(core::check_code(code, options));
  ORKESTR_TRY(auto stream, impl_->session->run_code_stream(std::string(code), std::move(options)));
  return CodeStream(std::make_unique<CodeStream::Impl>(impl_, std::move(stream)));
}

Operation<CodeContext> Sandbox::create_code_context_async(std::string_view cwd) const {
  if (auto here = impl_->client->check_process(); !here) return completed<CodeContext>(here.error());
  auto path = cwd.empty() ? Result<std::string>(std::string()) : core::check_path("cwd", cwd);
  if (!path) return completed<CodeContext>(path.error());
  return core::submit<CodeContext>([&](Completion<CodeContext> done) {
    return impl_->session->create_context(std::move(*path),
                                          [sandbox = impl_, done = std::move(done)](Result<CodeContextInfo> info) {
                                            if (!info) return done(info.error());
                                            done(CodeContext(sandbox, std::move(*info)));
                                          });
  });
}
Result<CodeContext> Sandbox::create_code_context(std::string_view cwd) const {
  return create_code_context_async(cwd).get();
}

Operation<std::vector<CodeContext>> Sandbox::code_contexts_async() const {
  using Value = std::vector<CodeContext>;
  if (auto here = impl_->client->check_process(); !here) return completed<Value>(here.error());
  return core::submit<Value>([&](Completion<Value> done) {
    return impl_->session->list_contexts(
        [sandbox = impl_, done = std::move(done)](Result<std::vector<CodeContextInfo>> infos) {
          if (!infos) return done(infos.error());
          Value all;
          for (CodeContextInfo& info : *infos) all.emplace_back(sandbox, std::move(info));
          done(std::move(all));
        });
  });
}
Result<std::vector<CodeContext>> Sandbox::code_contexts() const { return code_contexts_async().get(); }

}  // namespace orkestr
