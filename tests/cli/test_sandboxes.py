"""Commands in real sandboxes."""

import fcntl
import json
import os
import pty
import select
import signal
import struct
import subprocess
import termios
import time

import pytest
from conftest import PROGRAM, TEMPLATE, Cli, real_cache

EVERY_BYTE = bytes(range(256)) * 1000


def test_run_streams_and_passes_everything(cli):
    script = "cat; echo problem >&2; echo $GREETING $PWD; exit 7"
    done = cli("run", TEMPLATE, "--env", "GREETING=hello", "--cwd", "/tmp", "--", "bash", "-c", script, input=EVERY_BYTE)
    assert done.returncode == 7
    assert done.stdout == EVERY_BYTE + b"hello /tmp\n"
    assert done.stderr == b"problem\n"
    assert cli.json("ls") == [] or all("suite" in one["metadata"] for one in cli.json("ls"))


def test_output_comes_as_it_is_written(cli, sandbox):
    process = cli.start("exec", sandbox, "--", "bash", "-c", "echo first; sleep 30")
    assert process.stdout.readline() == b"first\n"
    process.send_signal(signal.SIGINT)
    assert process.wait(20) == 130
    # The command is gone, the sandbox is not.
    assert "sleep" not in cli.ok("exec", sandbox, "--", "bash", "-c", "cat /proc/[0-9]*/comm")


def test_exit_codes_of_exec(cli, sandbox):
    def code(*arguments: str, **options) -> int:
        return cli("exec", sandbox, *arguments, **options).returncode

    assert code("--", "true") == 0
    assert code("--", "bash", "-c", "exit 42") == 42
    assert code("--", "bash", "-c", "kill -9 $$") == 137
    assert code("--timeout", "0.5", "--", "sleep", "60") == 124
    assert code("--timeout", "1s", "--", "sleep", "60") == 124
    assert code("--", "no-such-program") == 127
    assert code("--", "/etc/passwd") == 126
    assert code("--cwd", "relative", "--", "true") == 2
    # Arguments arrive as they are: brackets, empty ones, dashes.
    assert cli.ok("exec", sandbox, "--", "printf", "<%s>", "[a,b]", "", "--", "-x") == "<[a,b]><><--><-x>"


def test_a_shell_line_in_one_word(cli, sandbox):
    done = cli("exec", sandbox, "--", "ls -l /")
    assert done.returncode == 127 and done.stderr.decode().endswith("orkestr: a shell line is `-- sh -c 'ls -l /'`\n")
    assert b"sh -c" not in cli("exec", sandbox, "--", "no-such-program").stderr


def test_a_loop_keeps_its_standard_input(cli, sandbox):
    loop = f"while read -r word; do '{PROGRAM}' exec $FLAG {sandbox} -- bash -c 'cat; echo got $0' $word; done"

    def lines(flag: str) -> bytes:
        environment = {**cli.environment, "FLAG": flag}
        done = subprocess.run(["bash", "-c", loop], input=b"one\ntwo\n", capture_output=True, env=environment, timeout=60)
        return done.stdout

    assert lines("--no-stdin") == b"got one\ngot two\n"
    assert lines("") == b"two\ngot one\n"
    assert cli("run", TEMPLATE, "-n", "--", "cat", input=b"not for it").stdout == b""


def test_a_reader_that_leaves_ends_the_command(cli, sandbox):
    line = f"'{PROGRAM}' exec {sandbox} -- yes | head -n 2; echo ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", line], capture_output=True, env=cli.environment, timeout=60)
    assert done.stdout == b"y\ny\n141\n"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_run_ends_its_sandbox_when_it_is_ended(cli, number):
    process = cli.start("run", TEMPLATE, "--metadata", f"test={number}", "--", "bash", "-c", "echo up; sleep 60")
    assert process.stdout.readline() == b"up\n"
    assert len(cli.json("ls", "--metadata", f"test={number}")) == 1
    process.send_signal(number)
    assert process.wait(30) == 128 + number
    (ended,) = cli.json("ls", "-a", "--metadata", f"test={number}")
    assert ended["status"] == "terminated"


def test_a_signal_that_was_ignored_stays_ignored(cli, sandbox):
    process = cli.start("exec", sandbox, "--", "bash", "-c", "echo up; sleep 2; echo done", nohup=True)
    assert process.stdout.readline() == b"up\n"
    process.send_signal(signal.SIGHUP)
    assert process.communicate(timeout=20)[0] == b"done\n" and process.returncode == 0


def test_keep_and_prefixes(cli):
    done = cli("run", TEMPLATE, "--keep", "--", "bash", "-c", "echo kept > /workspace/file")
    assert done.returncode == 0, done.stderr
    kept = done.stderr.decode().strip()
    assert cli.ok("exec", kept[:-2].lower().removeprefix("sbx_"), "--", "cat", "/workspace/file") == "kept\n"
    other = cli.ok("create", TEMPLATE).strip()
    ambiguous = cli("inspect", "sbx_")
    assert ambiguous.returncode == 2 and kept in ambiguous.stderr.decode() and "give more" in ambiguous.stderr.decode()
    cli.ok("rm", other)
    assert cli.ok("rm", kept) == f"{kept}\n"
    assert kept not in [one["id"] for one in cli.json("ls")]
    assert [one["status"] for one in cli.json("ls", "-a") if one["id"] == kept] == ["terminated"]
    assert cli("exec", kept, "--", "true").returncode == 125


def test_a_beginning_of_the_only_one_that_lives_is_enough(tmp_path):
    home = Cli(tmp_path)
    (tmp_path / "cache").symlink_to(real_cache())
    first, second = (home.ok("create", TEMPLATE).strip() for _ in range(2))
    home.ok("rm", first)
    assert json.loads(home.ok("inspect", "sbx_", "--json"))["id"] == second
    assert '"created"' in home.ok("events", "sbx_", "--json")
    assert home.ok("rm", "sbx_") == f"{second}\n"
    ended = home("inspect", "sbx_")
    assert ended.returncode == 2 and first in ended.stderr.decode() and second in ended.stderr.decode()


def test_looking(cli, sandbox):
    (listed,) = cli.json("ls", "--metadata", "suite=cli")
    shown = cli.json("inspect", sandbox)
    assert listed == shown
    assert (shown["id"], shown["status"], shown["backend"]) == (sandbox, "running", "local")
    table = cli.ok("ls").splitlines()
    assert any(line.startswith(sandbox) and "suite=cli" in line for line in table[1:])
    assert sandbox in cli.ok("inspect", sandbox)
    assert sandbox in [line.split("\t")[0] for line in cli.ok("__complete", "exec", "sbx").splitlines()]


def test_events(cli, sandbox):
    cli.ok("exec", sandbox, "--", "bash", "-c", "exit 0 # marked")
    events = [json.loads(line) for line in cli.ok("events", sandbox, "--json").splitlines()]
    assert [event["kind"] for event in events[:2]] == ["created", "running"]
    assert any("marked" in event.get("command", "") and event["exit_code"] == 0 for event in events)
    assert [event["time"] for event in events] == sorted(event["time"] for event in events)
    assert "marked" in cli.ok("events", sandbox, "--since", "1m")
    assert cli.ok("events", sandbox, "--since", "2100-01-01T00:00:00Z") == ""
    assert cli("events", sandbox, "--since", "yesterday").returncode == 2


def test_events_are_followed_to_the_end(cli):
    made = cli.ok("create", TEMPLATE).strip()
    process = cli.start("events", made, "--follow", "--json")
    assert json.loads(process.stdout.readline())["kind"] == "created"
    assert json.loads(process.stdout.readline())["kind"] == "running"
    cli.ok("exec", made, "--", "true")
    assert json.loads(process.stdout.readline())["kind"] == "exec"
    cli.ok("rm", made)
    rest, errors = process.communicate(timeout=20)
    assert [json.loads(line)["kind"] for line in rest.splitlines()] == ["terminated"]
    assert process.returncode == 0, errors


def test_copy_a_tree_both_ways(cli, sandbox, tmp_path):
    tree = tmp_path / "tree"
    for number in range(1000):
        path = tree / f"d{number % 10}" / f"file {number}"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(os.urandom(number))
    (tree / "d0").chmod(0o700)
    (tree / "d1" / "file 1").chmod(0o751)
    (tree / "large").write_bytes(os.urandom(3_000_000))
    cli.ok("cp", str(tree), f"{sandbox}:/workspace/copy")
    cli.ok("cp", f"{sandbox}:/workspace/copy", str(tmp_path / "back"))
    compare = ["diff", "-r", str(tree), str(tmp_path / "back")]
    assert subprocess.run(compare, capture_output=True).stdout == b""
    for path in tree.rglob("*"):
        assert (tmp_path / "back" / path.relative_to(tree)).stat().st_mode == path.stat().st_mode, path
    # Into a directory that is there, under its own name.
    cli.ok("cp", f"{sandbox}:/workspace/copy/d1", str(tmp_path / "back"))
    assert (tmp_path / "back" / "d1" / "file 1").stat().st_mode & 0o777 == 0o751


SPECIAL = """
mkdir -p top/sub top/closed; chmod 750 top top/sub; cd top
echo one > sub/file; ln -s sub/file link; ln -s . loop; ln -s sub directory; ln -s nowhere dangling; ln -s /dev/zero device; mkfifo pipe
python3 -c 'import socket; socket.socket(socket.AF_UNIX).bind("socket")'
"""
LEFT_OUT = {"loop", "directory", "dangling", "device", "pipe", "socket"}


def test_what_is_no_file_is_left_out_both_ways(cli, sandbox, tmp_path):
    def left_out(done) -> dict[str, str]:
        assert done.returncode == 0, done.stderr
        lines = [line.removeprefix("orkestr: left out ") for line in done.stderr.decode().splitlines()]
        return {line.split(": ", 1)[0].rsplit("/", 1)[1]: line.split(": ", 1)[1] for line in lines}

    cli.ok("exec", sandbox, "-w", "/tmp", "--", "bash", "-ec", SPECIAL)
    said = left_out(cli("cp", f"{sandbox}:/tmp/top", str(tmp_path / "down")))
    assert said.keys() == LEFT_OUT and "link to a directory" in said["loop"] and "pipe" in said["pipe"]
    subprocess.run(["bash", "-ec", SPECIAL], cwd=tmp_path, check=True)
    said = left_out(cli("cp", str(tmp_path / "top"), f"{sandbox}:/tmp/up"))
    assert said.keys() == LEFT_OUT and "link to a directory" in said["loop"]
    there = cli.ok("exec", sandbox, "-w", "/tmp/up", "--", "find", "-mindepth", "1", "-printf", "%P %y %m\\n").splitlines()
    here = subprocess.run(["find", "-mindepth", "1", "-printf", "%P %y %m\\n"], cwd=tmp_path / "down", capture_output=True, text=True)
    assert sorted(there) == sorted(here.stdout.splitlines())
    assert {line.split()[0] for line in there} == {"sub", "sub/file", "link", "closed"} and "sub d 750" in there
    # A link that is named is followed.
    cli.ok("cp", f"{sandbox}:/tmp/top/directory", str(tmp_path / "named"))
    assert (tmp_path / "named" / "file").read_text() == "one\n"


def test_half_a_copy_has_the_modes_of_its_directories(cli, sandbox, tmp_path):
    cli.ok("exec", sandbox, "-w", "/tmp", "--", "bash", "-ec", "mkdir -p half/a half/b; echo x > half/b/file; chmod 755 half half/a")
    (tmp_path / "half" / "b").mkdir(parents=True)
    (tmp_path / "half" / "b" / "file").mkdir()
    done = cli("cp", f"{sandbox}:/tmp/half", str(tmp_path))
    assert done.returncode == 1 and b"file" in done.stderr
    assert [(tmp_path / "half" / name).stat().st_mode & 0o777 for name in (".", "a", "b")] == [0o755] * 3


def test_copy_names_the_directory_that_is_missing(cli, sandbox, tmp_path):
    missing = tmp_path / "missing"
    for source, name in (("/etc/os-release", "file"), ("/etc/apt", "directory")):
        done = cli("cp", f"{sandbox}:{source}", str(missing / name))
        assert done.returncode == 1
        assert done.stderr.decode() == f"orkestr: write {missing / name}: there is no directory {missing}/\n"


def test_copy_single_files_and_streams(cli, sandbox, tmp_path):
    (tmp_path / "run.sh").write_text("#!/bin/sh\necho ran\n")
    (tmp_path / "run.sh").chmod(0o755)
    cli.ok("cp", str(tmp_path / "run.sh"), f"{sandbox}:/workspace/")
    assert cli.ok("exec", sandbox, "--", "/workspace/run.sh") == "ran\n"
    cli.ok("cp", "-", f"{sandbox}:/tmp/bytes", input=EVERY_BYTE)
    assert cli("cp", f"{sandbox}:/tmp/bytes", "-").stdout == EVERY_BYTE
    missing = cli("cp", f"{sandbox}:/workspace/missing", str(tmp_path))
    assert missing.returncode == 1 and b"/workspace/missing" in missing.stderr
    assert cli("cp", str(tmp_path / "run.sh"), f"{sandbox}:/etc/run.sh").returncode == 1


def test_shell_needs_a_terminal(cli, sandbox):
    done = cli("shell", sandbox)
    assert done.returncode == 1 and b"needs a terminal" in done.stderr


class Terminal:
    """`orkestr` on a terminal of its own."""

    def __init__(self, cli, *arguments: str) -> None:
        self.pid, self.fd = pty.fork()
        if self.pid == 0:
            os.environ.update(cli.environment, TERM="xterm")
            os.execv(PROGRAM, [PROGRAM, *arguments])
        self.seen = b""

    def resize(self, columns: int, rows: int) -> None:
        fcntl.ioctl(self.fd, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def expect(self, text: bytes, seconds: float = 30) -> None:
        end = time.monotonic() + seconds
        while text not in self.seen:
            ready, _, _ = select.select([self.fd], [], [], max(0, end - time.monotonic()))
            assert ready, f"{text!r} did not come; seen: {self.seen!r}"
            try:
                self.seen += os.read(self.fd, 65536)
            except OSError:  # the other end is closed
                break
        assert text in self.seen, self.seen
        self.seen = self.seen.split(text, 1)[1]

    def type(self, text: bytes) -> None:
        os.write(self.fd, text)

    def exit_code(self) -> int:
        _, status = os.waitpid(self.pid, 0)
        os.close(self.fd)
        return os.waitstatus_to_exitcode(status)


def test_shell_on_a_terminal(cli, sandbox):
    terminal = Terminal(cli, "shell", sandbox)
    terminal.type(b"stty size; tty; echo mark$((40 + 2))\n")
    terminal.expect(b"/dev/pts/")
    terminal.expect(b"mark42")
    terminal.resize(123, 45)
    # SIGWINCH and the next command race, as they do in any terminal.
    for _ in range(50):
        terminal.type(b"echo size=$(stty size)=\n")
        terminal.expect(b"size=")
        terminal.expect(b"=\r\n")
        time.sleep(0.1)
        terminal.type(b"[ \"$(stty size)\" = '45 123' ] && echo re''sized || echo st''ale\n")
        try:
            terminal.expect(b"resized", 3)
            break
        except AssertionError:
            continue
    else:
        pytest.fail("the size never arrived")
    # Ctrl-C is the guest's: it ends its sleep, and the shell goes on.
    terminal.type(b"sleep 60\n")
    time.sleep(1)
    terminal.type(b"\x03")
    terminal.type(b"echo al''ive\n")
    terminal.expect(b"alive")
    terminal.type(b"exit 9\n")
    assert terminal.exit_code() == 9


def test_run_with_a_terminal_has_colour_only_there(cli, sandbox):
    terminal = Terminal(cli, "ls")
    terminal.expect(b"\x1b[1mID")
    terminal.expect(sandbox.encode())
    assert terminal.exit_code() == 0


def test_rm_all_that_is_not_confirmed(cli, sandbox):
    terminal = Terminal(cli, "rm", "--all")
    terminal.expect(b"[y/N]")
    terminal.type(b"n\n")
    terminal.expect(b"nothing was ended\r\n")
    assert terminal.exit_code() == 1
    done = cli("rm", "--all")
    assert done.returncode == 2 and b"without a terminal to ask on, --yes is needed" in done.stderr
    assert sandbox in cli.ok("ls")


def test_a_machine_that_never_fits_is_refused_at_once(cli):
    with open("/proc/meminfo") as file:
        total_mb = int(file.readline().split()[1]) // 1024
    if total_mb > 65536:
        pytest.skip("this machine has more memory than a sandbox may ask for")
    start = time.monotonic()
    done = cli("create", TEMPLATE, "--memory-mb", "65536")
    assert done.returncode == 1 and f"{total_mb} MB of memory in all" in done.stderr.decode()
    assert time.monotonic() - start < 5


def test_doctor_is_content_with_this_machine(cli):
    report = cli.json("doctor")
    assert [finding for finding in report["findings"] if finding["level"] == "problem"] == []
    checks = {finding["check"] for finding in report["findings"]}
    assert checks == {
        "helpers", "qemu", "accelerator", "isolation", "state directory", "cache directory", "disk space", "memory",
        "kernel", "templates", "build tools", "leftovers",
    }  # fmt: skip
    (accelerator,) = [finding for finding in report["findings"] if finding["check"] == "accelerator"]
    assert "tcg" in accelerator["message"] or "iterations/s" in accelerator["message"]
    (kernel,) = [finding for finding in report["findings"] if finding["check"] == "kernel"]
    assert os.uname().release in kernel["message"] and "cloud-amd64" in kernel["message"]
    assert all(finding["remedy"] for finding in report["findings"] if finding["level"] != "ok")
