"""The activity log."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone

import pytest
from orkestr import Event, Sandbox

from conftest import TEMPLATE

pytestmark = pytest.mark.vm


def test_events_tell_what_happened(sandbox):
    before = datetime.now(timezone.utc) - timedelta(milliseconds=1)
    sandbox.files.write("/workspace/told", "x")
    sandbox.exec("exit 3")
    events = sandbox.events(since=before)
    assert [(event.kind, event.outcome, event.path, event.exit_code) for event in events] == [
        ("file_write", "ok", "/workspace/told", None),
        ("exec", "exit", None, 3),
    ]
    assert "exit 3" in events[1].command
    assert all(event.time >= before and event.duration_ms is not None for event in events)
    # (The first sandbox of a template makes its snapshot.)
    kinds = [event.kind for event in sandbox.events() if event.kind != "snapshot_made"]
    assert kinds[:2] == ["created", "running"]
    assert sandbox.events(since=datetime(2100, 1, 1, tzinfo=timezone.utc)) == []
    with pytest.raises(ValueError, match="timezone"):
        sandbox.events(since=datetime(2020, 1, 1))


def test_following_ends_with_the_sandbox(home):
    sandbox = Sandbox.create(TEMPLATE)
    events = sandbox.events(follow=True)
    assert [next(events).kind, next(events).kind] == ["created", "running"]
    sandbox.exec("true")
    assert next(events).kind == "exec"
    sandbox.terminate()
    rest = list(events)
    assert [event.kind for event in rest] == ["terminated"] and isinstance(rest[0], Event)
    assert sandbox.events()[-1] == rest[0]
