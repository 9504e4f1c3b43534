"""Commands that are talked to while they run: an open standard input, a terminal, callbacks."""

import threading
import time

import pytest

from orkestr import Cancelled, ExecTimeout, InvalidArgument

pytestmark = pytest.mark.vm


def read_until(stream, text, so_far=""):
    while text not in so_far:
        chunk = next(stream)
        assert not chunk.is_final, so_far
        so_far += chunk.data
    return so_far


def test_a_conversation_over_a_terminal(sandbox):
    with sandbox.exec_stream(["python3", "-q"], tty=True, cols=100) as python:
        read_until(python, ">>> ")
        python.write("6 * 7\n")
        read_until(python, "\n42\r\n")
        python.resize(132, 50)
        python.write(b"import os; print('now', os.get_terminal_size().columns)\n")
        seen = read_until(python, "now 132")
        read_until(python, ">>> ", seen[seen.rindex("now 132") :])
        python.close_input()
        assert [chunk.exit_code for chunk in python if chunk.is_final] == [0]


def test_an_open_input(sandbox):
    with sandbox.exec_stream("cat; exit 3", stdin=True) as cat:
        cat.write("é")
        assert read_until(cat, "é") == "é"
        cat.write(memoryview(b"last"))
        cat.close_input()
        cat.close_input()
        with pytest.raises(InvalidArgument):
            cat.write("late")
        rest = list(cat)
        assert [chunk.data for chunk in rest] == ["last", ""] and rest[-1].exit_code == 3


def test_a_given_input_ends(sandbox):
    assert "".join(chunk.data for chunk in sandbox.exec_stream("cat", stdin="given")) == "given"
    assert "".join(chunk.data for chunk in sandbox.exec_stream("cat")) == ""


def test_writing_beside_reading_and_its_timeout(sandbox):
    much = b"x" * (6 << 20)
    with sandbox.exec_stream("sleep 2; wc -c", stdin=True) as count:
        start = time.monotonic()
        with pytest.raises(ExecTimeout, match=f"of {len(much)} bytes"):
            count.write(much, timeout_seconds=0.3)
        assert time.monotonic() - start < 5
    with sandbox.exec_stream("cat", stdin=True) as cat:

        def feed():
            cat.write(much)
            cat.close_input()

        writer = threading.Thread(target=feed)
        writer.start()
        assert sum(len(chunk.data) for chunk in cat) == len(much)
        writer.join()


def test_what_does_not_belong_is_refused(sandbox):
    with sandbox.exec_stream("true") as plain:
        with pytest.raises(InvalidArgument):
            plain.write("x")
        with pytest.raises(InvalidArgument):
            plain.resize(80, 24)
    with pytest.raises(InvalidArgument, match="cols is 0"):
        sandbox.exec_stream("true", tty=True, cols=0)
    with pytest.raises(InvalidArgument):
        sandbox.exec_stream("true", tty="yes")


def test_run_with_callbacks(sandbox):
    out, err = [], []
    result = sandbox.run("echo one; echo two >&2; exit 4", on_stdout=out.append, on_stderr=err.append)
    assert ("".join(out), "".join(err)) == ("one\n", "two\n")
    assert (result.stdout, result.stderr, result.exit_code) == ("one\n", "two\n", 4)
    assert result.stdout_total_bytes == 4 and not result.truncated


def test_run_with_a_terminal(sandbox):
    out = []
    result = sandbox.run("test -t 0 && stty size; cat", tty=True, cols=91, rows=7, on_stdout=out.append)
    assert result.exit_code == 0 and "7 91\r\n" in result.stdout and "".join(out) == result.stdout
    assert "typed\r\n" in sandbox.run(["cat"], tty=True, stdin="typed\n").stdout


def test_run_keeps_head_and_tail(sandbox):
    result = sandbox.run("seq 100000", max_output_bytes=4096, on_stdout=lambda text: None)
    assert result.truncated and len(result.stdout_bytes) == 4096 and result.stdout_total_bytes == 588895
    assert result.stdout == sandbox.run("seq 100000", max_output_bytes=4096).stdout


def test_run_with_an_input_that_is_made_as_it_goes(sandbox):
    assert sandbox.run(["wc", "-c"], stdin=(b"x" * 100_000 for _ in range(30))).stdout == "3000000\n"

    def broken():
        yield b"some"
        raise KeyError("no more")

    start = time.monotonic()
    with pytest.raises(KeyError):
        sandbox.run("cat; sleep 30", stdin=broken())
    assert time.monotonic() - start < 20


def test_what_a_callback_raises_ends_the_command(sandbox):
    def refuse(text):
        raise RuntimeError(text)

    with pytest.raises(RuntimeError, match="start"):
        sandbox.run("echo start; sleep 8383", on_stdout=refuse)
    end = time.monotonic() + 10
    while "8383" in (left := sandbox.exec("cat /proc/[0-9]*/cmdline | tr '\\0' ' ' | grep -o 'sleep 838[3]'").stdout):
        assert time.monotonic() < end, left
        time.sleep(0.1)


def test_errors_carry_the_output(sandbox):
    with pytest.raises(ExecTimeout) as caught:
        sandbox.run("echo before; sleep 30", timeout_seconds=0.5, on_stdout=lambda text: None)
    assert caught.value.stdout == "before\n"


def test_cancel_at_a_terminal(sandbox):
    with sandbox.exec_stream("echo start; sleep 30", tty=True) as stream:
        read_until(stream, "start")
        stream.cancel()
        with pytest.raises(Cancelled):
            list(stream)
