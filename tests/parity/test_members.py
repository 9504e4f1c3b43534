"""The table of members notices what is missing, named differently, or excused for nothing."""

import shutil
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
        title, path, read, public = members.LANGUAGES["python"]

        def changed(groups):
            found = read(groups)
            change(found)
            return found

        monkeypatch.setitem(parity.LANGUAGES, "python", (title, path, changed, public))
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


@pytest.fixture
def copied(monkeypatch, tmp_path):
    """A copy of all that is public, to add to."""
    for path in ("include/orkestr", "bindings/python/orkestr"):
        shutil.copytree(members.ROOT / path, tmp_path / path, ignore=shutil.ignore_patterns("__pycache__"))
    for path in ("capi/orkestr.h", "bindings/node/index.d.ts", "src/base/errors.def"):
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(members.ROOT / path, tmp_path / path)
    monkeypatch.setattr(members, "ROOT", tmp_path)
    assert parity.table()[1] == []
    return tmp_path


@pytest.mark.parametrize(
    "file, text, wanted",
    [
        ("include/orkestr/gadget.hpp", "class ORKESTR_API Gadget {\n public:\n  int size();\n};\n", "C++ Gadget"),
        ("include/orkestr/gadget.hpp", "struct Gadget : Base {\n  int size;\n};\n", "C++ Gadget"),
        ("include/orkestr/gadget.hpp", "template <class T>\nclass [[nodiscard]] Gadget {\n  int size;\n};\n", "C++ Gadget"),
        ("include/orkestr/gadget.hpp", "ORKESTR_API Result<int> gadget_size();\n", "C++ gadget_size"),
        ("bindings/python/orkestr/pool.py", "\n\ndef grow() -> None: ...\n", "Python pool.grow"),
        ("bindings/python/orkestr/files.py", "\n\nclass Gadget: ...\n", "Python Gadget"),
        ("bindings/node/index.d.ts", "\nexport class Gadget {\n  size: number;\n}\n", "Node Gadget"),
        ("bindings/node/index.d.ts", "\nexport function grow(): void;\n", "Node grow"),
        ("capi/orkestr.h", "\nORKESTR_API int orkestr_gadget_size(void);\n", "C gadget_size"),
        ("capi/orkestr.h", "\ntypedef struct orkestr_gadget {\n  int size;\n} orkestr_gadget;\n", "C gadget{}"),
    ],
)  # fmt: skip
def test_what_is_in_no_group(copied, file, text, wanted):
    with (copied / file).open("a") as out:
        out.write(text)
    init = copied / "bindings/python/orkestr/__init__.py"
    if "class Gadget: ..." in text:
        init.write_text(init.read_text().replace("__all__ = [", '__all__ = [\n    "Gadget",'))
    assert [one.split(" is in no group")[0] for one in parity.table()[1]] == [wanted]


def test_what_is_ignored_for_nothing(monkeypatch):
    monkeypatch.setitem(parity.ABOUT["ignored"]["cpp"], "Gadget", "no reason")
    assert any("Gadget is of no use" in one for one in parity.table()[1])


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
