"""Named snapshots: frozen copies of a sandbox that any number of new ones can start from."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from . import _arguments as check
from . import _core
from .client import OrkestrClient, choose
from .files import to_datetime


@dataclass(frozen=True)
class Snapshot:
    """A named snapshot, from :meth:`Sandbox.snapshot`. A service has them; locally all of it raises
    :class:`NotSupported` in this version. (Pausing is something else: it freezes one sandbox.)

    Attributes:
        status: ``"capturing"``, ``"ready"`` or ``"failed"``.
        created_at, ready_at: timezone-aware.
    """

    id: str
    status: str
    template: str
    cpu: float
    memory_mb: int
    network: str
    name: str | None = None
    source_sandbox_id: str | None = None
    size_mb: int | None = None
    node_id: str | None = None
    region: str | None = None
    error_message: str | None = None
    created_at: datetime | None = None
    ready_at: datetime | None = None

    @classmethod
    def _from_native(cls, record: _core.SnapshotRecord) -> Snapshot:
        ready = record["ready_at"]
        return cls(
            id=record["id"],
            status=record["status"],
            template=record["template"],
            cpu=record["cpu"],
            memory_mb=record["memory_mb"],
            network=record["network"],
            name=record["name"] or None,
            source_sandbox_id=record["source_sandbox_id"] or None,
            size_mb=record["size_mb"] or None,
            node_id=record["node_id"] or None,
            region=record["region"] or None,
            error_message=record["error_message"] or None,
            created_at=to_datetime(record["created_at"]),
            ready_at=None if ready is None else to_datetime(ready),
        )

    @classmethod
    def list(cls, *, api_key: str | None = None, client: OrkestrClient | None = None) -> list[Snapshot]:
        """All snapshots of the account."""
        return [cls._from_native(record) for record in _core.snapshots.list(choose(client, api_key))]

    @classmethod
    def get(cls, snapshot_id: str, *, api_key: str | None = None, client: OrkestrClient | None = None) -> Snapshot:
        """The snapshot of this id.

        Raises: :class:`SandboxNotFound`.
        """
        return cls._from_native(_core.snapshots.get(check.text("snapshot_id", snapshot_id), choose(client, api_key)))

    @classmethod
    def delete(cls, snapshot_id: str, *, api_key: str | None = None, client: OrkestrClient | None = None) -> None:
        """Deletes it; one that is gone already is fine."""
        _core.snapshots.remove(check.text("snapshot_id", snapshot_id), choose(client, api_key))
