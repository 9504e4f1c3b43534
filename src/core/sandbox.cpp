#include "orkestr/sandbox.hpp"

#include "base/try.hpp"
#include "core/collect.hpp"
#include "core/create.hpp"
#include "core/exec_stream.hpp"
#include "core/handles.hpp"
#include "core/submit.hpp"
#include "core/validate.hpp"
#include "orkestr/template.hpp"

namespace orkestr {
namespace {

using core::client_of;
using core::completed;

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

Operation<ExecResult> collect(const std::shared_ptr<SandboxImpl>& sandbox, Result<CommandRequest> request,
                              ExecOptions options) {
  if (auto here = sandbox->client->check_process(); !here) return completed<ExecResult>(here.error());
  if (!request) return completed<ExecResult>(request.error());
  if (auto good = core::check_waited(options); !good) return completed<ExecResult>(good.error());
  return core::collect_command(sandbox->session->exec(std::move(*request)), std::move(options));
}

}  // namespace

Operation<Sandbox> Sandbox::create_async(CreateOptions options, std::optional<Client> client) {
  auto impl = client_of(client);
  if (!impl) return completed<Sandbox>(impl.error());
  if (auto good = core::check_create(options, (*impl)->backend().name()); !good)
    return completed<Sandbox>(good.error());
  return core::submit<Sandbox>(
      [&](auto done) { return core::create_or_build(*impl, std::move(options), to_handle(*impl, std::move(done))); });
}

Operation<Sandbox> Sandbox::get_async(std::string_view sandbox_id, std::optional<Client> client) {
  auto impl = client_of(client);
  if (!impl) return completed<Sandbox>(impl.error());
  if (auto good = core::check_sandbox_id(sandbox_id); !good) return completed<Sandbox>(good.error());
  return core::submit<Sandbox>([&](Completion<Sandbox> done) {
    return core::look_on_worker<OpenedSandbox>(
        *impl,
        [impl = *impl, id = std::string(sandbox_id)](auto opened) {
          return impl->backend().get(id, std::move(opened));
        },
        to_handle(*impl, std::move(done)));
  });
}

Operation<std::vector<SandboxInfo>> Sandbox::list_async(ListOptions options, std::optional<Client> client) {
  using Value = std::vector<SandboxInfo>;
  auto impl = client_of(client);
  if (!impl) return completed<Value>(impl.error());
  if (auto good = core::check_list(options); !good) return completed<Value>(good.error());
  return core::submit<Value>([&](Completion<Value> done) {
    return core::look_on_worker<Value>(
        *impl,
        [impl = *impl, options = std::move(options)](auto found) {
          return impl->backend().list(options, std::move(found));
        },
        std::move(done));
  });
}

Result<Sandbox> Sandbox::create(CreateOptions options, std::optional<Client> client) {
  // Here a template is built in the caller's thread; only after that does anything wait for another one.
  const bool auto_build = std::exchange(options.auto_build, false);
  auto created = create_async(options, client).get();
  if (created || !auto_build || created.error().code() != ErrorCode::template_not_found) return created;
  TemplateBuildOptions build;
  build.on_progress = options.on_progress;
  if (auto built = Template::build(options.template_name, build, client); !built) {
    // A backend that builds none: what it said about the template itself tells more.
    if (built.error().code() == ErrorCode::not_supported) return created;
    return built.error();
  }
  return create_async(std::move(options), std::move(client)).get();
}
Result<Sandbox> Sandbox::get(std::string_view sandbox_id, std::optional<Client> client) {
  return get_async(sandbox_id, std::move(client)).get();
}
Result<std::vector<SandboxInfo>> Sandbox::list(ListOptions options, std::optional<Client> client) {
  return list_async(std::move(options), std::move(client)).get();
}

Operation<Sandbox> Sandbox::resume_async(std::string_view sandbox_id, ResumeOptions options,
                                         std::optional<Client> client) {
  auto impl = client_of(client);
  if (!impl) return completed<Sandbox>(impl.error());
  if (auto good = core::check_sandbox_id(sandbox_id); !good) return completed<Sandbox>(good.error());
  if (auto good = core::check_resume(options); !good) return completed<Sandbox>(good.error());
  return core::submit<Sandbox>([&](auto done) {
    return core::resume_with_retries(*impl, std::string(sandbox_id), options, to_handle(*impl, std::move(done)));
  });
}
Result<Sandbox> Sandbox::resume(std::string_view sandbox_id, ResumeOptions options, std::optional<Client> client) {
  return resume_async(sandbox_id, options, std::move(client)).get();
}

Operation<Limits> Sandbox::limits_async(std::optional<Client> client) {
  auto impl = client_of(client);
  if (!impl) return completed<Limits>(impl.error());
  return core::submit<Limits>([&](auto done) { return (*impl)->backend().limits(std::move(done)); });
}
Result<Limits> Sandbox::limits(std::optional<Client> client) { return limits_async(std::move(client)).get(); }

Operation<std::string> Sandbox::pause_async() const {
  if (auto here = impl_->client->check_process(); !here) return completed<std::string>(here.error());
  return core::submit<std::string>([&](Completion<std::string> done) {
    return impl_->session->pause([sandbox = impl_, done = std::move(done)](Result<SandboxInfo> info) {
      if (!info) return done(info.error());
      sandbox->set_info(std::move(*info));
      done(sandbox->id);
    });
  });
}
Result<std::string> Sandbox::pause() const { return pause_async().get(); }

Operation<void> Sandbox::set_timeout_async(std::chrono::seconds timeout) const {
  if (auto here = impl_->client->check_process(); !here) return completed<void>(here);
  if (auto good = core::check_timeout(timeout); !good) return completed<void>(good);
  return core::submit<void>(
      [&](auto done) { return impl_->session->set_timeout(timeout, into(impl_, std::move(done))); });
}
Result<void> Sandbox::set_timeout(std::chrono::seconds timeout) const { return set_timeout_async(timeout).get(); }

Operation<Metrics> Sandbox::metrics_async(std::optional<TimePoint> since) const {
  if (auto here = impl_->client->check_process(); !here) return completed<Metrics>(here.error());
  return core::submit<Metrics>([&](Completion<Metrics> done) {
    return core::look_on_worker<Metrics>(
        impl_->client,
        [sandbox = impl_, since](auto seen) { return sandbox->session->metrics(since, std::move(seen)); },
        std::move(done));
  });
}
Result<Metrics> Sandbox::metrics(std::optional<TimePoint> since) const { return metrics_async(since).get(); }

Operation<SnapshotInfo> Sandbox::snapshot_async(std::string_view name) const {
  if (auto here = impl_->client->check_process(); !here) return completed<SnapshotInfo>(here.error());
  return core::submit<SnapshotInfo>(
      [&](auto done) { return impl_->session->snapshot(std::string(name), std::move(done)); });
}
Result<SnapshotInfo> Sandbox::snapshot(std::string_view name) const { return snapshot_async(name).get(); }

Operation<std::string> Sandbox::get_host_async(int port) const {
  if (auto here = impl_->client->check_process(); !here) return completed<std::string>(here.error());
  if (auto good = core::check_port(port); !good) return completed<std::string>(good.error());
  return core::submit<std::string>([&](auto done) { return impl_->session->host(port, std::move(done)); });
}
Result<std::string> Sandbox::get_host(int port) const { return get_host_async(port).get(); }

std::string Sandbox::id() const { return impl_->id; }
SandboxInfo Sandbox::info() const { return impl_->info(); }
Result<void> Sandbox::refresh() const { return refresh_async().get(); }

Operation<void> Sandbox::refresh_async() const {
  if (auto here = impl_->client->check_process(); !here) return completed<void>(here);
  return core::submit<void>([&](Completion<void> done) {
    return core::look_on_worker<SandboxInfo>(
        impl_->client, [sandbox = impl_](auto seen) { return sandbox->session->inspect(std::move(seen)); },
        into(impl_, std::move(done)));
  });
}

Operation<ExecResult> Sandbox::exec_async(std::string_view command, ExecOptions options) const {
  auto request = core::shell_command(command, options);
  return collect(impl_, std::move(request), std::move(options));
}

Operation<ExecResult> Sandbox::run_async(std::vector<std::string> argv, ExecOptions options) const {
  auto request = core::plain_command(std::move(argv), options);
  return collect(impl_, std::move(request), std::move(options));
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
  request.streamed = true;
  return ExecStream(
      std::make_unique<ExecStream::Impl>(impl_, impl_->session->exec(std::move(request)), std::move(options)));
}

Operation<std::vector<Event>> Sandbox::events_async(EventOptions options) const {
  using Value = std::vector<Event>;
  if (auto here = impl_->client->check_process(); !here) return completed<Value>(here.error());
  if (options.limit == 0) {
    return completed<Value>(Error(ErrorCode::invalid_argument, "limit is 0; it must be at least 1"));
  }
  return core::submit<Value>([&](Completion<Value> done) {
    // (Its log of up to 16 MiB is read in one piece.)
    return core::look_on_worker<Value>(
        impl_->client,
        [sandbox = impl_, options](auto found) { return sandbox->session->events(options, std::move(found)); },
        std::move(done));
  });
}
Result<std::vector<Event>> Sandbox::events(EventOptions options) const { return events_async(options).get(); }

Result<ExecStream> Sandbox::run_stream(std::vector<std::string> argv, ExecOptions options) const {
  ORKESTR_CHECK(impl_->client->check_process());
  ORKESTR_TRY(auto request, core::plain_command(std::move(argv), options));
  request.streamed = true;
  return ExecStream(
      std::make_unique<ExecStream::Impl>(impl_, impl_->session->exec(std::move(request)), std::move(options)));
}

Operation<void> Sandbox::terminate_async() const {
  if (auto here = impl_->client->check_process(); !here) return completed<void>(here);
  return core::submit<void>([&](auto done) { return impl_->session->terminate(into(impl_, std::move(done))); });
}
Result<void> Sandbox::terminate() const { return terminate_async().get(); }

}  // namespace orkestr
