"""The table of members notices what is missing, named differently, or excused for nothing."""

import sys

import pytest

from engine import HERE

sys.path.insert(0, str(HERE.parents[1] / "docs/tools"))
import errors
import members
import parity


@pytest.fixture
def doctored(monkeypatch):
    """Python's members, changed before they are compared."""

    def doctor(change):
        title, path, read = members.LANGUAGES["python"]

        def changed(groups):
            found = read(groups)
            change(found)
            return found

        monkeypatch.setitem(parity.LANGUAGES, "python", (title, path, changed))
        return parity.table()[1]

    return doctor


def test_as_it_is_nothing_is_wrong():
    assert parity.table()[1] == []
    assert errors.problems() == []


def test_a_missing_member(doctored):
    assert any("Python lacks Sandbox.pause" in one for one in doctored(lambda found: found.pop(("Sandbox", "pause"))))


def test_a_missing_option(doctored):
    assert any("Python lacks exec options.cwd" in one for one in doctored(lambda found: found.pop(("exec options", "cwd"))))


def test_another_name(doctored):
    wrong = doctored(lambda found: found.update({("Files", "remove_file"): found.pop(("Files", "delete"))}))
    assert any("Python lacks Files.delete" in one for one in wrong) and any("C++ lacks Files.remove_file" in one for one in wrong)


def test_an_excuse_that_is_not_needed(monkeypatch):
    monkeypatch.setitem(parity.ABOUT["absent"]["python"], "Sandbox.pause", "no reason")
    assert any("Sandbox.pause is of no use" in one for one in parity.table()[1])


@pytest.mark.parametrize(
    "language, member",
    [
        ("cpp", ("Sandbox", "exec_stream")), ("cpp", ("Sandbox", "on_timeout")), ("cpp", ("exec options", "max_output_bytes")),
        ("cpp", ("pool", "set")), ("cpp", ("ExecStream", "write_some")), ("cpp", ("OrkestrError", "console_tail")),
        ("cpp", ("PoolInfo", "ready")), ("python", ("Sandbox", "exec_stream")), ("python", ("Sandbox", "on_timeout")),
        ("python", ("exec options", "max_output_bytes")), ("python", ("pool", "set")), ("python", ("Metrics", "cpu_usage_cores")),
        ("python", ("OrkestrError", "retry_after")),
    ],
)  # fmt: skip
def test_members_that_must_be_found(language, member):
    groups = {group: names[language] for group, names in parity.ABOUT["groups"].items()}
    assert member in members.LANGUAGES[language][2](groups)


def test_cpp_that_is_not_public():
    groups = {group: names["cpp"] for group, names in parity.ABOUT["groups"].items()}
    found = {name for _, name in members.cpp(groups)}
    assert not {name for name in found if name.endswith("_") or name in ("impl", "Sandbox")}
