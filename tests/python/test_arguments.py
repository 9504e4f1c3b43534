"""Bad arguments are refused before anything starts; signatures are the documented ones. No virtual machine."""

import inspect
import math

import pytest

import orkestr
import orkestr.sandbox
from orkestr import AuthError, ConnectionError, InvalidArgument, OrkestrClient, Sandbox, verify_webhook_signature
from orkestr import _arguments as check
from orkestr.files import to_datetime

CREATE = {
    "template": None, "size": "small", "cpu": None, "memory_mb": None, "disk_mb": None, "network": "off", "timeout_seconds": 600,
    "on_timeout": "kill", "auto_resume": False, "paused_ttl_seconds": None, "preview_auth": False, "env": None, "metadata": None, "region": None,
    "allow_domains": None, "volume": None, "snapshot": None, "api_key": None, "client": None, "max_retries": 5,
    "retry_max_seconds": 60, "auto_build": True, "on_progress": None,
}  # fmt: skip


def parameters(function):
    return {name: p.default for name, p in inspect.signature(function).parameters.items() if name != "self"}


def test_signatures():
    empty = inspect.Parameter.empty
    assert parameters(Sandbox.create) == CREATE
    kinds = [p.kind for p in inspect.signature(Sandbox.create).parameters.values()]
    assert kinds[0] is inspect.Parameter.POSITIONAL_OR_KEYWORD and set(kinds[1:]) == {inspect.Parameter.KEYWORD_ONLY}
    assert parameters(Sandbox.list) == {
        "status": None, "metadata": None, "limit": 50, "max_results": None, "api_key": None, "client": None,
    }  # fmt: skip
    assert parameters(Sandbox.get) == {"sandbox_id": empty, "api_key": None, "client": None}
    assert parameters(Sandbox.resume) == {
        "sandbox_id": empty, "max_retries": 5, "retry_max_seconds": 60, "api_key": None, "client": None,
    }  # fmt: skip
    command = {"command": empty, "cwd": "/workspace", "env": None, "timeout_seconds": 60}
    assert parameters(Sandbox.exec) == command | {"background": False}
    assert parameters(Sandbox.exec_stream) == command | {
        "stdin": None, "user": None, "tty": False, "cols": 80, "rows": 24,
    }  # fmt: skip
    assert parameters(orkestr.sandbox.Files.write) == {"path": empty, "content": empty, "mode": 0o644}
    assert parameters(orkestr.sandbox.Files.mkdir) == {"path": empty, "parents": True}
    assert list(parameters(OrkestrClient))[:3] == ["api_key", "base_url", "timeout"]
    assert list(parameters(orkestr.ExecResult))[:4] == ["stdout", "stderr", "exit_code", "duration_ms"]
    assert list(parameters(orkestr.ExecChunk))[:4] == ["stream", "data", "exit_code", "duration_ms"]
    assert list(parameters(orkestr.FileEntry)) == ["name", "is_dir", "size", "mode", "modified_at"]


def test_values_are_frozen():
    result = orkestr.ExecResult("a", "b", 0, 1)
    assert (result.stdout, result.stderr, result.exit_code, result.duration_ms) == ("a", "b", 0, 1)
    with pytest.raises(AttributeError):
        result.exit_code = 1


@pytest.mark.parametrize(
    "arguments, words",
    [
        ({"env": {"A": 1}}, ["env['A']", "int", "1", "allowed: str"]),
        ({"env": {1: "A"}}, ["a key of env", "int"]),
        ({"env": ["A=1"]}, ["env", "list", "mapping"]),
        ({"metadata": {"job": None}}, ["metadata['job']", "NoneType"]),
        ({"template": 3}, ["template", "int"]),
        ({"size": 1}, ["size", "int"]),
        ({"timeout_seconds": "600"}, ["timeout_seconds", "str", "'600'", "number"]),
        ({"timeout_seconds": True}, ["timeout_seconds", "bool"]),
        ({"timeout_seconds": math.nan}, ["timeout_seconds", "nan", "finite"]),
        ({"retry_max_seconds": math.inf}, ["retry_max_seconds", "inf"]),
        ({"memory_mb": 1.5}, ["memory_mb", "float", "int"]),
        ({"memory_mb": 10**30}, ["memory_mb", str(10**30), "256 to 65536"]),
        ({"cpu": "2"}, ["cpu", "str"]),
        ({"auto_resume": 1}, ["auto_resume", "True or False"]),
        ({"allow_domains": "example.org"}, ["allow_domains", "a list of str"]),
        ({"allow_domains": [1]}, ["allow_domains[0]", "int"]),
        ({"env": {"A": "\ud800"}}, ["env['A']", "surrogate"]),
        ({"client": "key"}, ["client", "OrkestrClient"]),
    ],
)
def test_create_names_argument_value_and_what_is_allowed(arguments, words):
    with pytest.raises(InvalidArgument) as caught:
        Sandbox.create(**({"template": "python-3.12-bare"} | arguments))
    assert isinstance(caught.value, ValueError)
    for word in words:
        assert word in str(caught.value)


def test_a_wrong_type_is_a_type_error_too():
    with pytest.raises(TypeError):
        Sandbox.get(7)
    for arguments in ((), ("python-3.12-bare",)):
        with pytest.raises(TypeError, match="use Sandbox.create"):
            Sandbox(*arguments)
    with pytest.raises(TypeError, match="use Sandbox.create"):
        Sandbox(template="python-3.12-bare")


@pytest.mark.parametrize(
    "arguments, words",
    [
        ({"size": "huge"}, ["huge", "small", "medium", "large"]),
        ({"network": "on"}, ["on", "off", "restricted", "open"]),
        ({"on_timeout": "explode"}, ["explode", "kill", "pause"]),
        ({"timeout_seconds": 1}, ["timeout", "10"]),
        ({"memory_mb": 1}, ["memory_mb", "256"]),
        ({"cpu": 1000}, ["cpu", "16"]),
        ({"env": {"1A": "x"}}, ["env", "1A"]),
        ({"template": None}, ["template", "python-3.12-bare"]),
    ],
)
def test_ranges_are_refused_by_the_library(arguments, words, monkeypatch, tmp_path):
    monkeypatch.setenv("ORKESTR_HOME", str(tmp_path))
    monkeypatch.setenv("ORKESTR_BACKEND", "local")
    with pytest.raises(InvalidArgument) as caught:
        Sandbox.create(**({"template": "python-3.12-bare"} | arguments), client=OrkestrClient(backend="local"))
    for word in words:
        assert word in str(caught.value)


def test_remote_is_chosen(monkeypatch):
    monkeypatch.delenv("ORKESTR_API_KEY", raising=False)
    monkeypatch.delenv("ORKESTR_BASE_URL", raising=False)
    assert OrkestrClient("key").backend == "remote"
    with pytest.raises(AuthError, match="ORKESTR_API_KEY"):
        OrkestrClient(backend="remote")
    with pytest.raises(InvalidArgument, match="base_url"):
        OrkestrClient("key", "ftp://example.test")
    with pytest.raises(InvalidArgument, match="cloud"):
        OrkestrClient(backend="cloud")


def test_a_key_is_never_shown():
    client = OrkestrClient("very-secret", "http://127.0.0.1:1")
    assert "very-secret" not in repr(client)
    with pytest.raises(ConnectionError) as caught:
        Sandbox.limits(client=client)
    assert "very-secret" not in str(caught.value) and "base_url" in str(caught.value)
    with pytest.raises(InvalidArgument) as caught:
        OrkestrClient("very-secret\n")
    assert "very-secret" not in str(caught.value)


def test_clients(monkeypatch, tmp_path):
    monkeypatch.setenv("ORKESTR_HOME", str(tmp_path))
    with OrkestrClient(backend="local") as client:
        assert client.backend == "local" and repr(client) == "<OrkestrClient local>"
        assert Sandbox.list(client=client) == []
    client.close()
    with pytest.raises(InvalidArgument):
        orkestr.set_default_client("local")
    monkeypatch.setenv("ORKESTR_BACKEND", "local")
    try:
        orkestr.set_default_client(OrkestrClient("key"))
        assert orkestr.get_default_client().backend == "remote"
    finally:
        orkestr.set_default_client(None)
    assert orkestr.get_default_client().backend == "local"
    orkestr.set_default_client(None)
    with pytest.raises(InvalidArgument, match="api_key"):
        Sandbox.list(api_key=[])


def test_names_that_are_not_utf8_go_there_and_back():
    assert check.text("path", b"/tmp/\xff".decode("utf-8", "surrogateescape")) == b"/tmp/\xff"


def test_seconds_are_rounded_up():
    assert [check.seconds("t", value) for value in (1, 1.0, 1.2, 10**30, -1)] == [1, 1, 2, 10**9, -1]
    assert [check.milliseconds("t", value) for value in (1, 0.0001, 0.0)] == [1000, 1, 0]


def test_times_beyond_the_calendar():
    assert to_datetime(0).isoformat() == "1970-01-01T00:00:00+00:00"
    assert to_datetime(2**62).year == 9999 and to_datetime(-(2**62)).year == 1


def test_a_signature_that_is_not_right_is_false_whatever_it_is():
    body = b"what do ya want for nothing?"
    good = "sha256=5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"
    assert verify_webhook_signature("Jefe", body, good)
    for header in (None, "", "\udc80", b"", good.encode(), 7, [good]):
        assert verify_webhook_signature("Jefe", body, header) is False
    anybodys = "sha256=76d9e7194e7dbc3aa00bbe8ffb9f6fcb5a932170f971f948bb2ab61607d2b9d6"
    assert verify_webhook_signature("", body, anybodys) is False
