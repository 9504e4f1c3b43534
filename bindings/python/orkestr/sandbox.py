"""Sandboxes: throwaway Linux computers with a kernel of their own."""

from __future__ import annotations

from datetime import datetime
from types import TracebackType
from typing import Any, Callable, Iterable, Iterator, Literal, Mapping, Sequence, overload

from . import _arguments as check
from . import _core
from ._attributes import SandboxAttributes
from ._collect import collect
from .client import OrkestrClient, choose
from .code import CodeContext, CodeError, CodeExecution, CodeResult, CodeStream, CodeStreamEvent
from .command import BackgroundCommand, CommandLogs, LogStream
from .errors import OrkestrError
from .events import Event, follow as follow_events, look, to_microseconds
from .files import BatchWriteResult, FileEntry, Files, FileStat, PresignedURL
from .metrics import (
    SandboxCpuMetrics,
    SandboxLifetimeUsage,
    SandboxLimits,
    SandboxMemoryMetrics,
    SandboxMetrics,
    SandboxMetricsSample,
    SandboxRegionInfo,
    SandboxSizeInfo,
)
from .process import ExecChunk, ExecResult, ExecStream
from .snapshot import Snapshot
from .template import OnProgress, Reporter
from .volume import Volume
from .webhook import Webhook, verify_webhook_signature

__all__ = [
    "BackgroundCommand", "BatchWriteResult", "CodeContext", "CodeError", "CodeExecution", "CodeResult", "CodeStream",
    "CodeStreamEvent", "CommandLogs", "ExecChunk", "ExecResult", "ExecStream", "FileEntry", "FileStat", "Files",
    "LogStream", "PresignedURL", "Sandbox", "SandboxCpuMetrics", "SandboxLifetimeUsage", "SandboxLimits",
    "SandboxMemoryMetrics", "SandboxMetrics", "SandboxMetricsSample", "SandboxRegionInfo", "SandboxSizeInfo",
    "Snapshot", "Volume", "Webhook", "verify_webhook_signature",
]


_List = list  # within the class that name is a method


class Sandbox(SandboxAttributes):
    """A throwaway Linux computer.

    ::

        with Sandbox.create("python-3.12-bare") as sandbox:
            print(sandbox.exec("python3 -c 'print(6 * 7)'").stdout)

    A Sandbox is a handle. Dropping it ends nothing: only :meth:`terminate`, leaving the ``with`` block and the
    timeout end a sandbox. It outlives the process that made it, and any process of the same user can :meth:`get` it
    by its id. Handles may be used from any thread, and calls run in parallel; in a forked child they raise
    :class:`SandboxNotReady`. Ctrl-C during a call ends what the call started.
    """

    __slots__ = ("_native", "_listed", "_client")

    _native: _core.Sandbox | None
    _listed: _core.SandboxRecord | None
    _client: _core.Client | None

    def __init__(self, *_: object, **__: object) -> None:
        raise TypeError("use Sandbox.create(), Sandbox.get() or Sandbox.list()")

    @classmethod
    def _of(
        cls, native: _core.Sandbox | None, client: _core.Client | None, listed: _core.SandboxRecord | None = None
    ) -> Sandbox:
        sandbox = object.__new__(cls)
        sandbox._native, sandbox._client, sandbox._listed = native, client, listed
        return sandbox

    @classmethod
    def create(
        cls,
        template: str | None = None,
        *,
        size: str = "small",
        cpu: float | None = None,
        memory_mb: int | None = None,
        disk_mb: int | None = None,
        network: str = "off",
        timeout_seconds: float = 600,
        on_timeout: str = "kill",
        auto_resume: bool = False,
        paused_ttl_seconds: float | None = None,
        preview_auth: bool = False,
        env: Mapping[str, str] | None = None,
        metadata: Mapping[str, str] | None = None,
        region: str | None = None,
        allow_domains: Sequence[str] | None = None,
        volume: str | None = None,
        snapshot: str | None = None,
        api_key: str | None = None,
        client: OrkestrClient | None = None,
        max_retries: int = 5,
        retry_max_seconds: float = 60,
        auto_build: bool = True,
        on_progress: OnProgress | None = None,
    ) -> Sandbox:
        """Starts a sandbox and returns when it runs.

        Args:
            template: name of a template, ``"python-3.12-bare"``. Exactly one of this and ``snapshot``.
            size: ``"small"`` (1 vCPU, 1024 MiB), ``"medium"`` (2, 4096) or ``"large"`` (4, 8192).
            cpu: CPUs, 0.25 to 16; overrides ``size``. The sandbox has as many vCPUs, rounded up; a fraction needs a cgroup
                that is delegated to the caller, else it is rounded up too and :attr:`cpu_reason` says why.
            memory_mb: MiB, 256 to 65536; overrides ``size``.
            disk_mb: MiB, 8192 (the default) to 131072; what is not written takes no space on the host.
            network: ``"off"``, ``"restricted"`` or ``"open"``; this version implements ``"off"`` locally.
            timeout_seconds: life span, 10 to 86400 locally; fractions are rounded up.
            on_timeout: ``"kill"`` or ``"pause"``.
            auto_resume: an operation on the paused sandbox resumes it first.
            paused_ttl_seconds: how long it is kept when paused, 60 or more; None: until it is resumed or terminated.
            preview_auth: of the service.
            env: environment of every command; names ``[A-Za-z_][A-Za-z0-9_]*``, 64 KiB in all.
            metadata: yours, for :meth:`list`; at most 64 entries, 16 KiB in all.
            region: of the service; a local sandbox has none.
            allow_domains: replaces the list of ``network="restricted"``; an empty one allows nothing.
            volume: name of one, mounted at /persist; of the service.
            snapshot: id of one of the service, instead of ``template``.
            api_key: of the service; chooses the remote backend.
            client: chooses the backend, before everything else.
            max_retries, retry_max_seconds: attempts while the host or the fleet is full, and seconds after which none
                begins; of a service: seconds of pauses in all.
            auto_build: build the template first when that was never done on this machine, which takes minutes (see
                :class:`Template` for what it needs). False: :class:`TemplateNotFound`, with the command that builds it.
            on_progress: of that build, called in this thread with a :class:`TemplateProgress`; None shows a bar where
                stderr is a terminal, else writes one line there.

        Raises: :class:`InvalidArgument`, :class:`TemplateNotFound`, :class:`TemplateBuildError`, :class:`NotSupported`, :class:`VmError`,
        :class:`FleetFull`.
        """
        arguments: dict[str, Any] = {
            "template": check.optional_text("template", template),
            "size": check.text("size", size),
            "cpu": None if cpu is None else check.number("cpu", cpu),
            "memory_mb": None if memory_mb is None else check.integer("memory_mb", memory_mb),
            "disk_mb": None if disk_mb is None else check.integer("disk_mb", disk_mb),
            "network": check.text("network", network),
            "timeout_seconds": check.seconds("timeout_seconds", timeout_seconds),
            "on_timeout": check.text("on_timeout", on_timeout),
            "auto_resume": check.flag("auto_resume", auto_resume),
            "paused_ttl_seconds": check.optional_seconds("paused_ttl_seconds", paused_ttl_seconds),
            "preview_auth": check.flag("preview_auth", preview_auth),
            "env": check.text_map("env", env),
            "metadata": check.text_map("metadata", metadata),
            "region": check.optional_text("region", region),
            "allow_domains": None if allow_domains is None else check.texts("allow_domains", allow_domains),
            "volume": check.optional_text("volume", volume),
            "snapshot": check.optional_text("snapshot", snapshot),
            "max_retries": check.integer("max_retries", max_retries),
            "retry_max_seconds": check.seconds("retry_max_seconds", retry_max_seconds),
            "auto_build": check.flag("auto_build", auto_build),
        }
        chosen = choose(client, api_key)
        with Reporter(on_progress) as reporter:
            return cls._of(_core.Sandbox.create(arguments, reporter, chosen), chosen)

    @classmethod
    def get(cls, sandbox_id: str, *, api_key: str | None = None, client: OrkestrClient | None = None) -> Sandbox:
        """The sandbox of this id, whichever process made it. Ended ones are found for 24 hours.

        Raises: :class:`SandboxNotFound`.
        """
        chosen = choose(client, api_key)
        return cls._of(_core.Sandbox.get(check.text("sandbox_id", sandbox_id), chosen), chosen)

    @classmethod
    def list(
        cls,
        *,
        status: str | None = None,
        metadata: Mapping[str, str] | None = None,
        limit: int = 50,
        max_results: int | None = None,
        api_key: str | None = None,
        client: OrkestrClient | None = None,
    ) -> list[Sandbox]:
        """All sandboxes, newest first, the ended ones of the last 24 hours included.

        Args:
            status: only those; ``"starting"``, ``"running"``, ``"pausing"``, ``"paused"``, ``"resuming"``,
                ``"terminated"`` or ``"failed"``.
            metadata: only those whose metadata has all of these.
            limit: page size, 1 to 200.
            max_results: stop after so many; None: all.
        """
        arguments: dict[str, Any] = {
            "status": check.optional_text("status", status),
            "metadata": check.text_map("metadata", metadata),
            "limit": check.integer("limit", limit),
            "max_results": None if max_results is None else check.integer("max_results", max_results, low=0),
        }
        chosen = choose(client, api_key)
        return [cls._of(None, chosen, record) for record in _core.Sandbox.list(arguments, chosen)]

    @classmethod
    def resume(
        cls,
        sandbox_id: str,
        *,
        api_key: str | None = None,
        client: OrkestrClient | None = None,
        max_retries: int = 5,
        retry_max_seconds: float = 60,
    ) -> Sandbox:
        """Brings a paused sandbox back: memory, files and running processes as they were, with a fresh timeout.

        Locally one that runs is returned as it is.

        Args:
            max_retries, retry_max_seconds: attempts while the host or the fleet is full, and seconds after which none
                begins; of a service: seconds of pauses in all.

        Raises: :class:`SandboxNotFound`, :class:`SandboxNotReady`, :class:`SnapshotIncompatible`, :class:`VmError`,
        :class:`FleetFull`, :class:`NotSupported`.
        """
        chosen = choose(client, api_key)
        retries = check.integer("max_retries", max_retries)
        most = check.seconds("retry_max_seconds", retry_max_seconds)
        return cls._of(_core.Sandbox.resume(check.text("sandbox_id", sandbox_id), retries, most, chosen), chosen)

    @classmethod
    def limits(cls, *, api_key: str | None = None, client: OrkestrClient | None = None) -> SandboxLimits:
        """What the account, or this machine, allows."""
        return SandboxLimits._from_native(_core.limits(choose(client, api_key)))

    # Commands.

    @overload
    def exec(
        self,
        command: str,
        cwd: str = "/workspace",
        env: Mapping[str, str] | None = None,
        timeout_seconds: float = 60,
        background: Literal[False] = False,
    ) -> ExecResult: ...
    @overload
    def exec(
        self,
        command: str,
        cwd: str = "/workspace",
        env: Mapping[str, str] | None = None,
        timeout_seconds: float = 60,
        *,
        background: Literal[True],
    ) -> BackgroundCommand: ...
    def exec(
        self,
        command: str,
        cwd: str = "/workspace",
        env: Mapping[str, str] | None = None,
        timeout_seconds: float = 60,
        background: bool = False,
    ) -> ExecResult | BackgroundCommand:
        """Runs a shell command line (``/bin/bash -c``) and waits for its end.

        Args:
            cwd: working directory, absolute.
            env: over the sandbox's own environment.
            timeout_seconds: 0.001 to 86400; then the whole process tree ends. Not in the background: as on a service, a
                command there has no timeout, and :meth:`BackgroundCommand.kill` ends it.
            background: return a :class:`BackgroundCommand` at once; it runs on by itself.

        Of more than 64 MiB on a stream the first and the last half of so much are kept, and ``truncated`` of the result
        says so: :meth:`run` takes another limit (``max_output_bytes``), :meth:`exec_stream` gives all.

        Raises: :class:`ExecTimeout`, :class:`ExecKilled`, both with the output so far; :class:`SandboxNotReady`; in the
        background :class:`RateLimitError` when 256 run already.
        """
        if isinstance(command, (list, tuple)):
            raise check.wrong_type("command", command, "str, a shell command line; run() takes a list")
        line, arguments = check.text("command", command), _exec_arguments(cwd, env, timeout_seconds)
        if check.flag("background", background):
            return BackgroundCommand._of(_core.start_command(self._live(), line, arguments))
        return self._run(line, arguments)

    def commands(self) -> _List[BackgroundCommand]:
        """Every background command, oldest first, the ended ones included; from any process.

        The newest 256 are kept. After a pause, commands that had been running in :meth:`exec` are among them.
        """
        return [BackgroundCommand._of(native) for native in _core.list_commands(self._live())]

    def command(self, command_id: str) -> BackgroundCommand:
        """The background command of this id.

        Raises: :class:`SandboxNotFound` when there is none.
        """
        return BackgroundCommand._of(_core.get_command(self._live(), check.text("command_id", command_id)))

    def run(
        self,
        command: str | Sequence[str],
        *,
        stdin: str | bytes | Iterable[bytes] | None = None,
        user: str | None = None,
        cwd: str = "/workspace",
        env: Mapping[str, str] | None = None,
        timeout_seconds: float = 60,
        max_output_bytes: int | None = None,
        tty: bool = False,
        cols: int = 80,
        rows: int = 24,
        on_stdout: Callable[[str], object] | None = None,
        on_stderr: Callable[[str], object] | None = None,
    ) -> ExecResult:
        """Runs a command with full control.

        Args:
            command: a list of arguments is run without a shell, ``command[0]`` looked up on the guest's PATH; a
                string by ``/bin/bash -c``.
            stdin: bytes, or text as UTF-8, for standard input, or an iterable of such pieces, which a thread of its own
                goes through as fast as the command reads; None: ``/dev/null``.
            user: name or number in the guest; None: root.
            cwd, env, timeout_seconds: as for :meth:`exec`.
            max_output_bytes: how much of each stream is kept, 1 KiB to 1 GiB, 64 MiB by default: the first and the
                last half. The true totals are in the result.
            tty: a terminal of ``cols`` × ``rows`` for all three streams; all output is stdout. When ``stdin`` is used
                up the end-of-file character is typed; to hold a conversation use :meth:`exec_stream`.
            on_stdout, on_stderr: called in this thread with each piece of text as it comes. What they raise ends the
                command and passes on.

        With ``tty``, a callback or an iterable the result does not say ``user_ms``, ``system_ms`` and ``max_rss_kb``.

        Raises: as :meth:`exec`; what ``stdin`` raises.
        """
        line = check.text("command", command) if isinstance(command, str) else check.texts("command", command)
        arguments = _exec_arguments(cwd, env, timeout_seconds)
        arguments["user"] = check.optional_text("user", user)
        if max_output_bytes is not None:
            arguments["max_output_bytes"] = check.integer("max_output_bytes", max_output_bytes, low=0, high=2**62)
        pieces = None
        if stdin is not None and check.is_iterable_of_pieces(stdin):
            pieces, stdin = iter(stdin), None
        arguments["stdin"] = None if stdin is None else check.content("stdin", stdin)
        if not check.flag("tty", tty) and pieces is None and on_stdout is None and on_stderr is None:
            return self._run(line, arguments)
        arguments.update(_terminal_arguments(tty, cols, rows), stdin_open=pieces is not None)
        stream = ExecStream(_core.exec_stream(self._live(), line, arguments))
        return collect(stream, pieces, tty, {"stdout": on_stdout, "stderr": on_stderr}, max_output_bytes)

    def exec_stream(
        self,
        command: str | Sequence[str],
        cwd: str = "/workspace",
        env: Mapping[str, str] | None = None,
        timeout_seconds: float = 60,
        *,
        stdin: bool | str | bytes | None = None,
        user: str | None = None,
        tty: bool = False,
        cols: int = 80,
        rows: int = 24,
    ) -> ExecStream:
        """Like :meth:`exec`, with the output as it comes: an iterator of :class:`ExecChunk`, the last one final.

        Args:
            command: a shell command line, or a list of arguments as for :meth:`run`.
            stdin: True: stays open for :meth:`ExecStream.write`. Bytes or text: all that there is to read; at a
                terminal what is typed first. None, False: ``/dev/null``.
            user: as for :meth:`run`.
            tty: a terminal of ``cols`` × ``rows`` (1 to 1000 each) for all three streams, open for
                :meth:`ExecStream.write`. All output comes as stdout, ``TERM`` is ``xterm-256color`` unless ``env`` has it.
        """
        arguments = _exec_arguments(cwd, env, timeout_seconds) | _terminal_arguments(tty, cols, rows)
        arguments["user"] = check.optional_text("user", user)
        if stdin is None or isinstance(stdin, bool):
            arguments["stdin_open"] = bool(stdin)
        else:
            arguments["stdin"] = check.content("stdin", stdin)
        line = check.text("command", command) if isinstance(command, str) else check.texts("command", command)
        return ExecStream(_core.exec_stream(self._live(), line, arguments))

    def _run(self, command: bytes | Sequence[bytes], arguments: dict[str, Any]) -> ExecResult:
        return ExecResult._from_native(self._live().run(command, arguments))

    # Code.

    def run_code(
        self, code: str, *, language: str = "python", context_id: str | None = None, timeout_seconds: float = 60
    ) -> CodeExecution:
        """Runs code in an interpreter that stays: variables, imports and figures are there in the next run of the context.

        For sandboxes of a service that were made from the template ``code-interpreter``, or one built on it. What the
        code raises, and a run that was interrupted, are results.

        Args:
            code: at most 16 MiB.
            language: what else there is depends on the template.
            context_id: of a :class:`CodeContext`; None: the context ``"default"``.
            timeout_seconds: 0.001 to 86400; then the run is interrupted. After Ctrl-C it goes on until then.

        Raises: :class:`InterpreterUnavailable` in any other sandbox, and in every local one: use :meth:`exec` there;
        :class:`SandboxNotFound` for an unknown context; :class:`SandboxNotReady`.
        """
        return CodeExecution._from_native(
            _core.run_code(self._live(), *_code_arguments(code, language, context_id, timeout_seconds))
        )

    def run_code_stream(
        self, code: str, *, language: str = "python", context_id: str | None = None, timeout_seconds: float = 60
    ) -> CodeStream:
        """Like :meth:`run_code`, with what comes as it comes: an iterator of :class:`CodeStreamEvent`, the last one
        ``"done"``."""
        return CodeStream(
            _core.run_code_stream(self._live(), *_code_arguments(code, language, context_id, timeout_seconds))
        )

    def create_code_context(self, *, cwd: str | None = None) -> CodeContext:
        """A new interpreter beside the others of this sandbox, with variables of its own.

        Args:
            cwd: its working directory, absolute; None: the service chooses.

        Raises: :class:`InterpreterUnavailable` as :meth:`run_code`; :class:`FileNotFound` when ``cwd`` is not there.
        """
        return CodeContext._of(_core.create_code_context(self._live(), check.optional_text("cwd", cwd) or b""))

    def code_contexts(self) -> _List[CodeContext]:
        """Every context of this sandbox that was used or created; from any process.

        Raises: :class:`InterpreterUnavailable` as :meth:`run_code`.
        """
        return [CodeContext._of(native) for native in _core.code_contexts(self._live())]

    @property
    def files(self) -> Files:
        """The sandbox's files."""
        return Files(_core.files(self._live()))

    @overload
    def events(self, *, since: datetime | None = None, follow: Literal[False] = False) -> _List[Event]: ...
    @overload
    def events(self, *, since: datetime | None = None, follow: Literal[True]) -> Iterator[Event]: ...
    def events(self, *, since: datetime | None = None, follow: bool = False) -> _List[Event] | Iterator[Event]:
        """What happened to the sandbox and in it, oldest first: a list, also of an ended sandbox.

        Args:
            since: only what is of this moment or later; timezone-aware.
            follow: an iterator instead, which goes on until the sandbox has ended.

        Raises: :class:`SandboxNotFound` when even its record is gone.
        """
        start = None if since is None else to_microseconds(since)
        if check.flag("follow", follow):
            return follow_events(self._live(), start, self._has_ended)
        return look(self._live(), start)

    def _has_ended(self) -> bool:
        self.refresh()
        return self.status in ("terminated", "failed")

    # Life.

    def refresh(self) -> Sandbox:
        """Brings the attributes up to date, and returns the sandbox.

        Raises: :class:`SandboxNotFound` when even its record is gone.
        """
        self._live().refresh()
        return self

    def pause(self) -> str:
        """Freezes the sandbox to disk and ends its machine; :meth:`resume` goes on from there. Returns the id.

        Its timeout stands still meanwhile. What goes wrong while saving leaves it running.

        Raises: :class:`SandboxNotReady`, :class:`SnapshotCapReached`, :class:`NotSupported`.
        """
        return self._live().pause()

    def set_timeout(self, timeout_seconds: float) -> None:
        """The sandbox now has this long from now, 10 to 86400 seconds locally; :attr:`expires_at` says when that is.

        Raises: :class:`SandboxNotReady` when it does not run; :class:`NotSupported`.
        """
        _core.set_timeout(self._live(), check.seconds("timeout_seconds", timeout_seconds))

    def metrics(self, *, since: datetime | None = None) -> SandboxMetrics:
        """CPU and memory: now, in the last minute as far as somebody asked, and in all its life.

        Args:
            since: only samples of this moment or later; timezone-aware.
        """
        start = None if since is None else to_microseconds(since)
        return SandboxMetrics._from_native(_core.metrics(self._live(), start))

    def snapshot(self, name: str | None = None) -> Snapshot:
        """A named snapshot that others can start from (``create(snapshot=…)``); the sandbox goes on.

        Raises: :class:`NotSupported` locally in this version.
        """
        return Snapshot._from_native(_core.snapshot(self._live(), check.optional_text("name", name) or b""))

    def get_host(self, port: int) -> str:
        """The host name under which a port that is served in the sandbox can be reached.

        Raises: :class:`NotSupported` locally in this version.
        """
        return _core.get_host(self._live(), check.integer("port", port))

    def preview_url(self, port: int) -> str:
        """The ``https`` URL of such a port, with its token where the sandbox has ``preview_auth``."""
        url = f"https://{self.get_host(port)}"
        token = self.preview_auth_token if self.preview_auth else None
        return f"{url}?ork_preview_token={token}" if token else url

    def terminate(self) -> None:
        """Ends the sandbox and everything in it. When it returns no process of it is left.

        Legal in every state; may be called again.
        """
        self._live().terminate()

    def __enter__(self) -> Sandbox:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self.terminate()
        except OrkestrError as failure:
            if error is None:
                raise
            if hasattr(error, "add_note"):  # Python 3.11
                error.add_note(f"and terminating {self.id} failed: {failure}")

    def __repr__(self) -> str:
        where = "/".join(part for part in (self.backend, self.accelerator) if part)
        return f"<Sandbox {self.id} {self.status} {self.template} {where}>"

    def _info(self) -> _core.SandboxRecord:
        if self._native is not None:
            return self._native.info()
        assert self._listed is not None
        return self._listed

    def _live(self) -> _core.Sandbox:
        """The native handle; one that came from list() is opened when it is first used."""
        if self._native is None:
            self._native = _core.Sandbox.get(self.id.encode(), self._client)
        return self._native


def _terminal_arguments(tty: bool, cols: int, rows: int) -> dict[str, Any]:
    return {"tty": check.flag("tty", tty), "cols": check.integer("cols", cols), "rows": check.integer("rows", rows)}


def _exec_arguments(cwd: str, env: Mapping[str, str] | None, timeout_seconds: float) -> dict[str, Any]:
    return {
        "cwd": check.text("cwd", cwd),
        "env": check.text_map("env", env),
        "timeout_ms": check.milliseconds("timeout_seconds", timeout_seconds),
    }


def _code_arguments(
    code: str, language: str, context_id: str | None, timeout_seconds: float
) -> tuple[bytes, bytes, bytes, int]:
    return (
        check.text("code", code),
        check.text("language", language),
        check.optional_text("context_id", context_id) or b"",
        check.milliseconds("timeout_seconds", timeout_seconds),
    )
