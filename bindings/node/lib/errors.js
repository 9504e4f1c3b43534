"use strict";
// Everything this package throws. Each error has a stable `code` to program against and a message for a person: what was
// tried, what happened, what to do.

class OrkestrError extends Error {
  static code = "internal";
  static statusCode = null;

  constructor(message = "", about = {}) {
    super(message, about.cause === undefined ? undefined : { cause: about.cause });
    describe(this, new.target, about);
  }
  get name() {
    return this.constructor.name;
  }
  // An InvalidArgumentType is a TypeError for JavaScript and an InvalidArgument for us.
  static [Symbol.hasInstance](value) {
    if (Function.prototype[Symbol.hasInstance].call(this, value)) return true;
    if (this !== OrkestrError && this !== InvalidArgument) return false;
    return [InvalidArgumentType, InvalidArgumentRange].some((one) => Function.prototype[Symbol.hasInstance].call(one, value));
  }
}

function describe(error, type, about) {
  error.code = about.code ?? type.code;
  // Published statuses belong to the class; what a service answered is the error's own.
  if (about.statusCode !== undefined && about.statusCode !== null) {
    Object.defineProperty(error, "statusCode", { value: about.statusCode, enumerable: true, configurable: true, writable: true });
  }
  error.detail = about.detail ?? null;
  error.requestId = about.requestId ?? null;
}

// What errors of a command carry: its output until then, as text and as bytes.
class OutputSoFar extends OrkestrError {
  constructor(message, about = {}) {
    super(message, about);
    hide(this, "stdoutBytes", toBytes(about.stdout ?? about.stdoutBytes));
    hide(this, "stderrBytes", toBytes(about.stderr ?? about.stderrBytes));
  }
  get stdout() {
    return this.stdoutBytes.toString("utf8");
  }
  get stderr() {
    return this.stderrBytes.toString("utf8");
  }
}
const toBytes = (value) => (Buffer.isBuffer(value) ? value : Buffer.from(value ?? ""));
// Not shown when an error is printed: it may be 64 MiB.
const hide = (object, name, value) =>
  Object.defineProperty(object, name, { value, writable: true, configurable: true, enumerable: false });

class Retryable extends OrkestrError {
  constructor(message, about = {}) {
    super(message, about);
    this.retryAfter = about.retryAfter ?? null;
  }
}

class InvalidArgument extends OrkestrError {
  static code = "invalid_argument";
}
class InvalidArgumentType extends TypeError {
  static code = "invalid_argument";
  static statusCode = null;
  constructor(message, about = {}) {
    super(message, about.cause === undefined ? undefined : { cause: about.cause });
    describe(this, InvalidArgumentType, about);
  }
  get name() {
    return "InvalidArgument";
  }
}
class InvalidArgumentRange extends RangeError {
  static code = "invalid_argument";
  static statusCode = null;
  constructor(message, about = {}) {
    super(message, about.cause === undefined ? undefined : { cause: about.cause });
    describe(this, InvalidArgumentRange, about);
  }
  get name() {
    return "InvalidArgument";
  }
}

class AuthError extends OrkestrError {
  static code = "unauthorized";
  static statusCode = 401;
}
class RateLimitError extends Retryable {
  static code = "rate_limited";
  static statusCode = 429;
}
class PlanLimitError extends OrkestrError {
  static code = "plan_limit";
}
class SnapshotCapReached extends PlanLimitError {
  static code = "snapshot_cap_reached";
}
class FleetFull extends Retryable {
  static code = "fleet_full_retry";
  static statusCode = 503;
}
class SandboxNotFound extends OrkestrError {
  static code = "not_found";
  static statusCode = 404;
}
class SandboxNotReady extends OrkestrError {
  static code = "not_ready";
  static statusCode = 409;
}
class VolumeInUse extends SandboxNotReady {
  static code = "volume_in_use";
}
class ExecTimeout extends OutputSoFar {
  static code = "exec_timeout";
}
class ExecKilled extends OutputSoFar {
  static code = "exec_killed";
  constructor(message, about = {}) {
    super(message, about);
    this.signal = about.signal ?? null;
    this.oom = about.oom ?? false;
  }
}
class NetworkPolicyError extends OrkestrError {
  static code = "network_policy_blocked";
  constructor(message, about = {}) {
    super(message, about);
    this.host = about.host ?? "";
    this.port = about.port ?? 0;
    this.rule = about.rule ?? "";
  }
}
class InterpreterUnavailable extends OrkestrError {
  static code = "interpreter_unavailable";
}
class FileNotFound extends SandboxNotFound {
  static code = "file_not_found";
}
class NotPermitted extends OrkestrError {
  static code = "not_permitted";
}
class IsADirectory extends OrkestrError {
  static code = "is_a_directory";
}
class NotADirectory extends OrkestrError {
  static code = "not_a_directory";
}
class FileExists extends OrkestrError {
  static code = "file_exists";
}
class TemplateNotFound extends OrkestrError {
  static code = "template_not_found";
}
class TemplateBuildError extends OrkestrError {
  static code = "template_build_failed";
  constructor(message, about = {}) {
    super(message, about);
    this.step = about.step ?? about.stage ?? "";
    this.output = about.output ?? about.consoleTail ?? "";
  }
}
class SnapshotIncompatible extends OrkestrError {
  static code = "snapshot_incompatible";
}
class NotSupported extends OrkestrError {
  static code = "not_supported";
}
class VmError extends OrkestrError {
  static code = "vm_failed";
  constructor(message, about = {}) {
    super(message, about);
    this.stage = about.stage ?? "";
    this.consoleTail = about.consoleTail ?? "";
  }
}
class ConnectionError extends OrkestrError {
  static code = "connection";
}
class APIError extends OrkestrError {
  static code = "api";
}
class Cancelled extends OrkestrError {
  static code = "cancelled";
  #name = "Cancelled";
  // As every aborted operation of Node is called, so that `error.name === "AbortError"` holds here as well.
  static bySignal(signal) {
    const error = new Cancelled("the operation was aborted by its signal", { cause: signal.reason });
    error.#name = "AbortError";
    return error;
  }
  get name() {
    return this.#name;
  }
}

const classes = {
  OrkestrError, InvalidArgument, AuthError, RateLimitError, PlanLimitError, SnapshotCapReached, FleetFull, SandboxNotFound,
  SandboxNotReady, VolumeInUse, ExecTimeout, ExecKilled, NetworkPolicyError, InterpreterUnavailable, FileNotFound, NotPermitted,
  IsADirectory, NotADirectory, FileExists, TemplateNotFound, TemplateBuildError, SnapshotIncompatible, NotSupported, VmError,
  ConnectionError, APIError, Cancelled,
};
const byCode = new Map(Object.values(classes).map((one) => [one.code, one]));
byCode.set("invalid_argument", InvalidArgumentRange); // types are checked before anything native is asked
byCode.set("forbidden", AuthError);
for (const code of ["usage_exhausted", "trial_exhausted", "lifetime_cap_reached", "session_cap_reached"]) {
  byCode.set(code, PlanLimitError);
}

// The exception for what the native module threw or rejected with: a record of the library's error; anything else stays. An
// unknown code stays, in an OrkestrError.
function fromNative(thrown) {
  if (thrown instanceof Error || typeof thrown?.code !== "string") return thrown;
  const type = byCode.get(thrown.code) ?? OrkestrError;
  return new type(thrown.message, { ...thrown, statusCode: thrown.statusCode || undefined });
}

// (What cannot be loaded may be the very module that has the table.)
function hintOf(code) {
  try {
    return require("./native.js").core.errorHint(String(code));
  } catch {
    return "";
  }
}

// What can be done about errors of this code, the same sentence in every language.
for (const one of [OrkestrError, InvalidArgumentType, InvalidArgumentRange]) {
  Object.defineProperties(one.prototype, {
    hint: { configurable: true, get() { return hintOf(this.code); } },
    statusCode: { configurable: true, get() { return this.constructor.statusCode; } },
  });
}

module.exports = { ...classes, InvalidArgumentType, InvalidArgumentRange, fromNative };
