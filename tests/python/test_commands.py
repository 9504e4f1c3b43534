"""Background commands, and the rest of a running sandbox's surface: batches of files, what it uses, what is not there."""

from __future__ import annotations

import signal
import time
from datetime import datetime, timedelta, timezone

import pytest

from conftest import guest_processes, wait_until
from orkestr import (
    BackgroundCommand,
    ExecKilled,
    ExecTimeout,
    InvalidArgument,
    NotPermitted,
    NotSupported,
    OrkestrClient,
    OrkestrError,
    Sandbox,
    SandboxNotFound,
    SandboxNotReady,
    Snapshot,
)


def test_a_command_of_its_own(sandbox):
    command = sandbox.exec("echo $WHO; pwd; sleep 0.5; exit 3", cwd="/tmp", env={"WHO": "me"}, background=True, timeout_seconds=0.1)
    assert isinstance(command, BackgroundCommand)
    assert command.id.startswith("cmd_") and command.pid > 1
    assert (command.status, command.exit_code) == ("running", None)
    assert command.command.startswith("echo $WHO")
    assert abs(command.started_at - datetime.now(timezone.utc)) < timedelta(minutes=1)
    assert command.wait(timeout=60) == 3
    assert (command.status, command.exit_code) == ("exited", 3)
    logs = command.logs()
    assert (logs.content, logs.size, logs.truncated, logs.next_offset) == ("me\n/tmp\n", 8, False, 8)
    assert command.logs(offset=3).content == "/tmp\n"
    again = next(one for one in Sandbox.get(sandbox.id).commands() if one.id == command.id)
    assert again == command and again.refresh() is again
    again.kill()
    assert again.status == "exited"


def test_stream(sandbox):
    command = sandbox.exec("for i in 1 2 3; do echo $i; sleep 0.2; done; printf '\\303'; sleep 0.2; printf '\\244'", background=True)
    for chunk in command.stream():
        assert chunk.data.startswith("1\n") and chunk.stream == "stdout"
        break
    chunks = list(command.stream(offset=2))
    assert "".join(chunk.data for chunk in chunks) == "2\n3\nä"
    assert b"".join(chunk.data_bytes for chunk in chunks) == "2\n3\nä".encode()
    assert [chunk.is_final for chunk in chunks].count(True) == 1 and chunks[-1].exit_code == 0
    assert list(command.stream(offset=100))[-1].is_final


def test_times_and_kills(sandbox):
    command = sandbox.exec("echo begun; setsid sleep 7773 & sleep 7773", background=True)
    with pytest.raises(ExecTimeout, match="runs on"):
        command.wait(timeout=0.2)
    start = time.monotonic()
    with pytest.raises(ExecTimeout):
        for chunk in command.stream(timeout_seconds=1):
            assert chunk.data == "begun\n"
    assert 0.9 < time.monotonic() - start < 15
    assert command.refresh().status == "running"
    command.kill()
    assert (command.status, command.exit_code) == ("killed", None)
    assert guest_processes(sandbox, "7773") == []
    assert command.wait() is None
    with pytest.raises(ExecKilled) as caught:
        list(command.stream())
    assert caught.value.signal == signal.SIGTERM
    with pytest.raises(InvalidArgument):
        command.stream(timeout_seconds=0)
    with pytest.raises(InvalidArgument):
        command.logs(offset=-1)


def test_logs_are_cut_at_characters_and_may_be_read_on(sandbox):
    # 3 bytes each: no multiple of 1 MiB.
    command = sandbox.exec("python3 -c 'print(\"€\" * 500_000, end=\"\")'", background=True)
    assert command.wait(timeout=120) == 0
    text, offset = "", 0
    while True:
        logs = command.logs(offset=offset)
        text += logs.content
        offset += len(logs.content.encode())  # as programs for the published client do
        assert offset == logs.next_offset
        if not logs.truncated:
            break
    assert text == "€" * 500_000


def test_it_outlives_who_started_it(sandbox, script):
    code = "import sys, orkestr\nsb = orkestr.Sandbox.get(sys.argv[1])\n"
    code += "print(sb.exec('sleep 1; echo survived', background=True).id, flush=True)\nimport os; os.kill(os.getpid(), 9)"
    id = script(code, sandbox.id).line()
    command = next(one for one in sandbox.commands() if one.id == id)
    assert command.wait(timeout=60) == 0
    assert command.logs().content == "survived\n"


def test_an_interrupt_leaves_the_command_alone(sandbox, script):
    command = sandbox.exec("sleep 7774", background=True)
    code = "import sys, orkestr\nsb = orkestr.Sandbox.get(sys.argv[1])\n"
    code += "c = [one for one in sb.commands() if one.id == sys.argv[2]][0]\nprint('reading', flush=True)\n"
    for wait in ("c.wait()", "list(c.stream())"):
        reader = script(code + wait, sandbox.id, command.id)
        assert reader.line() == "reading"
        time.sleep(0.3)
        reader.process.send_signal(signal.SIGINT)
        start = time.monotonic()
        code_, _, err = reader.finish()
        assert code_ != 0 and "KeyboardInterrupt" in err and time.monotonic() - start < 5
    assert command.refresh().status == "running"
    command.kill()


def test_what_is_known_without_a_sandbox():
    command = BackgroundCommand("cmd_x", "true", None, "running", None, None)
    with pytest.raises(OrkestrError, match="commands()"):
        command.refresh()


def test_batch(sandbox):
    files = sandbox.files
    results = files.write_batch({"/workspace/b/1": "one", "/workspace/b/2": b"\xff\x00", "/workspace": "x"}, mode=0o600)
    assert [(one.path, one.bytes_written, one.error) for one in results] == [
        ("/workspace/b/1", 3, None),
        ("/workspace/b/2", 2, None),
        ("/workspace", None, "is_a_directory"),
    ]
    assert "/workspace" in results[2].message
    assert files.read_bytes("/workspace/b/2") == b"\xff\x00"
    stat = files.stat("/workspace/b/1")
    assert (stat.path, stat.exists, stat.mode) == ("/workspace/b/1", True, 0o600)
    assert files.write_batch([("/workspace/b/3", bytearray(b"x"))])[0].bytes_written == 1
    assert files.write_batch([]) == []
    with pytest.raises(InvalidArgument, match=r"files\[0\]"):
        files.write_batch(["/workspace/b"])
    with pytest.raises(NotPermitted):
        files.write_batch({"/etc/x": "x"})
    with pytest.raises(InvalidArgument, match="64"):
        files.write_batch([(f"/workspace/{i}", "") for i in range(65)])


def test_metrics(sandbox):
    metrics = sandbox.metrics()
    assert metrics.sandbox_id == sandbox.id and metrics.sandbox_status == "running"
    assert metrics.cpu.cores == 1 and metrics.cpu.usage_percent >= 0
    assert 0 < metrics.memory.usage_bytes < metrics.memory.limit_bytes == 1024 << 20
    assert 0 < metrics.memory.usage_percent < 100
    assert metrics.lifetime.cpu_seconds > 0 and metrics.lifetime.gb_seconds > 0
    assert metrics.samples[-1].mem_bytes == metrics.memory.usage_bytes
    assert metrics.samples[-1].t == metrics.as_of
    busy = sandbox.exec("while :; do :; done", background=True)
    assert wait_until(lambda: sandbox.metrics(since=metrics.as_of).cpu.usage_percent > 20, 30, 1.1)
    busy.kill()
    assert sandbox.metrics(since=datetime.now(timezone.utc) + timedelta(hours=1)).samples == []


def test_what_a_local_sandbox_does_not_have(sandbox):
    client = OrkestrClient(backend="local")
    for call in (
        lambda: sandbox.get_host(80),
        lambda: sandbox.preview_url(80),
        lambda: sandbox.snapshot("name"),
        lambda: sandbox.files.presign_download("/workspace/x"),
        lambda: sandbox.files.presign_upload("/workspace/x", expires_in=60),
        lambda: Snapshot.list(client=client),
        lambda: Snapshot.get("snap_x", client=client),
        lambda: Snapshot.delete("snap_x", client=client),
    ):
        with pytest.raises(NotSupported):
            call()
    with pytest.raises(InvalidArgument, match="65535"):
        sandbox.get_host(0)
    with pytest.raises(InvalidArgument, match="expires_in"):
        sandbox.files.presign_download("/workspace/x", expires_in=1)
    with pytest.raises(InvalidArgument, match="timeout"):
        sandbox.set_timeout(1)
    assert (sandbox.preview_auth, sandbox.preview_auth_token, sandbox.paused_expires_at) == (False, None, None)
    assert sandbox.refresh() is sandbox


def test_after_the_end(home):
    with Sandbox.create("python-3.12-bare") as ended:
        command = ended.exec("true", background=True)
    for call in (ended.commands, command.refresh, command.logs, lambda: ended.exec("true", background=True)):
        with pytest.raises(SandboxNotReady):
            call()
    metrics = ended.metrics()
    assert (metrics.sandbox_status, metrics.cpu.usage_percent, metrics.memory.usage_bytes) == ("terminated", None, None)
    with pytest.raises(SandboxNotFound):
        Sandbox.resume("sbx_nonsense")
