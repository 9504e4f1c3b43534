"""Tests of the Python package. What needs no virtual machine runs anywhere; the rest is marked `vm` and never skipped.

PYTHONPATH must name the build's `python` directory. Templates come from ORKESTR_TEST_CACHE, else from the cache that
a program started here would use. The tests have a state directory of their own, and at their end nothing of it may be
left but records.
"""

from __future__ import annotations

import contextlib
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from typing import Iterator

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
TEMPLATE = "python-3.12-bare"
LEFT_BY_AN_ENDED_SANDBOX = {"record.json", "events.jsonl"}


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "vm: starts virtual machines")


def real_cache() -> pathlib.Path:
    if "ORKESTR_TEST_CACHE" in os.environ:
        return pathlib.Path(os.environ["ORKESTR_TEST_CACHE"])
    if "ORKESTR_HOME" in os.environ:
        return pathlib.Path(os.environ["ORKESTR_HOME"], "cache")
    if os.geteuid() == 0:
        return pathlib.Path("/var/lib/orkestr/cache")
    return pathlib.Path(os.environ.get("XDG_CACHE_HOME", pathlib.Path.home() / ".cache"), "orkestr")


def processes_of(home: pathlib.Path) -> dict[int, str]:
    """Every other process that holds something under `home` open: supervisors and machines, whatever their names."""
    found = {}
    for entry in pathlib.Path("/proc").iterdir():
        if not entry.name.isdigit() or int(entry.name) == os.getpid():
            continue
        try:
            links = [os.readlink(fd) for fd in (entry / "fd").iterdir()]
            if any(link.startswith(f"{home}/") for link in links):
                found[int(entry.name)] = (
                    (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode("utf-8", "replace")[:80]
                )
        except OSError:
            continue
    return found


def wait_until(condition, seconds: float = 10, step: float = 0.05):
    """The first true value of condition(), or its last one."""
    end = time.monotonic() + seconds
    while not (value := condition()) and time.monotonic() < end:
        time.sleep(step)
    return value


@pytest.fixture(scope="session")
def home() -> Iterator[pathlib.Path]:
    directory = pathlib.Path(tempfile.mkdtemp(prefix="orkestr-python-"))
    (directory / "cache").symlink_to(real_cache())
    before = os.environ.get("ORKESTR_HOME")
    os.environ["ORKESTR_HOME"] = str(directory)
    os.environ["ORKESTR_BACKEND"] = "local"
    yield directory

    from orkestr import Sandbox

    for sandbox in Sandbox.list():
        sandbox.terminate()
    assert {sandbox.status for sandbox in Sandbox.list()} <= {"terminated", "failed"}
    wait_until(lambda: not processes_of(directory))
    assert processes_of(directory) == {}, "processes of ended sandboxes"
    left = [path for path in (directory / "state" / "sandboxes").rglob("*") if path.is_file() or path.is_socket()]
    surplus = [str(path) for path in left if path.name not in LEFT_BY_AN_ENDED_SANDBOX]
    assert surplus == [], "files of ended sandboxes"
    if before is None:
        del os.environ["ORKESTR_HOME"]
    else:
        os.environ["ORKESTR_HOME"] = before
    shutil.rmtree(directory)


@pytest.fixture(scope="session")
def sandbox(home):
    """One running sandbox that the tests share."""
    from orkestr import Sandbox

    with Sandbox.create(TEMPLATE, timeout_seconds=1800, metadata={"suite": "python"}) as shared:
        yield shared


@pytest.fixture
def stalled(home):
    """A sandbox whose machine stands still while the test runs: it takes nothing and gives nothing."""
    from orkestr import Sandbox

    before = set(processes_of(home))
    with Sandbox.create(TEMPLATE, timeout_seconds=600) as stalled:
        (machine,) = [pid for pid, command in processes_of(home).items() if pid not in before and "qemu" in command]
        os.kill(machine, signal.SIGSTOP)
        try:
            yield stalled
        finally:
            os.kill(machine, signal.SIGCONT)


@contextlib.contextmanager
def running_service() -> Iterator[str]:
    """The URL of a test service; its key is `test-key`, and 127.0.0.1 must not go through a proxy."""
    program = ROOT / "build" / "bin" / "orkestr-test-service"
    process = subprocess.Popen([program, "--no-record"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdin and process.stdout
    try:
        yield process.stdout.readline().split()[0]
    finally:
        process.stdin.close()
        assert process.wait(60) == 0


class Script:
    """Python code in another process that has the package and the same state directory."""

    def __init__(self, code: str, *arguments: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", code, *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            # A test run in the background of a script has Ctrl-C ignored, and would pass that on.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
        )

    def line(self) -> str:
        assert self.process.stdout is not None
        return self.process.stdout.readline().strip()

    def finish(self, seconds: float = 60) -> tuple[int, str, str]:
        try:
            out, err = self.process.communicate(timeout=seconds)
        except subprocess.TimeoutExpired:
            self.process.kill()
            out, err = self.process.communicate()
            pytest.fail(f"the script hung for {seconds} s; stdout {out!r}, stderr {err!r}")
        return self.process.returncode, out, err


@pytest.fixture
def script(home) -> Iterator[type[Script]]:
    started: list[Script] = []

    def start(code: str, *arguments: str) -> Script:
        started.append(Script(code, *arguments))
        return started[-1]

    yield start
    for one in started:
        if one.process.poll() is None:
            one.process.kill()
            one.process.communicate()


def guest_processes(sandbox, marker: str) -> list[str]:
    """Command lines in the guest that contain `marker`, the ones of this question left out."""
    listing = sandbox.exec(
        "for f in /proc/[0-9]*/cmdline; do tr '\\0' ' ' 2>/dev/null < $f && echo; done 2>/dev/null; true"
    )
    return [line for line in listing.stdout.splitlines() if marker in line and "/proc/" not in line]
