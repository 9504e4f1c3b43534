"""Code written for the published client of the hosted service runs here unchanged: every name, parameter and default of
its sandbox part is there. published_0_6_3.json was made from that client with `inspect`."""

from __future__ import annotations

import dataclasses
import importlib
import inspect
import json
import pathlib

import pytest

import orkestr

PUBLISHED = json.loads(pathlib.Path(__file__).with_name("published_0_6_3.json").read_text())
METHODS = [(name, method) for name, one in PUBLISHED["classes"].items() for method in one["methods"]]


def our_class(name: str) -> type:
    return getattr(importlib.import_module(PUBLISHED["classes"][name]["modules"][0]), name)


def check_parameters(ours: inspect.Signature, published: list[list[object]]) -> None:
    """Every way of calling the published function is a way of calling ours, and means the same."""
    parameters = [p for p in ours.parameters.values() if p.name not in ("self", "cls")]
    open_ended = any(p.kind is p.VAR_KEYWORD for p in parameters)
    names = [p.name for p in parameters]
    positional = [p.name for p in parameters if p.kind is p.POSITIONAL_OR_KEYWORD]
    wanted = [name for name, kind, *_ in published if kind == "positional"]
    assert positional[: len(wanted)] == wanted
    known = [name for name, *_ in published if name in names]
    assert known == [name for name in names if name in known], "in another order"
    for name, _, *default in published:
        if name not in names:
            assert open_ended, f"{name} is missing"
            continue
        parameter = ours.parameters[name]
        if default:
            value = parameter.default
            assert value == default[0] or (default[0] == {} and value is not parameter.empty), name
    theirs = {name for name, *_ in published}
    needed = {p.name for p in parameters if p.default is p.empty and p.kind not in (p.VAR_KEYWORD, p.VAR_POSITIONAL)}
    assert needed <= theirs, "ours needs more"


def test_the_list_is_a_list():
    assert len(PUBLISHED["classes"]) > 25 and len(METHODS) > 40


@pytest.mark.parametrize("name", PUBLISHED["exports"])
def test_names(name):
    assert hasattr(orkestr, name)


@pytest.mark.parametrize("name", PUBLISHED["functions"])
def test_functions(name):
    check_parameters(inspect.signature(getattr(orkestr, name)), PUBLISHED["functions"][name])


@pytest.mark.parametrize("name", PUBLISHED["classes"])
def test_classes(name):
    published = PUBLISHED["classes"][name]
    for module in published["modules"]:
        assert getattr(importlib.import_module(module), name) is our_class(name)
    assert set(published["bases"]) <= {base.__name__ for base in our_class(name).__mro__}
    fields = {field.name for field in dataclasses.fields(our_class(name))} if dataclasses.is_dataclass(our_class(name)) else set()
    for attribute in published["attributes"]:
        assert attribute in fields or hasattr(our_class(name), attribute), attribute
    if published["attributes"] and dataclasses.is_dataclass(our_class(name)):
        ours = [field.name for field in dataclasses.fields(our_class(name)) if not field.kw_only]
        theirs = [attribute for attribute in published["attributes"] if attribute in ours]
        assert [name for name in ours if name in theirs] == theirs


@pytest.mark.parametrize("name, method", METHODS)
def test_methods(name, method):
    check_parameters(inspect.signature(getattr(our_class(name), method)), PUBLISHED["classes"][name]["methods"][method])


def test_the_check_sees_a_difference():
    def ours(self, a, b=1, *, c=2): ...

    signature = inspect.signature(ours)
    check_parameters(signature, [["a", "positional"], ["b", "keyword", 1], ["c", "keyword", 2]])
    for other in (
        [["a", "positional"], ["b", "keyword", 2]],
        [["b", "positional", 1], ["a", "keyword"]],
        [["a", "positional"], ["d", "keyword", None]],
        [["a", "positional"], ["c", "keyword", 2], ["b", "keyword", 1]],
        [["b", "keyword", 1]],
        [["a", "positional"], ["b", "positional", 1], ["c", "positional", 2]],
    ):
        with pytest.raises(AssertionError):
            check_parameters(signature, other)
