"""The activity log of a sandbox."""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from typing import Callable, Iterator

from . import _core
from .files import to_datetime

_EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)
_PAUSE_SECONDS = 0.25


@dataclass(frozen=True)
class Event:
    """Something that happened to a sandbox or in it.

    Attributes:
        time: timezone-aware.
        kind: of its life ``"created"``, ``"snapshot_made"``, ``"snapshot_failed"``, ``"snapshot_damaged"``, ``"boot_retry"``,
            ``"running"``, ``"timeout_set"``, ``"pause_failed"``, ``"paused"``, ``"resumed"``, ``"disk_stopped"`` (the host's disk was
            full and the guest stood still), ``"terminated"``, ``"failed"``; of what was asked of it ``"exec"``,
            ``"command_start"``, ``"command_kill"``, ``"file_read"``, ``"file_write"``, ``"file_list"``, ``"file_stat"``,
            ``"file_delete"``, ``"file_mkdir"``, ``"file_move"``; a later version may add some. What takes time is logged
            when it ends.
        outcome: of a command ``"exit"``, ``"signal"``, ``"timeout"``, ``"cancelled"`` or an error's code; of a file ``"ok"`` or that.
        command: secrets masked, long ones cut.
        path: of a file.
        exit_code, duration_ms: None where a kind has none.
        reason: of an end, a second attempt to boot, a failure, a full disk.
    """

    time: datetime
    kind: str
    outcome: str | None = None
    command: str | None = None
    path: str | None = None
    exit_code: int | None = None
    duration_ms: int | None = None
    reason: str | None = None


def _to_event(record: _core.EventRecord) -> Event:
    return Event(
        time=to_datetime(record["time"]),
        kind=record["kind"],
        outcome=record["outcome"] or None,
        command=record["command"] or None,
        path=record["path"] or None,
        exit_code=record["exit_code"],
        duration_ms=record["duration_ms"],
        reason=record["reason"] or None,
    )


def to_microseconds(moment: datetime) -> int:
    if moment.tzinfo is None:
        raise ValueError(f"since is {moment!r}, which has no timezone; give it one, as datetime.now(timezone.utc) has")
    return (moment - _EPOCH) // timedelta(microseconds=1)


def look(native: _core.Sandbox, since: int | None) -> list[Event]:
    return [_to_event(record) for record in native.events(since)]


def follow(native: _core.Sandbox, since: int | None, has_ended: Callable[[], bool]) -> Iterator[Event]:
    """All events from ``since`` on, as they come, until the sandbox has ended."""
    shown = 0  # those at the time `since`: events of one moment may come in several looks
    while True:
        over = has_ended()  # before the look: what was logged last is in the log by then
        skip = shown
        for record in native.events(since):
            if skip > 0 and record["time"] == since:
                skip -= 1
                continue
            if since is None or record["time"] > since:
                since, shown = record["time"], 0
            if record["time"] == since:
                shown += 1
            yield _to_event(record)
        if over:
            return
        time.sleep(_PAUSE_SECONDS)
