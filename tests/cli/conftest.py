"""Tests of the command line, as a person or a script uses it: only its arguments, streams and exit codes.

ORKESTR_PROGRAM names the program, else it is build/bin/orkestr. Templates come from ORKESTR_TEST_CACHE, else from the cache that
a program started here would use. State is in a directory of its own, of which nothing but records may be left.
"""

from __future__ import annotations

import json
import os
import pathlib
import shutil
import signal
import subprocess
import tempfile
from typing import Iterator

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
PROGRAM = os.environ.get("ORKESTR_PROGRAM", str(ROOT / "build" / "bin" / "orkestr"))
TEMPLATE = "python-3.12-bare"
LEFT_BY_AN_ENDED_SANDBOX = {"record.json", "events.jsonl"}


def real_cache() -> pathlib.Path:
    if "ORKESTR_TEST_CACHE" in os.environ:
        return pathlib.Path(os.environ["ORKESTR_TEST_CACHE"])
    if "ORKESTR_HOME" in os.environ:
        return pathlib.Path(os.environ["ORKESTR_HOME"], "cache")
    if os.geteuid() == 0:
        return pathlib.Path("/var/lib/orkestr/cache")
    return pathlib.Path(os.environ.get("XDG_CACHE_HOME", pathlib.Path.home() / ".cache"), "orkestr")


def default_signals() -> None:
    """A test run in the background of a script has Ctrl-C ignored, and would pass that on."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


class Cli:
    """`orkestr` with a state directory."""

    def __init__(self, home: pathlib.Path, **environment: str) -> None:
        self.home = home
        self.environment = {**os.environ, "ORKESTR_HOME": str(home), "ORKESTR_BACKEND": "local", **environment}

    def __call__(self, *arguments: str, input: bytes | None = None, seconds: float = 120) -> subprocess.CompletedProcess[bytes]:
        stdin = {"input": input} if input is not None else {"stdin": subprocess.DEVNULL}
        return subprocess.run(
            [PROGRAM, *arguments], capture_output=True, env=self.environment, timeout=seconds, **stdin
        )

    def ok(self, *arguments: str, input: bytes | None = None) -> str:
        done = self(*arguments, input=input)
        assert done.returncode == 0, (arguments, done.returncode, done.stdout, done.stderr)
        return done.stdout.decode()

    def json(self, *arguments: str):
        return json.loads(self.ok(*arguments, "--json"))

    def start(self, *arguments: str, nohup: bool = False, **options) -> subprocess.Popen[bytes]:
        options = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **options}
        program = ["nohup", PROGRAM] if nohup else [PROGRAM]
        return subprocess.Popen([*program, *arguments], env=self.environment, preexec_fn=default_signals, **options)


@pytest.fixture(scope="session")
def cli() -> Iterator[Cli]:
    home = pathlib.Path(tempfile.mkdtemp(prefix="orkestr-cli-"))
    (home / "cache").symlink_to(real_cache())
    cli = Cli(home)
    yield cli
    cli.ok("rm", "--all", "--yes")
    assert cli.json("ls") == []
    left = [path for path in (home / "state" / "sandboxes").rglob("*") if path.is_file() or path.is_socket()]
    surplus = [str(path) for path in left if path.name not in LEFT_BY_AN_ENDED_SANDBOX]
    assert surplus == [], "files of ended sandboxes"
    shutil.rmtree(home)


@pytest.fixture(scope="session")
def sandbox(cli) -> str:
    """The id of one running sandbox that the tests share."""
    return cli.ok("create", TEMPLATE, "--timeout", "1800", "--metadata", "suite=cli").strip()


@pytest.fixture
def empty(tmp_path) -> Cli:
    """A command line with a home of its own that nobody has used, and a cache that is its own."""
    return Cli(tmp_path / "home")
