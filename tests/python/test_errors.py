"""The exception classes, without a virtual machine."""

import builtins
import copy
import errno
import pathlib
import pickle
import re

import pytest

import orkestr
from orkestr import _core, errors

DETAILS = {
    "status_code": 0, "detail": "", "request_id": "", "retry_after": None, "signal": 0, "oom": False, "stdout_bytes":
    b"", "stderr_bytes": b"", "host": "", "port": 0, "rule": "", "stage": "", "console_tail": "",
}  # fmt: skip

# The table of all languages: ORKESTR_ERROR(code, class, status, when, hint).
ROW = re.compile(r'^ORKESTR_ERROR\((\w+), (\w+), (\d+), "(.*?)", "(.*)"\)$', re.M)
ROWS = ROW.findall((pathlib.Path(__file__).parents[2] / "src/base/errors.def").read_text())
CODES = [(cls, code) for code, cls, _, _, _ in ROWS]
# A class answers with its first code.
FIRST = {cls: (code, int(status) or None) for code, cls, status, _, _ in reversed(ROWS)}


def test_the_table_is_read_whole():
    text = (pathlib.Path(__file__).parents[2] / "src/base/errors.def").read_text()
    assert len(ROWS) == len(re.findall(r"^ORKESTR_ERROR", text, re.M)) > 20
    assert {cls for _, cls, _, _, _ in ROWS} | {"InvalidArgumentType"} == set(errors.__all__)


@pytest.mark.parametrize("name, code", CODES)
def test_a_native_error_becomes_the_class_of_its_code(name, code):
    error = errors.from_native(code, "what happened", DETAILS)
    assert type(error) is getattr(errors, name) is getattr(orkestr, name)
    assert (error.code, str(error), error.message, error.args) == (
        code,
        "what happened",
        "what happened",
        ("what happened",),
    )
    assert isinstance(error, errors.OrkestrError)


@pytest.mark.parametrize("name", FIRST)
def test_code_and_status_of_a_class(name):
    cls = getattr(errors, name)
    assert (cls("x").code, cls("x").status_code) == FIRST[name]
    assert cls("x", status_code=418).status_code == 418


@pytest.mark.parametrize("code, cls, status, when, hint", ROWS, ids=[row[0] for row in ROWS])
def test_class_and_hint_come_from_the_table(code, cls, status, when, hint):
    assert (_core.error_class(code), _core.error_hint(code)) == (cls, hint)
    assert errors.from_native(code, "m", DETAILS).hint == hint


@pytest.mark.parametrize(
    "name, builtin, number",
    [
        ("InvalidArgument", ValueError, None),
        ("InvalidArgumentType", TypeError, None),
        ("InvalidArgumentType", ValueError, None),
        ("FileNotFound", FileNotFoundError, errno.ENOENT),
        ("FileNotFound", errors.SandboxNotFound, errno.ENOENT),
        ("NotPermitted", PermissionError, errno.EPERM),
        ("IsADirectory", IsADirectoryError, errno.EISDIR),
        ("NotADirectory", NotADirectoryError, errno.ENOTDIR),
        ("FileExists", FileExistsError, errno.EEXIST),
        ("ConnectionError", builtins.ConnectionError, None),
        ("ExecTimeout", TimeoutError, errno.ETIMEDOUT),
        ("VolumeInUse", errors.SandboxNotReady, None),
        ("SnapshotCapReached", errors.PlanLimitError, None),
    ],
)
def test_relatives(name, builtin, number):
    with pytest.raises(builtin) as caught:
        raise getattr(errors, name)("what happened")
    assert str(caught.value) == "what happened" and isinstance(caught.value, errors.OrkestrError)
    with pytest.raises(errors.OrkestrError):
        raise getattr(errors, name)("what happened")
    if number is not None:
        assert caught.value.errno == number


RICH = [
    errors.OrkestrError("a", status_code=500, detail={"b": 1}, request_id="r"),
    errors.RateLimitError("a", retry_after=2.5),
    errors.FleetFull("a", retry_after=1),
    errors.ExecTimeout("a", stdout="é", stderr=b"\xff"),
    errors.ExecKilled("a", signal=9, oom=True, stdout="x"),
    errors.NetworkPolicyError("a", host="h", port=443, rule="deny"),
    errors.VmError("a", stage="boot", console_tail="panic"),
    errors.TemplateBuildError("a", step="pip", output="no"),
    errors.FileNotFound("a", detail="d"),
    errors.ConnectionError("a"),
    errors.InvalidArgumentType("a"),
]


@pytest.mark.parametrize("error", RICH, ids=lambda error: type(error).__name__)
@pytest.mark.parametrize("again", [copy.copy, lambda error: pickle.loads(pickle.dumps(error))], ids=["copy", "pickle"])
def test_copies_are_the_same_error(error, again):
    other = again(error)
    assert type(other) is type(error) and other.args == error.args and str(other) == str(error)
    assert other.__dict__ == error.__dict__
    assert (other.code, other.status_code) == (error.code, error.status_code)


def test_what_errors_carry():
    timeout = errors.from_native("exec_timeout", "m", DETAILS | {"stdout_bytes": b"\xff1", "stderr_bytes": b"2"})
    assert (timeout.stdout, timeout.stderr, timeout.stdout_bytes) == ("\ufffd1", "2", b"\xff1")
    killed = errors.from_native("exec_killed", "m", DETAILS | {"signal": 9, "oom": True})
    assert (killed.signal, killed.oom) == (9, True)
    vm = errors.from_native("vm_failed", "m", DETAILS | {"stage": "boot", "console_tail": "panic"})
    assert (vm.stage, vm.console_tail) == ("boot", "panic")
    build = errors.from_native("template_build_failed", "m", DETAILS | {"stage": "pip", "console_tail": "no"})
    assert (build.step, build.output) == ("pip", "no")
    policy = errors.from_native("network_policy_blocked", "m", DETAILS | {"host": "h", "port": 1, "rule": "r"})
    assert (policy.host, policy.port, policy.rule) == ("h", 1, "r")
    assert errors.from_native("rate_limited", "m", DETAILS | {"retry_after": 3.0}).retry_after == 3.0
    api = errors.from_native("api", "m", DETAILS | {"status_code": 502, "detail": "d", "request_id": "q"})
    assert (api.status_code, api.detail, api.request_id) == (502, "d", "q")


def test_a_code_of_a_later_library_is_kept():
    error = errors.from_native("from_the_future", "m", DETAILS)
    assert type(error) is errors.OrkestrError and (error.code, error.hint) == ("from_the_future", "")


def test_star_import_leaves_the_builtins_alone():
    names: dict = {}
    exec("from orkestr import *", names)
    assert not (set(names) - {"__builtins__"}) & set(dir(builtins))
