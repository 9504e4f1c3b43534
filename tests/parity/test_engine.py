"""The engine itself: what must hold holds, and what must not does not."""

import json
import sys

import pytest

from engine import Driver, Failure, Kinds, Run, check, error_table, fill, load, request_line

VALUE = {"code": 3, "text": "one two é", "list": [{"n": 1}, {"n": 2}], "none": None, "yes": True, "part": 0.5}

HOLD = [
    {"code": 3}, {"code": 3.0}, {"code": {"min": 3, "max": 3}}, {"text": {"contains": "two", "matches": "^one", "length": 10, "not": "x"}},
    {"list.1.n": 2}, {"list": {"any": {"n": 2}, "none": {"n": 3}, "all": {"n": {"min": 1}}, "length": 2}}, {"none": None}, {"yes": True},
    {"code": {"type": "integer"}}, {"part": {"type": "number"}}, {"yes": {"type": "flag"}},
]  # fmt: skip
FAIL = [
    {"code": 4}, {"code": "3"}, {"yes": 1}, {"code": True}, {"none": 0}, {"none": ""}, {"code": {"min": 4}}, {"code": {"max": 2}}, {"text": {"contains": "three"}},
    {"text": {"matches": "^two"}}, {"text": {"length": 9}}, {"text": {"not": "one two é"}}, {"list.2.n": 2}, {"list": {"any": {"n": 3}}},
    {"list": {"none": {"n": 1}}}, {"list": {"all": {"n": 1}}}, {"missing": None}, {"yes": {"type": "integer"}}, {"none": {"min": 0}}, {"code": {"contains": 3}},
]  # fmt: skip


@pytest.mark.parametrize("expectation", HOLD, ids=json.dumps)
def test_what_holds(expectation):
    check(VALUE, expectation)


@pytest.mark.parametrize("expectation", FAIL, ids=json.dumps)
def test_what_does_not(expectation):
    with pytest.raises(Failure):
        check(VALUE, expectation)


def test_variables():
    values = {"one": {"id": "x", "n": 7}}
    assert fill({"a": "${one.n}", "b": ["<${one.id}>"]}, values) == {"a": 7, "b": ["<x>"]}
    with pytest.raises(Failure):
        fill("${two}", values)


def test_lines():
    types = {"text": "text", "data": "bytes", "yes": "flag", "argv": "list", "env": "map"}
    assert request_line("version", {}, types) == b"version\n"
    args = {"text": "a b&é", "data": "hex:00ff", "yes": True, "argv": ["x", "y"], "env": {"a=b": "1"}}
    assert request_line("c", args, types) == b"c?text=a%20b%26%C3%A9&data=%00%FF&yes=true&argv.0=x&argv.1=y&env.a%3Db=1\n"
    assert request_line("c", {"env": {}, "data": {"repeat": ["ab", 2]}}, types) == b"c?env=&data=abab\n"
    with pytest.raises(AssertionError):
        request_line("c", {"unknown": 1}, types)


@pytest.mark.parametrize(
    "kind, value",
    [
        ("integer", "3"), ("integer", True), ("integer", None), ("number", "x"), ("text", 3), ("bytes", "x"), ("flag", 1), ("nothing", 0),
        ("list of text", "x"), ("sample", {"time": 1, "cpu_percent": 0.5}), ("region", {"id": "", "label": "", "more": ""}), ("map", {"a": 1}),
    ],
)  # fmt: skip
def test_kinds_that_are_refused(kind, value):
    with pytest.raises(Failure):
        Kinds(load("calls.json")["records"]).plain(value, kind, "here")


def answering(answer: str) -> list[str]:
    return [sys.executable, "-c", f"import sys\nfor line in sys.stdin: print({answer!r}, flush=True)"]


@pytest.mark.parametrize(
    "answer, step",
    [
        ('{"value": "0.7.0"}', {"call": "version", "expect": {"": "0.7.1"}}),
        ('{"value": "0.7.0"}', {"call": "version", "error": {"code": "internal"}}),
        ('{"value": "0.7.0", "handle": 1}', {"call": "version"}),
        ('{"error": {"code": "internal", "message": "m"}}', {"call": "version"}),
        ('{"error": {"code": "internal", "class": "OrkestrError", "hint": "Pray."}}', {"call": "version", "error": {"code": "internal"}}),
        ('{"error": {"code": "api", "class": "OrkestrError"}}', {"call": "version", "error": {"code": "api"}}),
    ],
)
def test_a_wrong_answer_fails_its_scenario(answer, step):
    driver = Driver(answering(answer), {})
    with pytest.raises(Failure):
        Run(driver, "local", "t").scenario({"name": "n", "sandbox": "none", "steps": [step]})
    assert driver.stop() == 0


def test_an_error_without_a_class_is_right_in_c_only():
    step = {"call": "version", "error": {"code": "api"}}
    answer = json.dumps({"error": {"code": "api", "class": None, "hint": error_table()["api"][1]}})
    driver = Driver(answering(answer), {})
    Run(driver, "local", "t", has_classes=False).scenario({"name": "n", "sandbox": "none", "steps": [step]})
    with pytest.raises(Failure):
        Run(driver, "local", "t").scenario({"name": "n", "sandbox": "none", "steps": [step]})
    assert driver.stop() == 0


def test_a_driver_that_hangs_or_ends():
    step = {"call": "version", "deadline_ms": 200}
    for program in ("import time; time.sleep(60)", "pass"):
        driver = Driver([sys.executable, "-c", program], {})
        with pytest.raises(Failure):
            Run(driver, "local", "t").scenario({"name": "n", "sandbox": "none", "steps": [step]})
        driver.process.wait(10)
