#include "orkestr/sandbox.hpp"

#include "base/try.hpp"
#include "core/collect.hpp"
#include "core/create.hpp"
#include "core/exec_stream.hpp"
#include "core/handles.hpp"
#include "core/submit.hpp"
#include "core/validate.hpp"

namespace orkestr {
namespace {

using core::completed;

// The client of a call, in this process.
Result<std::shared_ptr<ClientImpl>> client_of(const std::optional<Client>& given) {
  if (given) {
    ORKESTR_CHECK(given->impl()->check_process());
    return given->impl();
  }
  ORKESTR_TRY(auto chosen, get_default_client());
  ORKESTR_CHECK(chosen.impl()->check_process());
  return chosen.impl();
}

Completion<OpenedSandbox> to_handle(std::shared_ptr<ClientImpl> client, Completion<Sandbox> done) {
  return [client = std::move(client), done = std::move(done)](Result<OpenedSandbox> opened) {
    if (!opened) return done(opened.error());
    done(Sandbox(std::make_shared<SandboxImpl>(client, std::move(opened->session), std::move(opened->info))));
  };
}

// Stores what was learned in the handle.
Completion<SandboxInfo> into(std::shared_ptr<SandboxImpl> sandbox, Completion<void> done) {
  return [sandbox = std::move(sandbox), done = std::move(done)](Result<SandboxInfo> info) {
    if (!info) return done(info.error());
    sandbox->set_info(std::move(*info));
    done({});
  };
}

Operation<ExecResult> start(const std::shared_ptr<SandboxImpl>& sandbox, Result<CommandRequest> request,
                            ExecOptions options) {
  if (auto here = sandbox->client->check_process(); !here) return completed<ExecResult>(here.error());
  if (!request) return completed<ExecResult>(request.error());
  return core::collect_command(sandbox->session->exec(std::move(*request)), std::move(options));
}

}  // namespace

Operation<Sandbox> Sandbox::create_async(CreateOptions options, std::optional<Client> client) {
  auto impl = client_of(client);
  if (!impl) return completed<Sandbox>(impl.error());
  if (auto good = core::check_create(options, (*impl)->backend().name()); !good)
    return completed<Sandbox>(good.error());
  return core::submit<Sandbox>([&](auto done) {
    return core::create_with_retries(*impl, std::move(options), to_handle(*impl, std::move(done)));
  });
}

Operation<Sandbox> Sandbox::get_async(std::string_view sandbox_id, std::optional<Client> client) {
  auto impl = client_of(client);
  if (!impl) return completed<Sandbox>(impl.error());
  if (auto good = core::check_sandbox_id(sandbox_id); !good) return completed<Sandbox>(good.error());
  return core::submit<Sandbox>(
      [&](auto done) { return (*impl)->backend().get(std::string(sandbox_id), to_handle(*impl, std::move(done))); });
}

Operation<std::vector<SandboxInfo>> Sandbox::list_async(ListOptions options, std::optional<Client> client) {
  using Value = std::vector<SandboxInfo>;
  auto impl = client_of(client);
  if (!impl) return completed<Value>(impl.error());
  if (auto good = core::check_list(options); !good) return completed<Value>(good.error());
  return core::submit<Value>([&](auto done) { return (*impl)->backend().list(std::move(options), std::move(done)); });
}

Result<Sandbox> Sandbox::create(CreateOptions options, std::optional<Client> client) {
  return create_async(std::move(options), std::move(client)).get();
}
Result<Sandbox> Sandbox::get(std::string_view sandbox_id, std::optional<Client> client) {
  return get_async(sandbox_id, std::move(client)).get();
}
Result<std::vector<SandboxInfo>> Sandbox::list(ListOptions options, std::optional<Client> client) {
  return list_async(std::move(options), std::move(client)).get();
}

Result<Sandbox> Sandbox::resume(std::string_view, std::optional<Client> client) {
  ORKESTR_TRY(const auto impl, client_of(client));
  return core::not_there_yet("resume", impl->backend().name());
}

Result<std::string> Sandbox::pause() const {
  ORKESTR_CHECK(impl_->client->check_process());
  return core::not_there_yet("pause", impl_->client->backend().name());
}

std::string Sandbox::id() const { return impl_->id; }
SandboxInfo Sandbox::info() const { return impl_->info(); }
Result<void> Sandbox::refresh() const { return refresh_async().get(); }

Operation<void> Sandbox::refresh_async() const {
  if (auto here = impl_->client->check_process(); !here) return completed<void>(here);
  return core::submit<void>([&](auto done) { return impl_->session->inspect(into(impl_, std::move(done))); });
}

Operation<ExecResult> Sandbox::exec_async(std::string_view command, ExecOptions options) const {
  auto request = core::shell_command(command, options);
  return start(impl_, std::move(request), std::move(options));
}

Operation<ExecResult> Sandbox::run_async(std::vector<std::string> argv, ExecOptions options) const {
  auto request = core::plain_command(std::move(argv), options);
  return start(impl_, std::move(request), std::move(options));
}

Result<ExecResult> Sandbox::exec(std::string_view command, ExecOptions options) const {
  return exec_async(command, std::move(options)).get();
}
Result<ExecResult> Sandbox::run(std::vector<std::string> argv, ExecOptions options) const {
  return run_async(std::move(argv), std::move(options)).get();
}

Result<ExecStream> Sandbox::exec_stream(std::string_view command, ExecOptions options) const {
  ORKESTR_CHECK(impl_->client->check_process());
  ORKESTR_TRY(auto request, core::shell_command(command, options));
  return ExecStream(
      std::make_unique<ExecStream::Impl>(impl_, impl_->session->exec(std::move(request)), std::move(options)));
}

Operation<void> Sandbox::terminate_async() const {
  if (auto here = impl_->client->check_process(); !here) return completed<void>(here);
  return core::submit<void>([&](auto done) { return impl_->session->terminate(into(impl_, std::move(done))); });
}
Result<void> Sandbox::terminate() const { return terminate_async().get(); }

}  // namespace orkestr
