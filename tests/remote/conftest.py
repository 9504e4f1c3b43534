"""Tests of the remote backend from Python, against the test service as a program of its own; and beside the service's published
client, which lives in a virtual environment of its own (ORKESTR_PUBLISHED_PYTHON)."""

from __future__ import annotations

import json
import os
import pathlib
import subprocess
import sys
import urllib.request
from typing import Iterator

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
SERVICE = ROOT / "build" / "bin" / "orkestr-test-service"
PROGRAM = ROOT / "build" / "bin" / "orkestr"
PUBLISHED = pathlib.Path(os.environ.get("ORKESTR_PUBLISHED_PYTHON", ROOT / ".venv-published" / "bin" / "python"))
PROXIES = ("http_proxy", "HTTP_PROXY", "https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY")


class Service:
    """A running orkestr-test-service."""

    def __init__(self, *arguments: str) -> None:
        self.process = subprocess.Popen(
            [str(SERVICE), *arguments], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        assert self.process.stdout is not None
        self.url, _, self.ca_file = self.process.stdout.readline().strip().partition(" ")
        assert self.url, "the test service did not start"

    def ask(self, path: str, body: object = None) -> object:
        data = None if body is None else json.dumps(body).encode()
        with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(self.url + path, data) as answer:
            text = answer.read()
        return json.loads(text) if text else None

    def requests(self) -> list[dict]:
        return self.ask("/_test/requests")  # type: ignore[return-value]

    def clear(self) -> None:
        self.ask("/_test/clear", {})

    @property
    def environment(self) -> dict[str, str]:
        clean = {name: value for name, value in os.environ.items() if name not in PROXIES and not name.startswith("ORKESTR_")}
        return {**clean, "ORKESTR_API_KEY": "test-key", "ORKESTR_BASE_URL": self.url}

    def stop(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.close()
        assert self.process.wait(30) == 0


@pytest.fixture(scope="session")
def service() -> Iterator[Service]:
    one = Service()
    yield one
    one.stop()


@pytest.fixture(scope="session")
def tls_service() -> Iterator[Service]:
    one = Service("--tls")
    yield one
    one.stop()


def run_python(code: str, environment: dict[str, str], python: str | pathlib.Path = sys.executable, seconds: float = 120) -> str:
    done = subprocess.run([str(python), "-c", code], capture_output=True, text=True, env=environment, timeout=seconds)
    assert done.returncode == 0, done.stderr
    return done.stdout
