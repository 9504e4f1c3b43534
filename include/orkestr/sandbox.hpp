// A sandbox: a throwaway Linux computer with its own kernel.
//
//   auto sandbox = orkestr::Sandbox::create({"python-3.12-bare"}).value();
//   auto result = sandbox.exec("python3 -c 'print(6 * 7)'").value();   // result.stdout_data == "42\n"
//   sandbox.terminate().value();
//
// A Sandbox is a handle: copying it copies nothing, dropping it ends nothing. Only terminate() and the timeout end a
// sandbox; it outlives the process that made it, and any process of the same user can get() it by id.
//
// Thread safety: all members may be called from any thread; calls run in parallel.
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <orkestr/client.hpp>
#include <orkestr/code.hpp>
#include <orkestr/command.hpp>
#include <orkestr/events.hpp>
#include <orkestr/files.hpp>
#include <orkestr/limits.hpp>
#include <orkestr/metrics.hpp>
#include <orkestr/operation.hpp>
#include <orkestr/options.hpp>
#include <orkestr/process.hpp>
#include <orkestr/snapshot.hpp>
#include <string>
#include <string_view>
#include <vector>

namespace orkestr {

// What is known about a sandbox at one moment.
struct SandboxInfo {
  std::string id;  // "sbx_" + ULID
  Status status = Status::starting;
  std::string template_name;
  Network network = Network::off;
  double cpu = 1;          // what it may use; vCPUs are this, rounded up
  std::string cpu_reason;  // local: why `cpu` is more than was asked for; empty when it is not
  int memory_mb = 0;
  int disk_mb = 0;  // local
  std::string region;
  TimePoint created_at;
  TimePoint expires_at;
  std::map<std::string, std::string> metadata;
  OnTimeout on_timeout = OnTimeout::kill;
  bool auto_resume = false;
  std::optional<TimePoint> paused_expires_at;  // of a paused one that is not kept for ever
  bool preview_auth = false;
  std::string preview_auth_token;
  std::string volume;
  std::string node_id;
  std::string backend;             // "local" or "remote"
  std::string end_reason;          // why it ended; empty while it lives
  std::string accelerator;         // local: "kvm" or "tcg"
  std::string accelerator_reason;  // why that one
  std::string isolation;           // local: "hardware" or "emulated"; QEMU does not call emulation a security boundary
  std::string jail;                // local: what contains QEMU itself, and what does not and why
};

class ORKESTR_API Sandbox {
 public:
  // Starts a sandbox and returns when it runs and answers; builds its template first when that was never done
  // (CreateOptions::auto_build). Errors: invalid_argument, template_not_found, template_build_failed, not_supported,
  // vm_failed, fleet_full_retry.
  static Result<Sandbox> create(CreateOptions options, std::optional<Client> client = {});
  // not_found for an unknown id. Ended sandboxes are found too, with their final status, for 24 hours.
  static Result<Sandbox> get(std::string_view sandbox_id, std::optional<Client> client = {});
  // Newest first.
  static Result<std::vector<SandboxInfo>> list(ListOptions options = {}, std::optional<Client> client = {});
  // Brings a paused sandbox back: memory, files and running processes as they were, with a fresh timeout. Locally one
  // that runs is returned as it is, and callers that resume one id at once get the same sandbox; a service answers
  // not_ready for one that runs. Errors: not_found, not_ready (it has ended), snapshot_incompatible (its files are
  // kept), vm_failed, fleet_full_retry.
  static Result<Sandbox> resume(std::string_view sandbox_id, ResumeOptions options = {},
                                std::optional<Client> client = {});
  // What this account, or this machine, allows.
  static Result<Limits> limits(std::optional<Client> client = {});

  static Operation<Sandbox> create_async(CreateOptions options, std::optional<Client> client = {});
  static Operation<Sandbox> get_async(std::string_view sandbox_id, std::optional<Client> client = {});
  static Operation<std::vector<SandboxInfo>> list_async(ListOptions options = {}, std::optional<Client> client = {});
  static Operation<Sandbox> resume_async(std::string_view sandbox_id, ResumeOptions options = {},
                                         std::optional<Client> client = {});
  static Operation<Limits> limits_async(std::optional<Client> client = {});

  std::string id() const;
  // As of create, get or the last refresh, pause, set_timeout or terminate. That an operation resumed the sandbox, or
  // found that it has ended, shows after refresh().
  SandboxInfo info() const;
  Result<void> refresh() const;
  Operation<void> refresh_async() const;

  // Runs a shell command line (/bin/bash -c) and waits for its end. Errors: exec_timeout and exec_killed, both with the
  // output so far; not_ready when the sandbox does not run.
  Result<ExecResult> exec(std::string_view command, ExecOptions options = {}) const;
  // The same without a shell: argv[0] is looked up on the guest's PATH.
  Result<ExecResult> run(std::vector<std::string> argv, ExecOptions options = {}) const;
  Operation<ExecResult> exec_async(std::string_view command, ExecOptions options = {}) const;
  Operation<ExecResult> run_async(std::vector<std::string> argv, ExecOptions options = {}) const;
  // Output as it comes, input as it is written, a terminal on request. run_stream() is without a shell, as run() is.
  Result<ExecStream> exec_stream(std::string_view command, ExecOptions options = {}) const;
  Result<ExecStream> run_stream(std::vector<std::string> argv, ExecOptions options = {}) const;

  // Starts a shell command line that outlives this call, its caller and pause; of the options `cwd`, `env` and `user`
  // count. It has no timeout: ExecOptions::timeout does not apply, here as on a service. Errors: not_ready.
  Result<BackgroundCommand> start(std::string_view command, ExecOptions options = {}) const;
  Operation<BackgroundCommand> start_async(std::string_view command, ExecOptions options = {}) const;
  // Every background command of this sandbox, oldest first, ended ones included.
  Result<std::vector<BackgroundCommand>> commands() const;
  Operation<std::vector<BackgroundCommand>> commands_async() const;
  // not_found for an unknown id.
  Result<BackgroundCommand> command(std::string_view command_id) const;

  // Runs code in an interpreter that stays (see orkestr/code.hpp). What the code raises, and a run that was interrupted
  // at its timeout, are results. Errors: interpreter_unavailable, not_found for an unknown context, not_ready.
  Result<CodeExecution> run_code(std::string_view code, CodeOptions options = {}) const;
  Operation<CodeExecution> run_code_async(std::string_view code, CodeOptions options = {}) const;
  // The same with output and results as they come.
  Result<CodeStream> run_code_stream(std::string_view code, CodeOptions options = {}) const;
  // An interpreter of its own, in `cwd` (empty: the service's choice).
  Result<CodeContext> create_code_context(std::string_view cwd = {}) const;
  Operation<CodeContext> create_code_context_async(std::string_view cwd = {}) const;
  Result<std::vector<CodeContext>> code_contexts() const;
  Operation<std::vector<CodeContext>> code_contexts_async() const;

  Files files() const { return Files(impl_); }

  // What happened to the sandbox and in it, oldest first; also of an ended one, as long as its record is kept. Poll
  // with `since` to follow. Errors: not_found, invalid_argument for a limit of 0.
  Result<std::vector<Event>> events(EventOptions options = {}) const;
  Operation<std::vector<Event>> events_async(EventOptions options = {}) const;

  // Freezes the sandbox and everything in it to disk, durably, and ends its machine; resume() goes on from there.
  // Returns the id. Its timeout stands still meanwhile. Streams that are open end with not_ready; their commands go on
  // after resume and are then among commands(). Errors: not_ready, snapshot_cap_reached; what goes wrong while saving
  // (a full disk) leaves the sandbox running.
  Result<std::string> pause() const;
  Operation<std::string> pause_async() const;
  // The sandbox now has this long from now; 10 s to 24 h locally. Errors: not_ready when it does not run.
  Result<void> set_timeout(std::chrono::seconds timeout) const;
  Operation<void> set_timeout_async(std::chrono::seconds timeout) const;
  // Samples of this moment or later, at most those of the last minute.
  Result<Metrics> metrics(std::optional<TimePoint> since = {}) const;
  Operation<Metrics> metrics_async(std::optional<TimePoint> since = {}) const;
  // A named snapshot that others can start from (CreateOptions::snapshot); the sandbox goes on. Remote; locally with a
  // later version.
  Result<SnapshotInfo> snapshot(std::string_view name = {}) const;
  Operation<SnapshotInfo> snapshot_async(std::string_view name = {}) const;
  // The host name under which a port served in the sandbox can be reached. Remote; locally not_supported.
  Result<std::string> get_host(int port) const;
  Operation<std::string> get_host_async(int port) const;

  // Ends the sandbox and everything in it. Legal in every state, idempotent. When it returns no process of it is left.
  Result<void> terminate() const;
  Operation<void> terminate_async() const;

  explicit Sandbox(std::shared_ptr<SandboxImpl> impl) : impl_(std::move(impl)) {}

 private:
  std::shared_ptr<SandboxImpl> impl_;
};

}  // namespace orkestr
