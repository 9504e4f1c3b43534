"""Templates from Python. What builds uses a recipe that is refused early, so that nothing is downloaded here; real builds
are the vm tier's."""

from __future__ import annotations

import inspect
import io
import json

import pytest
from conftest import ROOT

from orkestr import (
    InvalidArgument,
    Sandbox,
    Template,
    TemplateBuildError,
    TemplateInfo,
    TemplateNotFound,
    TemplateProgress,
)
from orkestr import template as module

TEMPLATE = "python-3.12-bare"


def test_signatures():
    parameters = {name: list(inspect.signature(getattr(Template, name)).parameters) for name in ("build", "prepare", "list", "inspect", "remove")}  # fmt: skip
    assert parameters == {
        "build": ["name", "force", "recipe", "on_progress", "client"],
        "prepare": ["name", "size", "cpu", "memory_mb", "disk_mb", "on_progress", "client"],
        "list": ["client"],
        "inspect": ["name", "client"],
        "remove": ["name", "client"],
    }


def test_list_and_inspect(home):
    known = {info.name: info for info in Template.list()}
    assert {"python-3.12", TEMPLATE, "node-22", "debian-12", "ubuntu-24.04"} <= set(known)
    assert list(known) == sorted(known)
    assert known[TEMPLATE].built and known[TEMPLATE].parts == ()

    info = Template.inspect(TEMPLATE)
    assert isinstance(info, TemplateInfo)
    assert info.created_at is not None and info.created_at.tzinfo is not None
    assert info.bytes and info.bytes > 50_000_000
    assert info.digest and len(info.digest) == 64 and info.kernel
    sources = {part.source for part in info.parts}
    assert {"kernel", "debian", "maven"} <= sources
    cpython = next(part for part in info.parts if part.source == "maven")
    assert cpython.sha256 and len(cpython.sha256) == 64 and cpython.version.startswith("3.12.1")


def test_a_current_template_is_not_built_again(home):
    before = Template.inspect(TEMPLATE)
    seen: list[TemplateProgress] = []
    assert Template.build(TEMPLATE, on_progress=seen.append).build_id == before.build_id
    assert Template.prepare(TEMPLATE).build_id == before.build_id


@pytest.mark.parametrize("call", [Template.build, Template.inspect, Template.remove, Template.prepare, Sandbox.create])
def test_an_unknown_name_has_the_nearest_ones(home, call):
    with pytest.raises(TemplateNotFound, match="python-3.12"):
        call("pyton-3.12")


def test_ubuntu_is_refused_and_never_replaced(home):
    with pytest.raises(TemplateBuildError, match="debian-12"):
        Template.build("ubuntu-24.04")
    with pytest.raises(TemplateBuildError, match="debian-12"):
        Sandbox.create("ubuntu-24.04")
    assert not Template.inspect("ubuntu-24.04").built


def test_auto_build_false_names_the_command(home):
    with pytest.raises(TemplateNotFound, match="orkestr template build ubuntu-24.04"):
        Sandbox.create("ubuntu-24.04", auto_build=False)


def test_wrong_recipes_and_arguments(home, tmp_path):
    with pytest.raises(InvalidArgument, match="colour"):
        Template.build(recipe=json.dumps({"name": "mine", "colour": "red"}))
    file = tmp_path / "recipe.json"
    file.write_text("{")
    with pytest.raises(InvalidArgument):
        Template.build(recipe=file)
    with pytest.raises(FileNotFoundError):
        Template.build(recipe=tmp_path / "missing.json")
    with pytest.raises(InvalidArgument, match="is this a path.*pathlib.Path"):
        Template.build(recipe=str(file))
    with pytest.raises(TemplateNotFound, match="nothing to remove"):
        Template.remove("ubuntu-24.04")
    with pytest.raises(InvalidArgument, match="on_progress"):
        Template.build(TEMPLATE, on_progress=3)  # type: ignore[arg-type]
    with pytest.raises(InvalidArgument, match="name is int"):
        Template.build(3)  # type: ignore[arg-type]


def test_the_recipe_of_the_page_is_one(home):
    page = (ROOT / "docs" / "TEMPLATES.md").read_text()
    recipe = json.loads(page.split("```json\n")[1].split("```")[0])
    recipe["steps"].append({})  # what is wrong with it comes after all that is right
    with pytest.raises(InvalidArgument, match=f"step {len(recipe['steps'])}: 'name' is missing"):
        Template.build(recipe=json.dumps(recipe))


class _Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_the_bar_is_for_terminals_only_and_cannot_be_broken_by_a_line(monkeypatch):
    progress = {"template": "t", "step": "s", "index": 2, "count": 4, "line": "\x1b[2J red\n", "elapsed_seconds": 3.2}
    terminal = _Terminal()
    monkeypatch.setattr(module.sys, "stderr", terminal)
    with module.Reporter(None) as reporter:
        reporter(progress)
    shown = terminal.getvalue()
    assert "t [=====" in shown and "2/4 s (3 s)" in shown and "\x1b[2J" not in shown and "\n" not in shown
    assert shown.endswith("\r\033[K")


def test_elsewhere_it_is_one_line_unless_a_function_is_told(monkeypatch):
    progress = {"template": "t", "step": "s", "index": 0, "count": 4, "line": "x\n", "elapsed_seconds": 3.2}
    quiet = io.StringIO()
    monkeypatch.setattr(module.sys, "stderr", quiet)
    with module.Reporter(None) as reporter:
        reporter(progress | {"step": "snapshot", "index": 1, "count": 1})
        assert quiet.getvalue() == ""
        reporter(progress)
        reporter(progress)
    assert quiet.getvalue() == "orkestr: building template t, once; takes minutes\n"
    told: list[TemplateProgress] = []
    with module.Reporter(told.append) as reporter:
        reporter(progress)
    assert len(told) == 1 and quiet.getvalue().count("\n") == 1
    monkeypatch.setattr(module.sys, "stderr", None)
    with module.Reporter(None) as reporter:
        reporter(progress)
