"""Volumes: storage that outlives sandboxes."""

from __future__ import annotations

from dataclasses import dataclass

from . import _arguments as check
from . import _core
from .client import OrkestrClient, choose
from .errors import InvalidArgument
from .files import to_datetime


class _Unset:
    def __repr__(self) -> str:
        return "(left out)"


_UNSET = _Unset()


@dataclass(frozen=True)
class Volume:
    """Storage that outlives sandboxes: mounted at ``/persist`` of the one that names it, ``Sandbox.create(volume=…)``,
    which also makes it at its first use. A service has volumes; locally all of it raises :class:`NotSupported`.

    Attributes:
        size_mb: The most it may hold, in MiB.
        region: None: that of the first sandbox that will have it.
        attached_sandbox_id: The sandbox that has it now.
        max_lifetime_days, max_lifetime_hours: At most one of them; counted from its creation.
        expires_at: When it will be destroyed, an ISO 8601 time in UTC; None: never.
    """

    id: str
    name: str
    size_mb: int
    status: str
    region: str | None
    node_id: str | None = None
    attached_sandbox_id: str | None = None
    max_lifetime_days: int | None = None
    max_lifetime_hours: int | None = None
    expires_at: str | None = None

    @classmethod
    def _from_native(cls, record: _core.VolumeRecord) -> Volume:
        expires = record["expires_at"]
        return cls(
            id=record["id"],
            name=record["name"],
            size_mb=record["size_mb"],
            status=record["status"],
            region=record["region"] or None,
            node_id=record["node_id"] or None,
            attached_sandbox_id=record["attached_sandbox_id"] or None,
            max_lifetime_days=record["max_lifetime_days"],
            max_lifetime_hours=record["max_lifetime_hours"],
            expires_at=None if expires is None else to_datetime(expires).isoformat(),
        )

    @classmethod
    def create(
        cls,
        name: str,
        *,
        size_gb: float = 10,
        region: str | None = None,
        max_lifetime_days: int | None = None,
        max_lifetime_hours: int | None = None,
        api_key: str | None = None,
        client: OrkestrClient | None = None,
    ) -> Volume:
        """A new volume.

        Args:
            name: What ``Sandbox.create(volume=…)`` takes; one of its kind in the account.
            size_gb: The most it may hold, GiB from 0.25; space is taken as it is written.
            region: Where it lives, an id of ``Sandbox.limits().regions``.
            max_lifetime_days, max_lifetime_hours: Destroys it so long after its creation, later while a sandbox has it;
                1 to 3650 days or 1 to 24 hours, not both.
        """
        record = _core.volumes.create(
            check.text("name", name),
            check.number("size_gb", size_gb),
            check.optional_text("region", region) or b"",
            _maybe_integer("max_lifetime_days", max_lifetime_days),
            _maybe_integer("max_lifetime_hours", max_lifetime_hours),
            choose(client, api_key),
        )
        return cls._from_native(record)

    @classmethod
    def update(
        cls,
        volume_id: str,
        *,
        max_lifetime_days: int | None | _Unset = _UNSET,
        max_lifetime_hours: int | None | _Unset = _UNSET,
        api_key: str | None = None,
        client: OrkestrClient | None = None,
    ) -> Volume:
        """Sets its lifetime, counted from its creation: a short one may destroy an old volume soon. Exactly one of the
        two; None: no end.

        Raises: :class:`SandboxNotFound`.
        """
        given = [
            (name, value)
            for name, value in (("max_lifetime_days", max_lifetime_days), ("max_lifetime_hours", max_lifetime_hours))
            if not isinstance(value, _Unset)
        ]
        if len(given) != 1:
            raise InvalidArgument(
                f"max_lifetime_days is {max_lifetime_days!r} and max_lifetime_hours is {max_lifetime_hours!r}; "
                "give exactly one of them, None to let the volume live on"
            )
        [(name, value)] = given
        record = _core.volumes.update(
            check.text("volume_id", volume_id), name == "max_lifetime_hours", _maybe_integer(name, value), choose(client, api_key)
        )
        return cls._from_native(record)

    @classmethod
    def move(
        cls, volume_id: str, region: str, *, api_key: str | None = None, client: OrkestrClient | None = None
    ) -> Volume:
        """Moves it to another region; its data is there when the next sandbox takes it.

        Raises: :class:`VolumeInUse` while a sandbox has it.
        """
        return cls._from_native(
            _core.volumes.move(check.text("volume_id", volume_id), check.text("region", region), choose(client, api_key))
        )

    @classmethod
    def list(cls, *, api_key: str | None = None, client: OrkestrClient | None = None) -> list[Volume]:
        """All volumes of the account."""
        return [cls._from_native(record) for record in _core.volumes.list(choose(client, api_key))]

    @classmethod
    def delete(cls, volume_id: str, *, api_key: str | None = None, client: OrkestrClient | None = None) -> None:
        """Deletes it and what is in it.

        Raises: :class:`VolumeInUse` while a sandbox has it; :class:`SandboxNotFound`.
        """
        _core.volumes.remove(check.text("volume_id", volume_id), choose(client, api_key))


def _maybe_integer(name: str, value: object) -> int | None:
    return None if value is None else check.integer(name, value)
