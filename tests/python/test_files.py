"""Files in a real machine."""

import gc
import hashlib
import os
import shutil
import signal
import threading
import time
from datetime import datetime, timedelta, timezone

import pytest
from conftest import TEMPLATE, processes_of

from orkestr import FileNotFound, InvalidArgument, IsADirectory, NotADirectory, NotPermitted, Sandbox, SandboxNotReady

pytestmark = pytest.mark.vm

EVERY_BYTE = bytes(range(256)) * 1024


def test_text_and_bytes(sandbox):
    files = sandbox.files
    files.write("/workspace/a/b/text.txt", "€uro\r\n")
    assert files.read("/workspace/a/b/text.txt") == "€uro\r\n"
    for content in (EVERY_BYTE, bytearray(EVERY_BYTE), memoryview(EVERY_BYTE), b""):
        files.write_bytes("/tmp/bytes", content)
        assert files.read_bytes("/tmp/bytes") == bytes(content)
    files.write("/tmp/bytes", b"\xff")
    with pytest.raises(InvalidArgument, match="0xff at offset 0"):
        files.read("/tmp/bytes")


def test_mode_and_stat(sandbox):
    sandbox.files.write("/tmp/tool", "#!/bin/sh\necho ran\n", mode=0o755)
    assert sandbox.run(["/tmp/tool"]).stdout == "ran\n"
    stat = sandbox.files.stat("/tmp/tool")
    assert (stat.exists, stat.is_dir, stat.size, stat.mode) == (True, False, 19, 0o755)
    assert abs(datetime.now(timezone.utc) - stat.modified_at) < timedelta(minutes=2)
    missing = sandbox.files.stat("/tmp/no")
    assert (missing.exists, missing.modified_at) == (False, None)
    assert sandbox.files.exists("/tmp/tool") and not sandbox.files.exists("/tmp/no")


def test_list_move_delete(sandbox):
    files = sandbox.files
    files.mkdir("/tmp/dir/sub")
    files.write("/tmp/dir/z", "12")
    entries = files.list("/tmp/dir")
    assert [(entry.name, entry.is_dir) for entry in entries] == [("sub", True), ("z", False)]
    assert (entries[1].size, entries[1].mode) == (2, 0o644)
    files.move("/tmp/dir/z", "/tmp/dir/y")
    files.delete("/tmp/dir/y")
    assert [entry.name for entry in files.list("/tmp/dir")] == ["sub"]


def test_names_that_are_not_utf8(sandbox):
    sandbox.run(["bash", "-c", "mkdir -p /tmp/odd && touch $'/tmp/odd/\\xff'"])
    (entry,) = sandbox.files.list("/tmp/odd")
    assert os.fsencode(entry.name) == b"\xff"
    sandbox.files.delete(f"/tmp/odd/{entry.name}")
    assert sandbox.files.list("/tmp/odd") == []


@pytest.mark.parametrize(
    "call, error, builtin",
    [
        (lambda f: f.read("/tmp/none"), FileNotFound, FileNotFoundError),
        (lambda f: f.read_stream("/tmp/none").read(), FileNotFound, FileNotFoundError),
        (lambda f: f.list("/tmp/none"), FileNotFound, FileNotFoundError),
        (lambda f: f.delete("/tmp/none"), FileNotFound, FileNotFoundError),
        (lambda f: f.read("/tmp"), IsADirectory, IsADirectoryError),
        (lambda f: f.delete("/workspace"), (IsADirectory, NotPermitted), OSError),
        (lambda f: f.list("/etc/passwd"), NotADirectory, NotADirectoryError),
        (lambda f: f.write("/etc/x", ""), NotPermitted, PermissionError),
        (lambda f: f.write("relative", ""), InvalidArgument, ValueError),
        (lambda f: f.write("/tmp/../etc/x", ""), InvalidArgument, ValueError),
        (lambda f: f.write("/tmp/\0", ""), InvalidArgument, ValueError),
        (lambda f: f.read("/" + "x" * 5000), InvalidArgument, ValueError),
        (lambda f: f.write("/tmp/x", 7), InvalidArgument, TypeError),
        (lambda f: f.write("/tmp/x", "\ud800"), InvalidArgument, ValueError),
    ],
)
def test_errors(sandbox, call, error, builtin):
    with pytest.raises(error) as caught:
        call(sandbox.files)
    assert isinstance(caught.value, builtin) and str(caught.value)


def test_streams_are_file_objects(sandbox, tmp_path):
    content = os.urandom(5_000_001)
    source = tmp_path / "source"
    source.write_bytes(content)
    with source.open("rb") as local, sandbox.files.write_stream("/workspace/big", mode=0o600) as remote:
        shutil.copyfileobj(local, remote, 777_777)
        assert not sandbox.files.exists("/workspace/big")
    assert sandbox.files.stat("/workspace/big").mode == 0o600
    digest = sandbox.exec("sha256sum /workspace/big").stdout.split()[0]
    assert digest == hashlib.sha256(content).hexdigest()
    with sandbox.files.read_stream("/workspace/big") as remote:
        assert remote.read(10) == content[:10]
        assert remote.read() == content[10:]
    sandbox.files.write("/tmp/lines", "a\nb\n")
    assert list(sandbox.files.read_stream("/tmp/lines")) == [b"a\n", b"b\n"]


def test_half_a_file_never_appears(sandbox):
    files = sandbox.files
    files.write("/tmp/kept", "old")
    with pytest.raises(ZeroDivisionError), files.write_stream("/tmp/kept") as writer:
        writer.write(b"new" * 1_000_000)
        raise ZeroDivisionError
    writer = files.write_stream("/tmp/kept")
    writer.write(b"new")
    del writer
    gc.collect()
    writer = files.write_stream("/tmp/kept")
    writer.write(b"new")
    writer.discard()
    writer.close()
    assert files.read("/tmp/kept") == "old"
    with pytest.raises(ValueError):
        writer.write(b"more")
    leftover = [entry.name for entry in files.list("/tmp") if "kept" in entry.name]
    assert leftover == ["kept"]


STALLED = {
    "read": lambda files: files.read_stream("/etc/passwd").read(10),
    "read all": lambda files: files.read_stream("/etc/passwd").read(),
    "write": lambda files: files.write_stream("/tmp/stalled").write(bytes(64 << 20)),
    "finish": lambda files: files.write_stream("/tmp/stalled").close(),
}


def test_a_signal_comes_through_a_transfer_that_stalls(stalled):
    def handle(*_):
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGUSR1, handle)
    try:
        for name, work in STALLED.items():
            threading.Timer(0.3, os.kill, (os.getpid(), signal.SIGUSR1)).start()
            start = time.monotonic()
            with pytest.raises(KeyboardInterrupt):
                work(stalled.files)
            assert time.monotonic() - start < 2, name
    finally:
        signal.signal(signal.SIGUSR1, before)


@pytest.fixture
def switched(home):
    """A sandbox, and what stops and continues its machine."""
    before = set(processes_of(home))
    with Sandbox.create(TEMPLATE, timeout_seconds=600) as sandbox:
        (machine,) = [pid for pid, command in processes_of(home).items() if pid not in before and "qemu" in command]
        yield sandbox, lambda sign: os.kill(machine, sign)
        os.kill(machine, signal.SIGCONT)


class Interrupt(Exception):
    pass


@pytest.fixture
def interrupts():
    def handle(*_):
        raise Interrupt

    before = signal.signal(signal.SIGUSR1, handle)
    yield
    signal.signal(signal.SIGUSR1, before)


def test_an_interrupted_read_loses_nothing(switched, interrupts):
    sandbox, machine = switched
    sandbox.exec("head -c 67108864 /dev/urandom > /tmp/random")
    digest = sandbox.exec("sha256sum /tmp/random").stdout.split()[0]

    def go_on():
        os.kill(os.getpid(), signal.SIGUSR1)
        time.sleep(0.005)  # most often within the same wait of the binding
        machine(signal.SIGCONT)

    content = bytearray()
    with sandbox.files.read_stream("/tmp/random") as reader:
        for _ in range(8):
            machine(signal.SIGSTOP)
            threading.Timer(0.5, go_on).start()
            with pytest.raises(Interrupt):
                while True:
                    content += reader.read1()
            time.sleep(0.1)
        content += reader.read()
    assert len(content) == 67108864 and hashlib.sha256(content).hexdigest() == digest


def test_what_was_interrupted_while_it_was_written_does_not_appear(switched, interrupts):
    sandbox, machine = switched
    sandbox.files.write("/tmp/whole", "old")
    for next_call in (lambda writer: writer.close(), lambda writer: writer.write(b"more"), lambda writer: writer.flush()):
        writer = sandbox.files.write_stream("/tmp/whole")
        machine(signal.SIGSTOP)
        threading.Timer(0.3, os.kill, (os.getpid(), signal.SIGUSR1)).start()
        with pytest.raises(Interrupt):
            writer.write(bytes(64 << 20))
        machine(signal.SIGCONT)
        with pytest.raises(SandboxNotReady, match="interrupted"):
            next_call(writer)
        assert writer.closed
        writer.close()
        assert sandbox.files.read("/tmp/whole") == "old"


def test_a_transfer_that_stalls_is_closed_from_another_thread(stalled):
    reader, writer = stalled.files.read_stream("/etc/passwd"), stalled.files.write_stream("/tmp/stalled")
    uses = [
        (lambda: reader.read(10), reader.close),
        (lambda: writer.write(bytes(64 << 20)), writer.discard),
    ]
    for use, close in uses:
        ended: list = []

        def run(use=use, ended=ended):
            try:
                use()
            except Exception as error:
                ended.append(error)

        thread = threading.Thread(target=run, daemon=True)
        thread.start()
        time.sleep(0.3)
        start = time.monotonic()
        close()
        thread.join(5)
        assert time.monotonic() - start < 1
        assert isinstance(ended[0], SandboxNotReady) and "closed" in str(ended[0])
    assert reader.closed and writer.closed
