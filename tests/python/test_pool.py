"""The warm pool from Python."""

from __future__ import annotations

import inspect

import pytest

from orkestr import InvalidArgument, Sandbox, TemplateNotFound, pool

TEMPLATE = "python-3.12-bare"


def test_signatures():
    assert list(inspect.signature(pool.set).parameters) == [
        "template", "count", "size", "cpu", "memory_mb", "disk_mb", "idle_seconds", "min_available_mb",
    ]  # fmt: skip
    assert list(inspect.signature(pool.clear).parameters) == ["template"]


def test_wrong_arguments(home):
    for arguments, keywords, text in [
        ((TEMPLATE, 65), {}, "0 to 64"),
        ((TEMPLATE,), {"cpu": 0}, "cpu is 0"),
        ((TEMPLATE,), {"memory_mb": 1}, "memory_mb is 1"),
        ((TEMPLATE,), {"idle_seconds": 1}, "idle_timeout is 1 s"),
        ((TEMPLATE,), {"size": "huge"}, "small, medium"),
    ]:
        with pytest.raises(InvalidArgument, match=text):
            pool.set(*arguments, **keywords)
    with pytest.raises(TypeError):
        pool.set(TEMPLATE, "4")
    with pytest.raises(TemplateNotFound, match=TEMPLATE):
        pool.set("pyton-3.12-bare", 1)
    assert pool.list() == []


@pytest.mark.vm
def test_a_sandbox_from_the_pool(home):
    try:
        made = pool.set(TEMPLATE, 1)
        assert (made.ready, made.count, made.problem) == (1, 1, "")
        assert pool.list() == [made]
        assert made.members[0].created_at.tzinfo is not None
        with Sandbox.create(TEMPLATE, env={"A": "b"}) as sandbox:
            assert sandbox.exec("echo $A").stdout == "b\n"
            assert made.members[0].id not in [member.id for info in pool.list() for member in info.members]
    finally:
        pool.clear()
    assert pool.list() == []
