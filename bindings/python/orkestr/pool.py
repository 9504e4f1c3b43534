"""The warm pool of this machine: machines that are ready before anybody asks for a sandbox.

::

    from orkestr import Sandbox, pool

    pool.set("python-3.12", 4)
    with Sandbox.create("python-3.12") as sandbox:  # takes one of them, in milliseconds
        print(sandbox.exec("python3 -c 'print(6 * 7)'").stdout)

Each is used once; whoever took one has another one made in the background. They take memory and no processor, are no
sandboxes (not in ``Sandbox.list()``), and end by themselves when nobody takes them, when memory is short, and when
library, template or QEMU were replaced. Only for sandboxes of this machine, whatever backend a client uses.
"""

from __future__ import annotations

import builtins
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from . import _arguments as check
from . import _core
from .files import to_datetime


@dataclass(frozen=True)
class PoolMember:
    """One machine that waits, or (not ``ready``) is being made."""

    id: str
    ready: bool
    created_at: datetime


@dataclass(frozen=True)
class PoolInfo:
    """What is configured for one template and machine, and what there is of it.

    Attributes:
        count: how many are to be ready.
        problem: why there are fewer, where that is known; else empty.
    """

    template: str
    count: int
    cpu: float
    memory_mb: int
    disk_mb: int
    idle_seconds: int
    min_available_mb: int
    problem: str = ""
    members: builtins.list[PoolMember] = field(default_factory=builtins.list)

    @property
    def ready(self) -> int:
        """How many may be taken now."""
        return sum(member.ready for member in self.members)

    @classmethod
    def _from_native(cls, record: dict[str, Any]) -> PoolInfo:
        members = [PoolMember(id, ready, to_datetime(created)) for id, ready, created in record["members"]]
        return cls(**{**record, "members": members})


def set(
    template: str,
    count: int = 1,
    *,
    size: str = "small",
    cpu: float | None = None,
    memory_mb: int | None = None,
    disk_mb: int | None = None,
    idle_seconds: int = 3600,
    min_available_mb: int = 1024,
) -> PoolInfo:
    """Keeps ``count`` machines ready for ``Sandbox.create()`` of this template, ``size``, ``cpu``, ``memory_mb`` and
    ``disk_mb``; returns when they are, or cannot be: see ``problem``. Ctrl-C is noticed afterwards.

    Args:
        count: 0 to 64; 0 for none any more.
        idle_seconds: one that nobody took for so long ends.
        min_available_mb: with less memory available on the host, in MiB, they end and none is made.

    Raises:
        InvalidArgument, TemplateNotFound, TemplateBuildError
    """
    return PoolInfo._from_native(
        _core.pool.set(
            check.text("template", template),
            check.integer("count", count),
            check.text("size", size),
            None if cpu is None else check.number("cpu", cpu),
            None if memory_mb is None else check.integer("memory_mb", memory_mb),
            None if disk_mb is None else check.integer("disk_mb", disk_mb),
            check.integer("idle_seconds", idle_seconds),
            check.integer("min_available_mb", min_available_mb),
        )
    )


def list() -> builtins.list[PoolInfo]:
    """What is configured. Ends machines that are of no use any more."""
    return [PoolInfo._from_native(record) for record in _core.pool.list()]


def clear(template: str | None = None) -> int:
    """Configures none any more, of this template or of any, and ends those that wait. Returns how many there were.

    Raises TemplateNotFound where none was configured of it and there is no such template.
    """
    return _core.pool.clear(b"" if template is None else check.text("template", template))
