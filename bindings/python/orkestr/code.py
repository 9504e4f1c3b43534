"""The code interpreter of a service: code run in an interpreter that stays, with rich results."""

from __future__ import annotations

import base64
from dataclasses import dataclass, field
from datetime import datetime
from json import loads
from types import TracebackType
from typing import Any

from . import _arguments as check
from . import _core
from .errors import OrkestrError
from .files import to_datetime


@dataclass(frozen=True)
class CodeResult:
    """One rich result of a run, in all forms in which the interpreter gave it: of a table ``text`` and ``html``, of a
    figure ``png``.

    Attributes:
        type: the richest of them: ``"text"``, ``"html"``, ``"image_png"``, ``"json"`` or ``"chart"``; a newer service
            may have more.
        png: the image as base64; :meth:`png_bytes` has its bytes.
        json: as ``json.loads`` gives it.
        chart: what a figure shows, as data.
    """

    type: str
    text: str | None = None
    html: str | None = None
    png: str | None = None
    json: dict[str, Any] | list[Any] | None = None
    chart: dict[str, Any] | None = None

    @classmethod
    def _from_native(cls, record: _core.CodeResultRecord) -> CodeResult:
        png, json, chart = record["png"], record["json"], record["chart"]
        return cls(
            type=record["type"],
            text=record["text"],
            html=record["html"],
            png=None if png is None else base64.b64encode(png).decode(),
            json=None if json is None else loads(json),
            chart=None if chart is None else loads(chart),
        )

    def png_bytes(self) -> bytes | None:
        """The image; None when this is none."""
        return None if self.png is None else base64.b64decode(self.png)


@dataclass(frozen=True)
class CodeError:
    """The exception that the code ended with: a result, which nothing raises here. What was done up to it is kept.

    Attributes:
        name: ``"ZeroDivisionError"``.
        value: ``"division by zero"``.
        traceback: its lines.
    """

    name: str
    value: str
    traceback: list[str]


def _error(record: _core.CodeErrorRecord | None) -> CodeError | None:
    return None if record is None else CodeError(**record)


@dataclass(frozen=True)
class CodeExecution:
    """What a run gave.

    Attributes:
        error: the exception that the code ended with.
        execution_count: the number of this run in its context.
        duration_ms: as the service measured it.
        interrupted: the timeout passed: the run was ended, the variables of the context are kept.
        restarted: the interpreter had died and was started anew: the variables are lost.
        truncated: which outputs the service has cut.
    """

    results: list[CodeResult]
    stdout: str
    stderr: str
    error: CodeError | None
    execution_count: int | None
    context_id: str
    duration_ms: int
    interrupted: bool
    restarted: bool
    truncated: list[str]

    @classmethod
    def _from_native(cls, record: _core.CodeExecutionRecord) -> CodeExecution:
        return cls(
            results=[CodeResult._from_native(one) for one in record["results"]],
            stdout=record["stdout"],
            stderr=record["stderr"],
            error=_error(record["error"]),
            execution_count=record["execution_count"],
            context_id=record["context_id"],
            duration_ms=record["duration_ms"],
            interrupted=record["interrupted"],
            restarted=record["restarted"],
            truncated=record["truncated"],
        )

    @property
    def text(self) -> str | None:
        """The text of the last result that has one: what the last expression shows."""
        return next((one.text for one in reversed(self.results) if one.text is not None), None)


@dataclass(frozen=True)
class CodeStreamEvent:
    """One event of a run as it happens; what its ``kind`` does not have is None.

    Attributes:
        kind: ``"stream"`` (``stream`` and ``text``), ``"result"``, ``"error"`` (the code raised; ``"done"`` still comes)
            or ``"done"`` (``execution``).
        stream: ``"stdout"`` or ``"stderr"``.
        execution: as :meth:`Sandbox.run_code` returns it, with everything that came before.
    """

    kind: str
    stream: str | None = None
    text: str | None = None
    result: CodeResult | None = None
    error: CodeError | None = None
    execution: CodeExecution | None = None

    @classmethod
    def _from_native(cls, record: _core.CodeEventRecord) -> CodeStreamEvent:
        result, execution = record["result"], record["execution"]
        return cls(
            kind=record["kind"],
            stream=record["stream"],
            text=record["text"],
            result=None if result is None else CodeResult._from_native(result),
            error=_error(record["error"]),
            execution=None if execution is None else CodeExecution._from_native(execution),
        )


class CodeStream:
    """The events of a run: an iterator of :class:`CodeStreamEvent`, the last one ``"done"``.

    Reading slowly slows the run down. Leaving the loop, the ``with`` block and :meth:`close` leave the run going on until
    its own timeout, and so does Ctrl-C.

    Raises from the iteration: :class:`InterpreterUnavailable`, :class:`SandboxNotFound` for an unknown context,
    :class:`SandboxNotReady`, :class:`ConnectionError`.
    """

    def __init__(self, native: _core.CodeOutput) -> None:
        self._native = native

    def __iter__(self) -> CodeStream:
        return self

    def __next__(self) -> CodeStreamEvent:
        record = self._native.next()
        if record is None:
            raise StopIteration
        return CodeStreamEvent._from_native(record)

    def close(self) -> None:
        """Lets go of the run. From any thread; may be called again."""
        self._native.close()

    def __enter__(self) -> CodeStream:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


@dataclass
class CodeContext:
    """One interpreter in a sandbox, with variables of its own. It survives pause and resume and ends with its sandbox.

    From ``sandbox.create_code_context()`` and ``sandbox.code_contexts()``, where any process finds it. The attributes are
    as of then; ``alive`` also as of the last :meth:`restart`.

    Attributes:
        id: what ``sandbox.run_code(context_id=…)`` takes.
        cwd: None when the service did not say.
        created_at, last_used_at: timezone-aware.
        executions: runs so far.
        alive: its interpreter runs.
    """

    id: str
    language: str = "python"
    cwd: str | None = None
    created_at: datetime | None = None
    last_used_at: datetime | None = None
    executions: int = 0
    alive: bool = True
    _native: _core.CodeContext | None = field(default=None, repr=False, compare=False)

    @classmethod
    def _of(cls, native: _core.CodeContext) -> CodeContext:
        info = native.info()
        created, used = info["created_at"], info["last_used_at"]
        return cls(
            id=info["id"],
            language=info["language"],
            cwd=info["cwd"] or None,
            created_at=None if created is None else to_datetime(created),
            last_used_at=None if used is None else to_datetime(used),
            executions=info["executions"],
            alive=info["alive"],
            _native=native,
        )

    def _live(self) -> _core.CodeContext:
        if self._native is None:
            raise OrkestrError(
                f"code context {self.id} was made by hand and belongs to no sandbox; take it from code_contexts()"
            )
        return self._native

    def run_code(self, code: str, *, timeout_seconds: float = 60) -> CodeExecution:
        """:meth:`Sandbox.run_code` in this context."""
        text, timeout_ms = check.text("code", code), check.milliseconds("timeout_seconds", timeout_seconds)
        return CodeExecution._from_native(self._live().run_code(text, timeout_ms))

    def restart(self) -> CodeContext:
        """Gives it a new interpreter, without variables, under the same id, and returns the context.

        Raises: :class:`SandboxNotFound` when it is gone.
        """
        self._live().restart()
        self.alive = self._live().info()["alive"]
        return self

    def remove(self) -> None:
        """Ends its interpreter and forgets the context. There is no way back.

        Raises: :class:`SandboxNotFound` when it is gone already.
        """
        self._live().remove()
