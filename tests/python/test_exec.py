"""Commands in a real machine."""

import threading
import time

import pytest
from conftest import guest_processes, processes_of, wait_until

from orkestr import ExecKilled, ExecTimeout, InvalidArgument

pytestmark = pytest.mark.vm

EVERY_BYTE = bytes(range(256)) * 64


def test_result(sandbox):
    result = sandbox.exec("echo out; echo err >&2; exit 3")
    assert (result.stdout, result.stderr, result.exit_code) == ("out\n", "err\n", 3)
    assert isinstance(result.duration_ms, int) and 0 <= result.duration_ms < 10_000
    assert result.stdout_bytes == b"out\n" and result.stdout_total_bytes == 4 and not result.truncated
    assert result.network_denied == [] and result.max_rss_kb > 0


def test_environment_and_directory(sandbox):
    assert sandbox.exec("pwd").stdout == "/workspace\n"
    assert sandbox.exec("pwd; echo $A", cwd="/tmp", env={"A": "ä b"}).stdout == "/tmp\nä b\n"
    with pytest.raises(InvalidArgument):
        sandbox.exec("pwd", cwd="tmp")
    with pytest.raises(InvalidArgument, match="run\\(\\) takes a list"):
        sandbox.exec(["pwd"])


def test_run_argv_stdin_user(sandbox):
    assert sandbox.run(["printf", "%s|", "a b", "$HOME"]).stdout == "a b|$HOME|"
    assert sandbox.run("printf %s $HOME").stdout == "/root"
    assert sandbox.run(["cat"], stdin="é").stdout == "é"
    assert sandbox.run(["cat"]).stdout == ""
    assert sandbox.run(["id", "-un"], user="nobody").stdout == "nobody\n"


def test_every_byte_both_ways(sandbox):
    result = sandbox.run(["cat"], stdin=EVERY_BYTE)
    assert result.stdout_bytes == EVERY_BYTE
    assert result.stdout == EVERY_BYTE.decode("utf-8", "replace")
    assert sandbox.run(["cat"], stdin=memoryview(EVERY_BYTE)[::2]).stdout_bytes == EVERY_BYTE[::2]


def test_output_cap_keeps_head_and_tail(sandbox):
    result = sandbox.run("seq 100000", max_output_bytes=4096)
    assert result.truncated and result.stdout.startswith("1\n2\n") and result.stdout.endswith("99999\n100000\n")
    assert result.stdout_total_bytes == 588895 and len(result.stdout_bytes) < 8192


def test_timeout_ends_the_tree_and_the_sandbox_lives(sandbox):
    start = time.monotonic()
    with pytest.raises(ExecTimeout) as caught:
        sandbox.exec("echo before; setsid sleep 7771 & sleep 7771", timeout_seconds=0.5)
    assert time.monotonic() - start < 10
    assert caught.value.stdout == "before\n" and isinstance(caught.value, TimeoutError)
    assert guest_processes(sandbox, "7771") == []
    assert sandbox.exec("echo alive").stdout == "alive\n"


def test_killed(sandbox):
    with pytest.raises(ExecKilled) as caught:
        sandbox.run(["bash", "-c", "echo before; kill -9 $$"])
    assert (caught.value.signal, caught.value.oom, caught.value.stdout) == (9, False, "before\n")


def test_stream(sandbox):
    chunks = list(sandbox.exec_stream("echo one; echo two >&2; exit 4"))
    assert "".join(chunk.data for chunk in chunks if chunk.stream == "stdout") == "one\n"
    assert "".join(chunk.data for chunk in chunks if chunk.stream == "stderr") == "two\n"
    assert [chunk.is_final for chunk in chunks] == [False] * (len(chunks) - 1) + [True]
    assert chunks[-1].exit_code == 4 and chunks[-1].data == "" and isinstance(chunks[-1].duration_ms, int)


def test_stream_comes_as_it_is_written(sandbox):
    with sandbox.exec_stream("echo now; sleep 30") as output:
        start = time.monotonic()
        assert next(output).data == "now\n"
        assert time.monotonic() - start < 10 and output.pid > 0
        output.cancel()
    assert wait_until(lambda: guest_processes(sandbox, "sleep 30") == [])


def test_a_character_written_in_two_pieces_is_whole(sandbox):
    code = "import os, time\nfor byte in '€😀'.encode() * 3:\n    os.write(1, bytes([byte])); time.sleep(0.02)"
    sandbox.files.write("/tmp/slow.py", code)
    chunks = list(sandbox.exec_stream("python3 /tmp/slow.py"))
    assert "".join(chunk.data for chunk in chunks) == "€😀" * 3
    assert all("\ufffd" not in chunk.data for chunk in chunks)


def test_stream_timeout(sandbox):
    with pytest.raises(ExecTimeout):
        for chunk in sandbox.exec_stream("echo x; sleep 100", timeout_seconds=0.5):
            assert chunk.data == "x\n"


@pytest.mark.parametrize("leave", ["break", "close", "with"])
def test_leaving_a_stream_detaches(sandbox, leave):
    mark = f"/tmp/detached-{leave}"
    command = f"echo first; sleep 1; head -c 4000000 /dev/zero; echo done > {mark}"
    output = sandbox.exec_stream(command)
    if leave == "break":
        for _ in output:
            break
        del output
    elif leave == "close":
        next(output)
        output.close()
        assert list(output) == []
    else:
        with output:
            next(output)
    assert wait_until(lambda: sandbox.files.exists(mark), 20)


def test_cancel_from_another_thread(sandbox):
    output = sandbox.exec_stream("echo x; sleep 7772")
    assert next(output).data == "x\n"
    timer = threading.Timer(0.3, output.cancel)
    timer.start()
    start = time.monotonic()
    try:
        list(output)
    except Exception as error:
        assert getattr(error, "code", None) in ("cancelled", "exec_killed")
    assert time.monotonic() - start < 10
    timer.join()
    assert guest_processes(sandbox, "7772") == []


def test_waiting_leaves_other_threads_running(sandbox):
    counter = 0
    worker = threading.Thread(target=sandbox.exec, args=("sleep 1",))
    worker.start()
    while worker.is_alive():
        counter += 1
        time.sleep(0.001)
    assert counter > 100


def test_sixteen_threads_on_one_handle(sandbox):
    failures = []

    def work(number: int) -> None:
        try:
            for turn in range(5):
                text = f"{number}.{turn}"
                assert sandbox.run(["echo", text]).stdout == f"{text}\n"
                sandbox.files.write(f"/tmp/thread-{number}", text)
                assert sandbox.files.read(f"/tmp/thread-{number}") == text
                assert "".join(chunk.data for chunk in sandbox.exec_stream(f"echo {text}")) == f"{text}\n"
        except BaseException as error:  # noqa: BLE001  an assertion in a thread is lost otherwise
            failures.append(error)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []


def resident_mb(pid) -> float:
    for line in open(f"/proc/{pid}/status"):
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) / 1024
    return 0.0


def test_200_mb_read_slowly_with_flat_memory(sandbox, home):
    size = 200 * 1024 * 1024
    pids = ["self", *processes_of(home)]
    before: dict = {}
    seen = 0
    for chunk in sandbox.exec_stream(f"head -c {size} /dev/zero", timeout_seconds=300):
        seen += len(chunk.data_bytes)
        if not before and seen > 20 * 1024 * 1024:
            time.sleep(2)  # the producer runs into whatever there is to fill
            before = {pid: resident_mb(pid) for pid in pids}
        time.sleep(0.0005)
    assert seen == size
    growth = {pid: resident_mb(pid) - before[pid] for pid in pids}
    assert max(growth.values()) < 24, growth
