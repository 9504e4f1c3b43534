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
#include <orkestr/events.hpp>
#include <orkestr/files.hpp>
#include <orkestr/operation.hpp>
#include <orkestr/options.hpp>
#include <orkestr/process.hpp>
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
  // Not in this version: not_supported.
  static Result<Sandbox> resume(std::string_view sandbox_id, std::optional<Client> client = {});

  static Operation<Sandbox> create_async(CreateOptions options, std::optional<Client> client = {});
  static Operation<Sandbox> get_async(std::string_view sandbox_id, std::optional<Client> client = {});
  static Operation<std::vector<SandboxInfo>> list_async(ListOptions options = {}, std::optional<Client> client = {});

  std::string id() const;
  // As of create, get or the last refresh or terminate.
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

  Files files() const { return Files(impl_); }

  // What happened to the sandbox and in it, oldest first; also of an ended one, as long as its record is kept. Poll
  // with `since` to follow. Errors: not_found, invalid_argument for a limit of 0.
  Result<std::vector<Event>> events(EventOptions options = {}) const;
  Operation<std::vector<Event>> events_async(EventOptions options = {}) const;

  // Not in this version: not_supported.
  Result<std::string> pause() const;

  // Ends the sandbox and everything in it. Legal in every state, idempotent. When it returns no process of it is left.
  Result<void> terminate() const;
  Operation<void> terminate_async() const;

  explicit Sandbox(std::shared_ptr<SandboxImpl> impl) : impl_(std::move(impl)) {}

 private:
  std::shared_ptr<SandboxImpl> impl_;
};

}  // namespace orkestr
