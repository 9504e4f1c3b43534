"""Webhooks: addresses that a service tells of what happens."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING

from . import _arguments as check
from . import _core
from .client import OrkestrClient, choose
from .files import to_datetime

if TYPE_CHECKING:
    from typing_extensions import Buffer


@dataclass(frozen=True)
class Webhook:
    """An address that a service tells of what happens to sandboxes, templates and volumes, with signed requests.
    Locally all of it raises :class:`NotSupported`.

    Attributes:
        event_types: None: every event.
        active: False after twenty failed deliveries; :meth:`enable` switches it on again.
        secret: For :func:`verify_webhook_signature`. Only what :meth:`create` returns has it: keep it.
    """

    id: str
    url: str
    event_types: list[str] | None
    active: bool
    consecutive_failures: int
    last_delivery_at: datetime | None
    last_error: str | None
    created_at: datetime | None
    secret: str | None = field(default=None, repr=False)

    @classmethod
    def _from_native(cls, record: _core.WebhookRecord) -> Webhook:
        last, created = record["last_delivery_at"], record["created_at"]
        return cls(
            id=record["id"],
            url=record["url"],
            event_types=record["event_types"],
            active=record["active"],
            consecutive_failures=record["consecutive_failures"],
            last_delivery_at=None if last is None else to_datetime(last),
            last_error=record["last_error"] or None,
            created_at=None if created is None else to_datetime(created),
            secret=record["secret"] or None,
        )

    @classmethod
    def create(
        cls,
        url: str,
        *,
        event_types: list[str] | None = None,
        api_key: str | None = None,
        client: OrkestrClient | None = None,
    ) -> Webhook:
        """A new webhook.

        Args:
            url: ``https://`` or ``http://``, reachable from the service.
            event_types: ``sandbox.created``, ``.paused``, ``.resumed``, ``.terminated``, ``.expired``,
                ``template.build_finished``, ``volume.moved``, ``volume.expired``; None: all.
        """
        types = None if event_types is None else check.texts("event_types", event_types)
        return cls._from_native(_core.webhooks.create(check.text("url", url), types, choose(client, api_key)))

    @classmethod
    def list(cls, *, api_key: str | None = None, client: OrkestrClient | None = None) -> list[Webhook]:
        """All webhooks of the account, without their secrets."""
        return [cls._from_native(record) for record in _core.webhooks.list(choose(client, api_key))]

    @classmethod
    def enable(cls, webhook_id: str, *, api_key: str | None = None, client: OrkestrClient | None = None) -> Webhook:
        """Switches on again what was switched off after failures, and counts from zero.

        Raises: :class:`SandboxNotFound`.
        """
        return cls._from_native(_core.webhooks.enable(check.text("webhook_id", webhook_id), choose(client, api_key)))

    @classmethod
    def delete(cls, webhook_id: str, *, api_key: str | None = None, client: OrkestrClient | None = None) -> None:
        """Deletes it.

        Raises: :class:`SandboxNotFound`.
        """
        _core.webhooks.remove(check.text("webhook_id", webhook_id), choose(client, api_key))


def verify_webhook_signature(secret: str, body: Buffer | str, signature_header: str | None) -> bool:
    """Whether a delivery is from the service.

    Args:
        secret: What :meth:`Webhook.create` gave; an empty one is False.
        body: The bytes of the request as they came, before anything parsed them.
        signature_header: Its header ``X-Orkestr-Signature``; None, or whatever else is not right, is False.
    """
    if not isinstance(signature_header, str):
        return False
    # Never raises for a hostile header: what UTF-8 cannot encode is no signature.
    header = signature_header.encode("utf-8", "replace")
    return _core.webhooks.verify(check.text("secret", secret), check.content("body", body), header)
