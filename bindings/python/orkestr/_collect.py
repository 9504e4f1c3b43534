"""A stream driven to its end: what ``Sandbox.run`` does where the output is shown, or the input made, as it goes."""

from __future__ import annotations

import threading
from typing import Callable, Iterator

from . import _arguments as check
from .errors import ExecKilled, ExecTimeout
from .process import ExecResult, ExecStream

_DEFAULT_CAP = 64 << 20


class KeptOutput:
    """The first and the last half of ``cap`` bytes, as the native library keeps them."""

    def __init__(self, cap: int) -> None:
        self._half, self._head, self._tail, self.total = cap // 2, bytearray(), bytearray(), 0
        self._tail_cap = cap - self._half

    def append(self, data: bytes) -> None:
        self.total += len(data)
        room = self._half - len(self._head)
        self._head += data[:room]
        self._tail += data[room:]
        if len(self._tail) > 2 * self._tail_cap:  # not each time: that would move all of it for every piece
            del self._tail[: -self._tail_cap]

    def bytes(self) -> bytes:
        return bytes(self._head) + bytes(self._tail[-self._tail_cap :])


class _Feeder(threading.Thread):
    """Writes the pieces of an iterable; whatever it raises ends the command."""

    def __init__(self, stream: ExecStream, pieces: Iterator[object]) -> None:
        super().__init__(name="orkestr-stdin", daemon=True)
        self._stream, self._pieces = stream, pieces
        self.error: BaseException | None = None
        self.stopped = False

    def run(self) -> None:
        try:
            for piece in self._pieces:
                if self.stopped:
                    return
                self._stream.write(check.content("a piece of stdin", piece))
            self._stream.close_input()
        except BaseException as error:
            if not self.stopped:
                self.error = error
                self._stream.cancel()


def collect(
    stream: ExecStream,
    pieces: Iterator[object] | None,
    tty: bool,
    callbacks: dict[str, Callable[[str], object] | None],
    max_output_bytes: int | None,
) -> ExecResult:
    cap = _DEFAULT_CAP if max_output_bytes is None else max_output_bytes
    kept = {"stdout": KeptOutput(cap), "stderr": KeptOutput(cap)}
    feeder = None
    if pieces is not None:
        feeder = _Feeder(stream, pieces)
        feeder.start()
    elif tty:
        stream.close_input()
    try:
        for chunk in stream:
            if chunk.is_final:
                break
            kept[chunk.stream].append(chunk.data_bytes)
            callback = callbacks[chunk.stream]
            if callback is not None:
                callback(chunk.data)
    except BaseException as error:
        stream.cancel()
        if feeder is not None and feeder.error is not None:
            raise feeder.error from None
        if isinstance(error, (ExecTimeout, ExecKilled)):
            error.stdout_bytes, error.stderr_bytes = kept["stdout"].bytes(), kept["stderr"].bytes()
        raise
    finally:
        if feeder is not None:
            feeder.stopped = True
        stream.close()
    out, err = kept["stdout"].bytes(), kept["stderr"].bytes()
    assert chunk.exit_code is not None and chunk.duration_ms is not None
    return ExecResult(
        stdout=out.decode("utf-8", "replace"),
        stderr=err.decode("utf-8", "replace"),
        exit_code=chunk.exit_code,
        duration_ms=chunk.duration_ms,
        stdout_bytes=out,
        stderr_bytes=err,
        stdout_total_bytes=kept["stdout"].total,
        stderr_total_bytes=kept["stderr"].total,
        truncated=any(len(data) < kept[name].total for name, data in (("stdout", out), ("stderr", err))),
    )
