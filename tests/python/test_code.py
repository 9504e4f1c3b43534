"""The code interpreter: locally there is none; the rest against the test service."""

from __future__ import annotations

import base64
import dataclasses
import gc
import os
import signal
import threading
import time
from datetime import datetime, timedelta, timezone
from typing import Iterator

import pytest

from conftest import running_service, wait_until
from orkestr import (
    CodeContext,
    CodeError,
    CodeExecution,
    CodeResult,
    CodeStreamEvent,
    FileNotFound,
    InterpreterUnavailable,
    InvalidArgument,
    OrkestrClient,
    OrkestrError,
    Sandbox,
    SandboxNotFound,
    SandboxNotReady,
)

RICH = """
class Rich:
    def __repr__(self): return 'rich'
    def _repr_html_(self): return '<b>ü</b>'
    def _repr_png_(self): return b'\\x89PNG\\xff\\x00'
    def _repr_json_(self): return {'b': [1, 2.5, None, True], 'a': 'ü'}
    def _repr_chart_(self): return {'type': 'bar'}
"""
SLOW = "import time\nfor i in range(20):\n    print(i)\n    time.sleep(0.1)\nslow = 'done'"


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with pytest.MonkeyPatch.context() as patch, running_service() as where:
        patch.setenv("no_proxy", "127.0.0.1")
        yield where


@pytest.fixture(scope="module")
def client(url: str) -> Iterator[OrkestrClient]:
    with OrkestrClient("test-key", url) as one:
        yield one


@pytest.fixture
def interpreter(client: OrkestrClient) -> Iterator[Sandbox]:
    with Sandbox.create("code-interpreter", client=client) as one:
        yield one


def test_a_local_sandbox_has_none(sandbox):
    for ask in (
        lambda: sandbox.run_code("1"),
        lambda: list(sandbox.run_code_stream("1")),
        sandbox.create_code_context,
        sandbox.code_contexts,
    ):
        with pytest.raises(InterpreterUnavailable, match="local") as caught:
            ask()
        assert "exec" in f"{caught.value} {caught.value.hint}"


def test_a_template_without_one(client):
    with Sandbox.create("python-3.12", client=client) as plain:
        with pytest.raises(InterpreterUnavailable):
            plain.run_code("1")
        with pytest.raises(InterpreterUnavailable):
            list(plain.run_code_stream("1"))
        with pytest.raises(InterpreterUnavailable):
            plain.create_code_context()
        with pytest.raises(InterpreterUnavailable):
            plain.code_contexts()


def test_arguments(interpreter):
    context = interpreter.create_code_context()
    for run in (interpreter.run_code, interpreter.run_code_stream, context.run_code):
        for wrong in (5, b"1", None):
            with pytest.raises(TypeError, match="code is"):
                run(wrong)
        for wrong in (0, -1, 86401, float("nan")):
            with pytest.raises(InvalidArgument, match="timeout"):
                run("1", timeout_seconds=wrong)
        with pytest.raises(TypeError, match="timeout_seconds"):
            run("1", timeout_seconds="1")
        with pytest.raises(InvalidArgument, match="UTF-8"):
            run("'\udc80'")
        with pytest.raises(TypeError):
            run("1", 5)
    for run in (interpreter.run_code, interpreter.run_code_stream):
        with pytest.raises(InvalidArgument, match="language is ''"):
            run("1", language="")
        with pytest.raises(TypeError, match="language"):
            run("1", language=None)
        with pytest.raises(TypeError, match="context_id"):
            run("1", context_id=5)
    with pytest.raises(InvalidArgument, match="cwd is 'tmp'"):
        interpreter.create_code_context(cwd="tmp")
    with pytest.raises(TypeError, match="cwd"):
        interpreter.create_code_context(cwd=5)
    with pytest.raises(FileNotFound):
        interpreter.create_code_context(cwd="/nowhere")


def test_variables_stay(interpreter):
    first = interpreter.run_code("import sys\nx = 6\nprint('out ü')\nprint('err', file=sys.stderr)")
    assert first == CodeExecution([], "out ü\n", "err\n", None, 1, "default", first.duration_ms, False, False, [])
    assert first.text is None and type(first.duration_ms) is int and 0 <= first.duration_ms < 20000
    second = interpreter.run_code("display('shown')\nx * 7", language="python", context_id="default", timeout_seconds=20)
    assert second.results == [CodeResult("text", "'shown'"), CodeResult("text", "42")]
    assert (second.text, second.execution_count) == ("42", 2)
    assert interpreter.run_code("print('x' * 3_000_000)").truncated == ["stdout"]


def test_all_forms_of_a_result(interpreter):
    [result] = interpreter.run_code(RICH + "Rich()").results
    png = b"\x89PNG\xff\x00"
    assert result == CodeResult(
        type="chart",
        text="rich",
        html="<b>ü</b>",
        png=base64.b64encode(png).decode(),
        json={"b": [1, 2.5, None, True], "a": "ü"},
        chart={"type": "bar"},
    )
    assert result.png_bytes() == png and CodeResult("text").png_bytes() is None
    assert list(result.json) == ["b", "a"] and type(result.json["b"][0]) is int


def test_what_is_raised_interrupted_and_dead(interpreter):
    raised = interpreter.run_code("x = 5\n1 / 0")
    assert isinstance(raised.error, CodeError) and raised.error.traceback
    assert (raised.error.name, raised.error.value, raised.interrupted) == ("ZeroDivisionError", "division by zero", False)
    assert interpreter.run_code("import time\ntime.sleep(30)", timeout_seconds=0.3).interrupted
    assert interpreter.run_code("x").text == "5"
    died = interpreter.run_code("import os\nos._exit(3)")
    assert died.error and died.execution_count is None
    again = interpreter.run_code("x")
    assert again.restarted and again.error and again.error.name == "NameError"


def test_events_as_they_come(interpreter):
    start = time.monotonic()
    with interpreter.run_code_stream("print('one')\nimport time\ntime.sleep(1)\ndisplay(2)\n1 / 0") as stream:
        assert iter(stream) is stream
        first = next(stream)
        assert first == CodeStreamEvent("stream", stream="stdout", text=first.text) and first.text.startswith("one")
        assert time.monotonic() - start < 0.9
        rest = [event for event in stream if event.kind != "stream"]
        assert time.monotonic() - start > 0.9
        assert next(stream, None) is None
    result, error, done = rest
    assert result == CodeStreamEvent("result", result=CodeResult("text", "2"))
    assert error == CodeStreamEvent("error", error=done.execution.error) and error.error.name == "ZeroDivisionError"
    assert done == CodeStreamEvent("done", execution=done.execution)
    assert done.execution.results == [result.result] and done.execution.stdout == "one\n"
    with pytest.raises(SandboxNotFound, match="ctx_none"):
        list(interpreter.run_code_stream("1", context_id="ctx_none"))


def test_leaving_a_stream_leaves_the_run(interpreter):
    for event in interpreter.run_code_stream(SLOW):
        assert event.text and event.text.startswith("0")
        break
    assert interpreter.run_code("slow").text == "'done'"
    stream = interpreter.run_code_stream("1")
    stream.close()
    stream.close()
    assert list(stream) == []


def test_closed_from_another_thread(interpreter):
    stream = interpreter.run_code_stream("import time\ntime.sleep(20)", timeout_seconds=5)
    timer = threading.Timer(0.3, stream.close)
    timer.start()
    start = time.monotonic()
    assert list(stream) == []
    timer.join(5)
    assert not timer.is_alive() and time.monotonic() - start < 2


def test_signals_are_handled_beside_a_stream(interpreter):
    came = []
    before = signal.signal(signal.SIGALRM, lambda *_: came.append(1))
    signal.setitimer(signal.ITIMER_REAL, 0.013, 0.013)
    try:
        *pieces, done = interpreter.run_code_stream("import time\nfor i in range(100):\n    print(i)\n    time.sleep(0.01)")
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert len(came) > 20
    assert "".join(piece.text for piece in pieces) == "".join(f"{i}\n" for i in range(100)) == done.execution.stdout


@pytest.mark.parametrize("call", ["sandbox.run_code(code)", "list(sandbox.run_code_stream(code))", "sandbox.code_contexts()[0].run_code(code)"])
def test_an_interrupt_leaves_the_run_alone(interpreter, script, url, call):
    interpreter.run_code("slow = None")
    reader = script(
        "import sys\nfrom orkestr import OrkestrClient, Sandbox\nid, url, code = sys.argv[1:]\n"
        f"sandbox = Sandbox.get(id, client=OrkestrClient('test-key', url))\nprint('reading', flush=True)\n{call}",
        interpreter.id,
        url,
        SLOW,
    )
    assert reader.line() == "reading"
    assert wait_until(lambda: interpreter.code_contexts()[0].executions == 2)
    reader.process.send_signal(signal.SIGINT)
    start = time.monotonic()
    status, _, err = reader.finish()
    assert status != 0 and "KeyboardInterrupt" in err and time.monotonic() - start < 1.5
    assert interpreter.run_code("slow").text == "'done'"


def test_a_forked_child_leaves_it_alone(interpreter, script, url):
    code = """
import os, sys
from orkestr import OrkestrClient, Sandbox, SandboxNotReady
sandbox = Sandbox.get(sys.argv[1], client=OrkestrClient('test-key', sys.argv[2]))
context = sandbox.create_code_context()
stream = sandbox.run_code_stream("import time\\ntime.sleep(0.5)\\n7")
if (child := os.fork()) == 0:
    for ask in (lambda: next(stream), lambda: context.run_code("1"), context.restart, sandbox.code_contexts):
        try:
            ask()
        except SandboxNotReady:
            continue
        os._exit(1)
    stream.close()
    os._exit(0)
print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), [event.kind for event in stream])
"""
    assert script(code, interpreter.id, url).finish() == (0, "0 ['result', 'done']\n", "")


def test_contexts(interpreter, client):
    assert interpreter.code_contexts() == []
    context = interpreter.create_code_context(cwd="/tmp")
    assert context == CodeContext(context.id, "python", "/tmp", context.created_at, None, 0, True)
    assert abs(context.created_at - datetime.now(timezone.utc)) < timedelta(minutes=1)
    assert context.created_at.utcoffset() == timedelta(0)
    run = context.run_code("y = 1\nimport os\nos.getcwd()", timeout_seconds=20.5)
    assert (run.text, run.context_id) == ("'/tmp'", context.id)
    assert interpreter.run_code("y").error.name == "NameError"
    assert interpreter.run_code("y", context_id=context.id).text == "1"
    listed = next(one for one in Sandbox.get(interpreter.id, client=client).code_contexts() if one.id == context.id)
    assert listed.executions == 2 and listed.last_used_at >= listed.created_at
    assert listed != context and dataclasses.replace(listed, last_used_at=None, executions=0) == context
    listed.alive = False
    assert listed.restart() is listed and listed.alive
    assert context.run_code("y").error.name == "NameError"
    context.remove()
    with pytest.raises(SandboxNotFound):
        context.remove()
    with pytest.raises(SandboxNotFound):
        listed.run_code("1")
    interpreter.terminate()
    for ask in (interpreter.code_contexts, lambda: interpreter.run_code("1"), lambda: list(interpreter.run_code_stream("1"))):
        with pytest.raises(SandboxNotReady):
            ask()


def test_what_is_made_by_hand():
    for frozen in (CodeResult("text"), CodeError("E", "v", []), CodeStreamEvent("done")):
        with pytest.raises(dataclasses.FrozenInstanceError):
            setattr(frozen, "text", "x")
    context = CodeContext("ctx_x")
    assert (context.language, context.cwd, context.executions, context.alive) == ("python", None, 0, True)
    for use in (lambda: context.run_code("1"), context.restart, context.remove):
        with pytest.raises(OrkestrError, match=r"code_contexts\(\)"):
            use()


def memory() -> int:
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def test_nothing_stays_of_runs_and_streams(interpreter):
    def used() -> tuple[int, int]:
        gc.collect()
        return len(os.listdir("/proc/self/fd")), len(os.listdir("/proc/self/task"))

    def several(count: int) -> None:
        for _ in range(count):
            assert len(interpreter.run_code("print('x' * 1_000_000)").stdout) == 1_000_001
            assert len([*interpreter.run_code_stream("print('x' * 1_000_000)")][-1].execution.stdout) == 1_000_001
            next(interpreter.run_code_stream("print('x' * 1_000_000)"))

    several(5)
    before, memory_before = used(), memory()
    several(20)
    assert wait_until(lambda: all(now <= then + 2 for now, then in zip(used(), before))), (used(), before)
    assert memory() - memory_before < 25 << 20
