"""Which calls of webhooks are to be made, and when again."""

import hashlib
from collections.abc import Collection
from datetime import UTC, datetime, timedelta
from typing import NamedTuple, Self

from sqlalchemy import Select, select
from yarl import URL

from workers.gateway.database.tables import DeliveryRow, WebhookRow

SHORTEST, LONGEST = 5.0, 6 * 3600.0
"""Seconds between attempts; three times as long each time."""


class Call(NamedTuple):
    """One that is to be made now."""

    webhook_id: str
    event_id: str
    url: str
    secret: str
    id: str
    body: str

    @classmethod
    def of(cls, row: DeliveryRow, url: str, secret: str) -> Self:
        # Not the event's own id, which whoever published it chose: it is to stand in a header.
        told = f"{row.tenant}/{row.capture_id}/{row.event_id}"
        id = f"msg_{hashlib.sha256(told.encode()).hexdigest()[:32]}"
        return cls(row.webhook_id, row.event_id, url, secret, id, row.body)

    @property
    def host(self) -> str:
        return URL(self.url).host or ""


def pause(attempts: int, chance: float, after: float = 0.0) -> timedelta:
    """After so many attempts; `chance`, from 0 to 1, spreads what failed together by a fifth either way.
    after: seconds for which the receiver asks to be left alone; heeded as far as the longest pause."""
    usual = min(LONGEST, SHORTEST * 3 ** (attempts - 1)) * (0.8 + 0.4 * chance)
    return timedelta(seconds=max(usual, min(LONGEST, after)))


def due(passed: Collection[str]) -> Select[DeliveryRow, str, str]:
    """The delivery that has been due for longest, with its webhook's URL and secret; those of the webhooks in
    `passed` aside, and those that somebody else is looking at."""
    return (
        select(DeliveryRow, WebhookRow.url, WebhookRow.secret)
        .join(WebhookRow, WebhookRow.id == DeliveryRow.webhook_id)
        .where(
            DeliveryRow.state == "waiting",
            DeliveryRow.due <= datetime.now(UTC),
            DeliveryRow.webhook_id.not_in(passed),
        )
        .order_by(DeliveryRow.due)
        .limit(1)
        .with_for_update(skip_locked=True, of=DeliveryRow)
    )
