"""Commands: what they return, and their output as it comes."""

from __future__ import annotations

import codecs
from collections import deque
from dataclasses import dataclass, field
from types import TracebackType

from . import _arguments as check
from . import _core
from .errors import OrkestrError


@dataclass(frozen=True)
class ExecResult:
    """How a command ended. A non-zero exit code is a result, not an error.

    Attributes:
        stdout, stderr: the output as text; bytes that are not UTF-8 show as U+FFFD.
        exit_code: 0 to 255; 128 + n where a shell reports that its command died by signal n.
        duration_ms: from before the start to the end of the command, in the guest.
        stdout_bytes, stderr_bytes: the same output, exactly.
        stdout_total_bytes, stderr_total_bytes: how much there was; more than is here when ``truncated``.
        truncated: the middle of a stream was left out, see ``max_output_bytes`` of :meth:`Sandbox.run`.
        user_ms, system_ms: CPU time of the command and its children.
        max_rss_kb: the most memory that one of its processes held, in KiB.
        network_denied: hosts that the network policy refused to the command.
    """

    stdout: str
    stderr: str
    exit_code: int
    duration_ms: int
    stdout_bytes: bytes = field(default=b"", repr=False, kw_only=True)
    stderr_bytes: bytes = field(default=b"", repr=False, kw_only=True)
    stdout_total_bytes: int = field(default=0, repr=False, kw_only=True)
    stderr_total_bytes: int = field(default=0, repr=False, kw_only=True)
    truncated: bool = field(default=False, kw_only=True)
    user_ms: int = field(default=0, repr=False, kw_only=True)
    system_ms: int = field(default=0, repr=False, kw_only=True)
    max_rss_kb: int = field(default=0, repr=False, kw_only=True)
    network_denied: list[str] = field(default_factory=list, repr=False, kw_only=True)

    @classmethod
    def _from_native(cls, record: _core.ExecRecord) -> ExecResult:
        return cls(
            stdout=record["stdout_bytes"].decode("utf-8", "replace"),
            stderr=record["stderr_bytes"].decode("utf-8", "replace"),
            **record,
        )


@dataclass(frozen=True)
class ExecChunk:
    """A piece of a running command's output, or, when ``is_final``, how it ended.

    Attributes:
        stream: ``"stdout"`` or ``"stderr"``.
        data: text; a character that arrived in two pieces is whole in one chunk. Empty in the final chunk.
        exit_code, duration_ms: set in the final chunk, else None.
        data_bytes: the bytes that ``data`` was decoded from; those of all chunks together are the output, exactly.
    """

    stream: str
    data: str
    exit_code: int | None = None
    duration_ms: int | None = None
    data_bytes: bytes = field(default=b"", repr=False, kw_only=True)

    @property
    def is_final(self) -> bool:
        return self.exit_code is not None


class StreamDecoder:
    """One stream's bytes as text, wherever they were cut. Each result is (text, the bytes it stands for)."""

    __slots__ = ("_decoder", "_held")

    def __init__(self) -> None:
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._held = b""

    def decode(self, data: bytes) -> tuple[str, bytes]:
        text = self._decoder.decode(data)
        if self._held:
            data = self._held + data
        self._held = self._decoder.getstate()[0]
        return text, data[: len(data) - len(self._held)] if self._held else data

    def flush(self) -> tuple[str, bytes]:
        """The bytes of a character that never became whole, as U+FFFD."""
        text, data = self._decoder.decode(b"", final=True), self._held
        self._held = b""
        return text, data


class ExecStream:
    """The output of a running command: an iterator of :class:`ExecChunk`.

    ::

        with sandbox.exec_stream("make") as output:
            for chunk in output:
                print(chunk.data, end="")

    Started with ``stdin=True`` or ``tty=True`` it is a conversation::

        with sandbox.exec_stream(["python3", "-q"], tty=True) as python:
            python.write("6 * 7\n")

    The last chunk has ``is_final``. Reading slowly slows the command down. Leaving the loop, the ``with`` block or
    :meth:`close` detaches: the command runs on until its own timeout and its further output is discarded.
    :meth:`cancel` and Ctrl-C end it with its whole process tree.

    Raises from the iteration: :class:`ExecTimeout`, :class:`ExecKilled`, :class:`Cancelled`,
    :class:`ConnectionError`, :class:`VmError`.
    """

    def __init__(self, native: _core.Output) -> None:
        self._native = native
        self._decoders = {"stdout": StreamDecoder(), "stderr": StreamDecoder()}
        self._ready: deque[ExecChunk | OrkestrError] = deque()
        self._closed = False

    def __iter__(self) -> ExecStream:
        return self

    def __next__(self) -> ExecChunk:
        while not self._ready:
            if self._closed:
                raise StopIteration
            self._pull()
        item = self._ready.popleft()
        if isinstance(item, OrkestrError):
            raise item
        return item

    def _pull(self) -> None:
        """Takes the next native chunk and puts what comes of it, if anything, into ``_ready``."""
        try:
            chunk = self._native.next()
        except OrkestrError as error:
            self._end(error)
            return
        if chunk is None:
            self.close()
            return
        is_stdout, data, exit_code, duration_ms = chunk
        stream = "stdout" if is_stdout else "stderr"
        if exit_code is not None:
            self._end(ExecChunk(stream, "", exit_code, duration_ms))
            return
        text, exact = self._decoders[stream].decode(data)
        if text:
            self._ready.append(ExecChunk(stream, text, data_bytes=exact))

    def _end(self, last: ExecChunk | OrkestrError) -> None:
        for stream, decoder in self._decoders.items():
            text, exact = decoder.flush()
            if text:
                self._ready.append(ExecChunk(stream, text, data_bytes=exact))
        self._ready.append(last)
        self._closed = True
        self._native.close()

    def write(self, data: str | bytes, timeout_seconds: float | None = None) -> None:
        """Gives all of ``data`` (text as UTF-8) to a command that was started with ``stdin=True`` or ``tty=True``.

        Waits while the command does not read: ``timeout_seconds`` at most, else as long as it may run. Bytes for a
        command that has closed its input or ended go nowhere. From any thread, beside the iteration.

        Raises: :class:`ExecTimeout` when that time has passed, with some of it written; :class:`InvalidArgument`
        without an open input, and after :meth:`close_input`.
        """
        timeout_ms = -1 if timeout_seconds is None else max(0, check.milliseconds("timeout_seconds", timeout_seconds))
        self._native.write(check.content("data", data), timeout_ms)

    def close_input(self) -> None:
        """No more input: the command reads end of file, a terminal gets its end-of-file character. May be repeated."""
        self._native.close_input()

    def resize(self, cols: int, rows: int) -> None:
        """The terminal's new size, 1 to 1000 each; the command gets SIGWINCH. Only with ``tty=True``."""
        self._native.resize(check.integer("cols", cols), check.integer("rows", rows))

    @property
    def pid(self) -> int:
        """Process id in the guest; 0 until the command has started, and after :meth:`close`."""
        return self._native.pid

    def cancel(self) -> None:
        """Ends the command with its whole process tree. From any thread; the iteration then raises or ends."""
        self._native.cancel()

    def close(self) -> None:
        """Lets go of the command without ending it. From any thread; may be called again."""
        self._closed = True
        self._native.close()

    def __enter__(self) -> ExecStream:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if isinstance(error, KeyboardInterrupt):
            self.cancel()
        self.close()

    def __repr__(self) -> str:
        return f"<ExecStream pid {self.pid}>"
