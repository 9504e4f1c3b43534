"""The command line against a service: the test service as a program of its own."""

from __future__ import annotations

import json
import os
import pathlib
import subprocess
from typing import Iterator

import pytest
from conftest import PROGRAM, ROOT, TEMPLATE

PROXIES = ("http_proxy", "HTTP_PROXY", "https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY")
KEY = "test-key"


@pytest.fixture(scope="module")
def service() -> Iterator[str]:
    process = subprocess.Popen(
        [ROOT / "build" / "bin" / "orkestr-test-service", "--no-record"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdin and process.stdout
    yield process.stdout.readline().split()[0]
    process.stdin.close()
    assert process.wait(30) == 0


class Remote:
    """`orkestr` with some environment and a home that nothing local may use."""

    def __init__(self, home: pathlib.Path, first: list[str], **environment: str) -> None:
        self.home, self.first = home, first
        clean = {name: value for name, value in os.environ.items() if name not in PROXIES and not name.startswith("ORKESTR_")}
        self.environment = {**clean, "ORKESTR_HOME": str(home), **environment}

    def __call__(self, *arguments: str, input: bytes | None = None) -> subprocess.CompletedProcess[bytes]:
        stdin = {"input": input} if input is not None else {"stdin": subprocess.DEVNULL}
        return subprocess.run([PROGRAM, *self.first, *arguments], capture_output=True, env=self.environment, timeout=60, **stdin)

    def ok(self, *arguments: str) -> str:
        done = self(*arguments)
        assert done.returncode == 0, (arguments, done.returncode, done.stdout, done.stderr)
        return done.stdout.decode()


@pytest.fixture(params=["--base-url", "--remote", "variables"])
def remote(request, service, tmp_path) -> Iterator[Remote]:
    """All ways to say that it is a service."""
    home = tmp_path / "home"
    if request.param == "--base-url":
        yield Remote(home, ["--base-url", service], ORKESTR_API_KEY=KEY)
    elif request.param == "--remote":
        yield Remote(home, ["--remote"], ORKESTR_API_KEY=KEY, ORKESTR_BASE_URL=service)
    else:
        yield Remote(home, [], ORKESTR_API_KEY=KEY, ORKESTR_BASE_URL=service)
    assert not list(home.rglob("record.json")), "a local sandbox"


def test_a_sandbox_of_the_service(remote, tmp_path):
    id = remote.ok("create", TEMPLATE, "--timeout", "600", "--metadata", "suite=remote-cli").strip()
    try:
        [one] = [one for one in json.loads(remote.ok("ls", "--json")) if one["id"] == id]
        assert (one["backend"], one["status"]) == ("remote", "running")
        done = remote("exec", id, "--", "bash", "-c", "echo out; echo err >&2; exit 3")
        assert (done.returncode, done.stdout, done.stderr) == (3, b"out\n", b"err\n")
        (tmp_path / "up").write_bytes(bytes(range(256)))
        remote.ok("cp", str(tmp_path / "up"), f"{id}:/workspace/file")
        remote.ok("cp", f"{id}:/workspace/file", str(tmp_path / "down"))
        assert (tmp_path / "down").read_bytes() == bytes(range(256))
        remote.ok("exec", id, "--", "bash", "-c", "mkdir -p tree/sub; ln -s sub tree/link; echo text > tree/sub/file")
        done = remote("cp", f"{id}:/workspace/tree", str(tmp_path / "tree"))
        assert done.returncode == 0 and b"left out /workspace/tree/link: " in done.stderr
        assert (tmp_path / "tree" / "sub" / "file").read_text() == "text\n" and not (tmp_path / "tree" / "link").exists()
        command = remote.ok("exec", "--background", id, "--", "echo", "in", "the", "background").strip()
        assert command in remote.ok("commands", id)
        assert remote.ok("logs", id, command, "--follow") == "in the background\n"
    finally:
        remote.ok("rm", id)
    assert id not in remote.ok("ls")


def test_run(remote):
    done = remote("run", TEMPLATE, "--", "sh", "-c", "echo once; exit 5")
    assert (done.returncode, done.stdout) == (5, b"once\n")


def test_what_a_service_does_not_have(remote):
    id = remote.ok("create", TEMPLATE).strip()
    try:
        done = remote("events", id)
        assert done.returncode == 1 and b"remote" in done.stderr
        done = remote("exec", id, "--", "cat", input=b"standard input")
        assert done.returncode == 125 and b"remote" in done.stderr
    finally:
        remote.ok("rm", id)


def test_without_a_key(service, tmp_path):
    done = Remote(tmp_path, ["--base-url", service])("ls")
    assert done.returncode == 1 and b"ORKESTR_API_KEY" in done.stderr


def test_a_wrong_key_is_refused_and_not_shown(service, tmp_path):
    done = Remote(tmp_path, ["--base-url", service], ORKESTR_API_KEY="sk-very-wrong")("ls")
    assert done.returncode == 1
    assert b"sk-very-wrong" not in done.stdout + done.stderr and b"key" in done.stderr


def test_nobody_listens(tmp_path):
    done = Remote(tmp_path, ["--base-url", "http://127.0.0.1:1"], ORKESTR_API_KEY=KEY)("ls")
    assert done.returncode == 1 and b"127.0.0.1" in done.stderr


def test_local_is_not_asked_of_a_service(service, tmp_path):
    """ORKESTR_BACKEND=local keeps code on this machine, whatever other variable is set."""
    here = Remote(tmp_path / "home", [], ORKESTR_API_KEY=KEY, ORKESTR_BASE_URL=service, ORKESTR_BACKEND="local")
    assert json.loads(here.ok("ls", "--json")) == []
