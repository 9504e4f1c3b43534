"""Everything this package raises.

Every class derives from :class:`OrkestrError` and, where Python has an exception of the same meaning, from that one
too: ``except FileNotFoundError`` catches a file that is missing in a sandbox. Each error has a stable ``code`` to
program against and a message for a person: what was tried, what happened, what to do.
"""

from __future__ import annotations

import builtins
import errno as _errno
from typing import Any, Mapping


class OrkestrError(Exception):
    """The base of every error of this package.

    Attributes:
        message: what was tried, what happened, what to do.
        code: the stable name of the error, ``"exec_timeout"`` for example.
        hint: what can be done about errors of this code, a sentence.
        status_code: the HTTP status the service publishes for it; None where there is none.
        detail: what the service said, unchanged; None locally.
        request_id: the service's name of the request; None locally.
    """

    code: str = "internal"
    status_code: int | None = None

    def __init__(
        self,
        message: str = "",
        *,
        status_code: int | None = None,
        detail: Any = None,
        request_id: str | None = None,
        code: str | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.detail = detail
        self.request_id = request_id
        if status_code is not None:
            self.status_code = status_code
        if code is not None:
            self.code = code

    @property
    def hint(self) -> str:
        from ._core import error_hint  # (which needs this module first)

        return error_hint(self.code)

    def __str__(self) -> str:
        return self.message

    # OSError has a __reduce__ of its own, and keyword-only arguments do not survive the one of Exception.
    def __reduce__(self) -> tuple[Any, ...]:
        return _rebuild, (type(self), self.args, dict(self.__dict__))


def _rebuild(cls: type[OrkestrError], args: tuple[Any, ...], state: dict[str, Any]) -> OrkestrError:
    error = cls.__new__(cls)
    error.args = args
    error.__dict__.update(state)
    return error


class _OutputSoFar(OrkestrError):
    """What errors of a command carry: its output until then, as text and as bytes."""

    def __init__(
        self, message: str = "", *, stdout: str | bytes = b"", stderr: str | bytes = b"", **about: Any
    ) -> None:
        super().__init__(message, **about)
        self.stdout_bytes = stdout.encode() if isinstance(stdout, str) else stdout
        self.stderr_bytes = stderr.encode() if isinstance(stderr, str) else stderr

    @property
    def stdout(self) -> str:
        return self.stdout_bytes.decode("utf-8", "replace")

    @property
    def stderr(self) -> str:
        return self.stderr_bytes.decode("utf-8", "replace")


class _Retryable(OrkestrError):
    """``retry_after``: seconds until another attempt makes sense; None when unknown."""

    def __init__(self, message: str = "", *, retry_after: float | None = None, **about: Any) -> None:
        super().__init__(message, **about)
        self.retry_after = retry_after


class InvalidArgument(OrkestrError, ValueError):
    """Refused before anything started; the message names the argument, its value and what is allowed."""

    code = "invalid_argument"


class InvalidArgumentType(InvalidArgument, TypeError):
    """The same for a value of the wrong type, so that ``except TypeError`` works as well."""


class AuthError(OrkestrError):
    """The API key is missing, invalid or expired (``unauthorized``), or may not do this (``forbidden``)."""

    code = "unauthorized"
    status_code = 401


class RateLimitError(_Retryable):
    """Too many requests."""

    code = "rate_limited"
    status_code = 429


class PlanLimitError(OrkestrError):
    """Size, concurrency or budget of the account's plan."""

    code = "plan_limit"


class SnapshotCapReached(PlanLimitError):
    """A pause would keep more snapshots than the plan allows."""

    code = "snapshot_cap_reached"


class FleetFull(_Retryable):
    """The host or the fleet has no memory for another sandbox; ``create`` has retried already."""

    code = "fleet_full_retry"
    status_code = 503


class SandboxNotFound(OrkestrError):
    """No sandbox of this id."""

    code = "not_found"
    status_code = 404


class SandboxNotReady(OrkestrError):
    """The sandbox is not running (paused, ended), or the handle is closed or belongs to another process."""

    code = "not_ready"
    status_code = 409


class VolumeInUse(SandboxNotReady):
    """Another sandbox holds the volume."""

    code = "volume_in_use"


class ExecTimeout(_OutputSoFar, TimeoutError):
    """The command reached its timeout and was ended with its whole process tree; the sandbox lives on.

    ``stdout`` and ``stderr`` hold the output until then.
    """

    code = "exec_timeout"
    errno = _errno.ETIMEDOUT


class ExecKilled(_OutputSoFar):
    """The command was ended by a signal that this library did not send.

    Attributes:
        signal: its number, 9 for SIGKILL; None where it is not known.
        oom: True when the guest's out-of-memory killer sent it.
    """

    code = "exec_killed"

    def __init__(self, message: str = "", *, signal: int | None = None, oom: bool = False, **about: Any) -> None:
        super().__init__(message, **about)
        self.signal = signal
        self.oom = oom


class NetworkPolicyError(OrkestrError):
    """A request was refused by the network policy: ``host``, ``port`` and the ``rule`` that decided."""

    code = "network_policy_blocked"

    def __init__(self, message: str = "", *, host: str = "", port: int = 0, rule: str = "", **about: Any) -> None:
        super().__init__(message, **about)
        self.host = host
        self.port = port
        self.rule = rule


class InterpreterUnavailable(OrkestrError):
    """``run_code`` on a template without the interpreter."""

    code = "interpreter_unavailable"


class FileNotFound(SandboxNotFound, FileNotFoundError):
    """No such file in the sandbox."""

    code = "file_not_found"
    errno = _errno.ENOENT


class NotPermitted(OrkestrError, PermissionError):
    """Not allowed, such as writing outside ``/workspace``, ``/tmp`` and ``/persist``."""

    code = "not_permitted"
    errno = _errno.EPERM


class IsADirectory(OrkestrError, IsADirectoryError):
    """A file was wanted."""

    code = "is_a_directory"
    errno = _errno.EISDIR


class NotADirectory(OrkestrError, NotADirectoryError):
    """A directory was wanted."""

    code = "not_a_directory"
    errno = _errno.ENOTDIR


class FileExists(OrkestrError, FileExistsError):
    """Something of this name is there already."""

    code = "file_exists"
    errno = _errno.EEXIST


class TemplateNotFound(OrkestrError):
    """No template of this name; the message says how to build it."""

    code = "template_not_found"


class TemplateBuildError(OrkestrError):
    """Building a template failed in ``step``; ``output`` is the end of what that step printed."""

    code = "template_build_failed"

    def __init__(self, message: str = "", *, step: str = "", output: str = "", **about: Any) -> None:
        super().__init__(message, **about)
        self.step = step
        self.output = output


class SnapshotIncompatible(OrkestrError):
    """A paused sandbox or snapshot needs another QEMU, CPU or host; its files are kept."""

    code = "snapshot_incompatible"


class NotSupported(OrkestrError):
    """The backend does not have this; the message names the backend."""

    code = "not_supported"


class VmError(OrkestrError):
    """The machine did not start, or died: ``stage`` is what was being done, ``console_tail`` its last console lines."""

    code = "vm_failed"

    def __init__(self, message: str = "", *, stage: str = "", console_tail: str = "", **about: Any) -> None:
        super().__init__(message, **about)
        self.stage = stage
        self.console_tail = console_tail


class ConnectionError(OrkestrError, builtins.ConnectionError):
    """The service or the sandbox's supervisor could not be reached, or went away."""

    code = "connection"


class APIError(OrkestrError):
    """The service answered something else."""

    code = "api"


class Cancelled(OrkestrError):
    """The operation was cancelled before it was complete, from another thread or by closing its client."""

    code = "cancelled"


_CLASSES: dict[str, type[OrkestrError]] = {
    cls.code: cls
    for cls in (
        OrkestrError, InvalidArgument, AuthError, RateLimitError, PlanLimitError, SnapshotCapReached, FleetFull,
        SandboxNotFound, SandboxNotReady, VolumeInUse, ExecTimeout, ExecKilled, NetworkPolicyError,
        InterpreterUnavailable, FileNotFound, NotPermitted, IsADirectory, NotADirectory, FileExists, TemplateNotFound,
        TemplateBuildError, SnapshotIncompatible, NotSupported, VmError, ConnectionError, APIError, Cancelled,
    )
}  # fmt: skip
_CLASSES["forbidden"] = AuthError
for _code in ("usage_exhausted", "trial_exhausted", "lifetime_cap_reached", "session_cap_reached"):
    _CLASSES[_code] = PlanLimitError


def from_native(code: str, message: str, details: Mapping[str, Any]) -> OrkestrError:
    """The exception for an error of the native library. An unknown code stays, in an :class:`OrkestrError`."""
    cls = _CLASSES.get(code, OrkestrError)
    about: dict[str, Any] = {
        "code": code,
        "status_code": details["status_code"] or None,
        "detail": details["detail"] or None,
        "request_id": details["request_id"] or None,
    }
    if issubclass(cls, _Retryable):
        about["retry_after"] = details["retry_after"]
    if issubclass(cls, _OutputSoFar):
        about.update(stdout=details["stdout_bytes"], stderr=details["stderr_bytes"])
    if issubclass(cls, ExecKilled):
        about.update(signal=details["signal"], oom=details["oom"])
    elif issubclass(cls, NetworkPolicyError):
        about.update(host=details["host"], port=details["port"], rule=details["rule"])
    elif issubclass(cls, VmError):
        about.update(stage=details["stage"], console_tail=details["console_tail"])
    elif issubclass(cls, TemplateBuildError):
        about.update(step=details["stage"], output=details["console_tail"])
    return cls(message, **about)


__all__ = sorted({cls.__name__ for cls in _CLASSES.values()} | {"InvalidArgumentType"})
