"""What is known about a sandbox, as attributes."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

from .files import to_datetime

if TYPE_CHECKING:
    from . import _core


class SandboxAttributes:
    """As of create, get, list, or the last refresh, set_timeout, pause or terminate.

    That an operation resumed the sandbox (``auto_resume``), or found that it has ended, shows after ``refresh()``.
    """

    __slots__ = ()

    def _info(self) -> _core.SandboxRecord:
        raise NotImplementedError

    @property
    def id(self) -> str:
        """``sbx_`` and a ULID."""
        return self._info()["id"]

    @property
    def status(self) -> str:
        """As in :meth:`list`."""
        return self._info()["status"]

    @property
    def template(self) -> str:
        return self._info()["template"]

    @property
    def network(self) -> str:
        """``"off"``, ``"restricted"`` or ``"open"``."""
        return self._info()["network"]

    @property
    def cpu(self) -> float:
        """CPUs it may use; its vCPUs are this, rounded up."""
        return self._info()["cpu"]

    @property
    def cpu_reason(self) -> str | None:
        """Why :attr:`cpu` is more than was asked for; ``None`` when it is not."""
        return self._info()["cpu_reason"] or None

    @property
    def memory_mb(self) -> int:
        """MiB."""
        return self._info()["memory_mb"]

    @property
    def disk_mb(self) -> int | None:
        """MiB of the sandbox's disk; ``None`` where the backend does not say."""
        return self._info()["disk_mb"] or None

    @property
    def region(self) -> str | None:
        return self._info()["region"] or None

    @property
    def created_at(self) -> datetime:
        """Timezone-aware, as all times."""
        return to_datetime(self._info()["created_at"])

    @property
    def expires_at(self) -> datetime:
        """When the timeout ends it."""
        return to_datetime(self._info()["expires_at"])

    @property
    def metadata(self) -> dict[str, str]:
        return dict(self._info()["metadata"])

    @property
    def on_timeout(self) -> str:
        """``"kill"`` or ``"pause"``."""
        return self._info()["on_timeout"]

    @property
    def auto_resume(self) -> bool:
        return self._info()["auto_resume"]

    @property
    def volume(self) -> str | None:
        return self._info()["volume"] or None

    @property
    def node_id(self) -> str | None:
        return self._info()["node_id"] or None

    @property
    def paused_expires_at(self) -> datetime | None:
        """When a paused sandbox is given up; None while it is not paused, or kept for ever."""
        moment = self._info()["paused_expires_at"]
        return None if moment is None else to_datetime(moment)

    @property
    def preview_auth(self) -> bool:
        """Whether its preview URLs ask for a token; a local sandbox has no preview URLs."""
        return self._info()["preview_auth"]

    @property
    def preview_auth_token(self) -> str | None:
        """That token; None where there is none."""
        return self._info()["preview_auth_token"] or None

    @property
    def backend(self) -> str:
        """``"local"`` or ``"remote"``."""
        return self._info()["backend"]

    @property
    def end_reason(self) -> str | None:
        """Why it ended; None while it lives."""
        return self._info()["end_reason"] or None

    @property
    def accelerator(self) -> str | None:
        """``"kvm"`` or ``"tcg"``; None on a service."""
        return self._info()["accelerator"] or None

    @property
    def accelerator_reason(self) -> str | None:
        """Why that one."""
        return self._info()["accelerator_reason"] or None

    @property
    def isolation(self) -> str | None:
        """``"hardware"`` or ``"emulated"``; QEMU does not call emulation a security boundary."""
        return self._info()["isolation"] or None

    @property
    def jail(self) -> str | None:
        """What contains QEMU itself on this host, and what does not and why."""
        return self._info()["jail"] or None
