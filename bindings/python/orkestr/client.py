"""Clients: where sandboxes run."""

from __future__ import annotations

import functools
import os
from types import TracebackType

from . import _arguments as check
from . import _core
from .errors import InvalidArgument


class OrkestrClient:
    """The choice of a backend, carried explicitly. Calls that are given no client use :func:`get_default_client`.

    The backend is ``backend`` when given; else remote when ``api_key`` or ``base_url`` is given; else what the
    environment says (``ORKESTR_BACKEND``, ``ORKESTR_API_KEY``, ``ORKESTR_BASE_URL``); else local. Remote without a key raises
    :class:`AuthError`.

    Args:
        api_key: of the service.
        base_url: of the service.
        timeout: of one request to the service, in seconds.
        backend: ``"local"`` or ``"remote"``.

    Usable from any thread; not in a forked child, where its calls raise :class:`SandboxNotReady`.
    """

    __slots__ = ("_native",)

    def __init__(
        self,
        api_key: str | None = None,
        base_url: str | None = None,
        timeout: float = 30,
        *,
        backend: str | None = None,
    ) -> None:
        if backend not in (None, "local", "remote"):
            raise InvalidArgument(f"backend is {backend!r}; allowed: 'local', 'remote', None")
        if backend is None and (api_key is not None or base_url is not None):
            backend = "remote"
        self._native = _core.Client.open(
            backend or "automatic",
            check.optional_text("api_key", api_key) or b"",
            check.optional_text("base_url", base_url) or b"",
            check.seconds("timeout", timeout),
        )

    @classmethod
    def _wrap(cls, native: _core.Client) -> OrkestrClient:
        client = object.__new__(cls)
        client._native = native
        return client

    @property
    def backend(self) -> str:
        """``"local"`` or ``"remote"``."""
        return self._native.backend

    def close(self) -> None:
        """Ends its thread; open operations raise :class:`Cancelled`. Sandboxes live on. May be called again."""
        self._native.close()

    def __enter__(self) -> OrkestrClient:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<OrkestrClient {self.backend}>"


def get_default_client() -> OrkestrClient:
    """The client that calls use which are given none; made at the first such call."""
    return OrkestrClient._wrap(_core.get_default_client())


def set_default_client(client: OrkestrClient | None) -> None:
    """Makes ``client`` the one that calls use which are given none; None: the next such call makes one."""
    if client is not None and not isinstance(client, OrkestrClient):
        raise check.wrong_type("client", client, "an OrkestrClient or None")
    _core.set_default_client(None if client is None else client._native)


# A client has a thread and connections: calls with the same key share one, in a forked child one of its own. Those that
# are not kept any more go when no sandbox uses them.
@functools.lru_cache(maxsize=16)
def _shared(_process: int, _environment: tuple[str | None, ...], api_key: str) -> _core.Client:
    return OrkestrClient(api_key)._native


def choose(client: OrkestrClient | None, api_key: str | None) -> _core.Client | None:
    """The native client of a call: ``client=``, else a remote one for ``api_key=``, else None for the default."""
    if client is not None:
        if not isinstance(client, OrkestrClient):
            raise check.wrong_type("client", client, "an OrkestrClient or None")
        return client._native
    if api_key is not None:
        check.text("api_key", api_key)
        environment = tuple(os.environ.get(name) for name in ("ORKESTR_BASE_URL", "ORKESTR_API_KEY"))
        return _shared(os.getpid(), environment, api_key)
    return None
