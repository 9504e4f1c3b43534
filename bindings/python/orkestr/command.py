"""Background commands: started and left alone, found again by their id from any process."""

from __future__ import annotations

import codecs
import time
from dataclasses import dataclass, field
from datetime import datetime
from types import TracebackType

from . import _arguments as check
from . import _core
from .errors import ExecTimeout, OrkestrError
from .files import to_datetime
from .process import ExecChunk, StreamDecoder

_FIRST_PAUSE = 0.01
_MOST_OFFSET = 2**63 - 1


@dataclass(frozen=True)
class CommandLogs:
    """What a background command has written to stdout and stderr, in the order it came.

    Attributes:
        content: text; bytes that are not UTF-8 show as U+FFFD. It ends with a whole character while there is more to come.
        size: bytes written in all.
        truncated: there is more: ``content`` ends before ``size``, or begins after the offset that was asked for.
        start_offset: where ``content`` begins; later than was asked for when that is not kept any more.
        content_bytes: the same output, exactly.
    """

    content: str
    size: int
    truncated: bool
    start_offset: int = field(default=0, kw_only=True)
    content_bytes: bytes = field(default=b"", repr=False, kw_only=True)

    @property
    def next_offset(self) -> int:
        """Where to read on."""
        return self.start_offset + len(self.content_bytes)


class LogStream:
    """The output of a background command as it comes: an iterator of :class:`ExecChunk`, the last one final.

    Leaving the loop, the ``with`` block and :meth:`close` leave the command alone, and so does Ctrl-C. All chunks are of
    ``"stdout"``.

    Raises from the iteration: :class:`ExecKilled` when the command was killed, :class:`ExecTimeout` when the stream's
    time has passed, :class:`RateLimitError` when the reader was so slow that output is not kept any more,
    :class:`SandboxNotReady`, :class:`ConnectionError`.
    """

    def __init__(self, native: _core.LogOutput) -> None:
        self._native = native
        self._decoder = StreamDecoder()
        self._last: ExecChunk | OrkestrError | None = None
        self._closed = False

    def __iter__(self) -> LogStream:
        return self

    def __next__(self) -> ExecChunk:
        while not self._closed:
            try:
                chunk = self._native.next()
            except OrkestrError as error:
                self._end(error)
                break
            if chunk is None:
                self.close()
                break
            _, data, exit_code, duration_ms = chunk
            if exit_code is not None:
                self._end(ExecChunk("stdout", "", exit_code, duration_ms))
                break
            text, exact = self._decoder.decode(data)
            if text:
                return ExecChunk("stdout", text, data_bytes=exact)
        text, exact = self._decoder.flush()
        if text:
            return ExecChunk("stdout", text, data_bytes=exact)
        last, self._last = self._last, None
        if last is None:
            raise StopIteration
        if isinstance(last, OrkestrError):
            raise last
        return last

    def _end(self, last: ExecChunk | OrkestrError) -> None:
        self._last = last
        self.close()

    def close(self) -> None:
        """Lets go of the command. From any thread; may be called again."""
        self._closed = True
        self._native.close()

    def __enter__(self) -> LogStream:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


@dataclass
class BackgroundCommand:
    """A command that runs on by itself: past the call that started it, past its caller, past pause and resume.

    From ``sandbox.exec(..., background=True)`` and ``sandbox.commands()``. It ends by itself, by :meth:`kill` and with
    its sandbox. The attributes are as of the last call that learned of them.

    Attributes:
        id: ``"cmd_…"``, by which any process finds it.
        command: the shell line; of a long one the first 8 KiB.
        pid: in the guest.
        status: ``"running"``, ``"exited"`` (with an exit code) or ``"killed"`` (without: by :meth:`kill`, a signal, the
            out-of-memory killer).
        exit_code: None while it runs, and of one that was killed.
        started_at: timezone-aware.
    """

    id: str
    command: str
    pid: int | None
    status: str
    exit_code: int | None
    started_at: datetime | None
    _native: _core.Command | None = field(default=None, repr=False, compare=False)

    @classmethod
    def _of(cls, native: _core.Command) -> BackgroundCommand:
        info = native.info()
        started = info["started_at"]
        return cls(
            id=info["id"],
            command=info["command"],
            pid=info["pid"],
            status=info["status"],
            exit_code=info["exit_code"],
            started_at=None if started is None else to_datetime(started),
            _native=native,
        )

    def _live(self) -> _core.Command:
        if self._native is None:
            raise OrkestrError(f"command {self.id} was made by hand and belongs to no sandbox; take it from commands()")
        return self._native

    def refresh(self) -> BackgroundCommand:
        """Brings the attributes up to date, and returns the command.

        Raises: :class:`SandboxNotFound` when its record is not kept any more.
        """
        self._live().refresh()
        self._take_over()
        return self

    def kill(self) -> None:
        """SIGTERM to all that it started, SIGKILL two seconds later; returns when it has ended. May be called again."""
        self._live().kill()
        self._take_over()

    def _take_over(self) -> None:
        info = self._live().info()
        self.pid, self.status, self.exit_code = info["pid"], info["status"], info["exit_code"]

    def wait(self, *, poll_seconds: float = 1.0, timeout: float | None = None) -> int | None:
        """Waits until it has ended, and returns its exit code; None when it was killed.

        Args:
            poll_seconds: the longest pause between two looks; the first ones come faster.
            timeout: seconds; None: as long as it takes.

        Raises: :class:`ExecTimeout` when that time has passed; the command runs on.
        """
        longest = max(0.0, check.number("poll_seconds", poll_seconds))
        limit = None if timeout is None else time.monotonic() + check.number("timeout", timeout)
        pause = min(_FIRST_PAUSE, longest)
        while self.refresh().status == "running":
            left = None if limit is None else limit - time.monotonic()
            if left is not None and left <= 0:
                raise ExecTimeout(f"wait: command {self.id} had not ended after {round(timeout * 1000)} ms; it runs on")
            time.sleep(pause if left is None else min(pause, left))
            pause = min(2 * pause, longest)
        return self.exit_code

    def logs(self, *, offset: int = 0) -> CommandLogs:
        """At most 1 MiB of its output, from byte ``offset`` on; see :attr:`CommandLogs.next_offset`.

        The newest 4 MiB of each command are kept locally.
        """
        record = self._live().logs(check.integer("offset", offset, low=0, high=_MOST_OFFSET))
        data, start = record["content"], record["start_offset"]
        if start + len(data) < record["size"] or self.status == "running":
            data = _whole_characters(data)
        return CommandLogs(
            content=data.decode("utf-8", "replace"),
            size=record["size"],
            truncated=record["truncated"],
            start_offset=start,
            content_bytes=data,
        )

    def stream(self, *, offset: int = 0, timeout_seconds: float = 300) -> LogStream:
        """Its output as it comes, from byte ``offset`` on, until it has ended.

        Args:
            offset: where to begin; with the oldest that is kept when that is not kept any more.
            timeout_seconds: 1 to 86400; then :class:`ExecTimeout` is raised and the command runs on.
        """
        start = check.integer("offset", offset, low=0, high=_MOST_OFFSET)
        return LogStream(self._live().stream(start, check.seconds("timeout_seconds", timeout_seconds)))


def _whole_characters(data: bytes) -> bytes:
    """Without the beginning of a character whose rest is still to come; never without everything."""
    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    decoder.decode(data[-4:])
    held = len(decoder.getstate()[0])
    return data[: len(data) - held] if held < len(data) else data
