"""Webhooks, called: what is due is in the database, so that no crash loses it. Each call is made at least
once, and always with the same `webhook-id`."""

import asyncio
import random
import secrets
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta

from sqlalchemy import delete, or_, select
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import SQLAlchemyError

from workers.gateway.database.session import Database, Session
from workers.gateway.database.tables import DeliveryRow, WebhookRow
from workers.gateway.problems import AddressRefused
from workers.gateway.settings import GatewaySettings
from workers.gateway.webhooks.calls import Call, due, pause
from workers.gateway.webhooks.outbound import CallFailed, Outbound
from workers.gateway.webhooks.signature import new_secret, signed
from workers.runtime.logs import get_logger

USUAL_KINDS = ("masks.proposed", "model.ready", "capture.failed", "capture.cancelled")
"""Of events that a webhook is told of which names none."""
AT_ONCE = 32
AT_ONCE_TO_A_HOST = 4
POLL_SECONDS = 1.0
LEASE = timedelta(seconds=60)
"""Nobody else makes a call that someone has begun, unless it is not settled by then."""
TIDY_SECONDS = 3600.0
KEPT = {"sent": timedelta(days=7), "given_up": timedelta(days=30)}


def new_webhook(
    tenant: str, url: str, kinds: Sequence[str] = (), capture_id: str | None = None
) -> WebhookRow:
    """With a secret of its own. Let `guard.check` look at the URL before."""
    return WebhookRow(
        id=f"wh_{secrets.token_hex(12)}",
        tenant=tenant,
        capture_id=capture_id,
        url=url,
        secret=new_secret(),
        kinds=list(kinds),
        created=datetime.now(UTC),
    )


class Sender:
    def __init__(
        self, database: Database, settings: GatewaySettings, outbound: Outbound | None = None
    ) -> None:
        self._database, self._attempts = database, settings.webhook_attempts
        self._outbound = outbound or Outbound(settings.webhook_networks)
        self._woken = asyncio.Event()
        self._busy: Counter[str] = Counter()
        """Calls that are being made, by host."""

    async def enqueue(
        self, session: Session, tenant: str, capture_id: str, event_id: str, kind: str, body: str
    ) -> None:
        """Within the caller's transaction: calls of the tenant's webhooks that are told of that kind of
        event, and of the capture's callback. Each once, however often this is asked; then `wake`."""
        told = select(WebhookRow.id, WebhookRow.kinds).where(
            WebhookRow.tenant == tenant,
            or_(WebhookRow.capture_id.is_(None), WebhookRow.capture_id == capture_id),
        )
        rows = [
            {
                "webhook_id": webhook_id,
                "event_id": event_id,
                "tenant": tenant,
                "capture_id": capture_id,
                "body": body,
                "state": "waiting",
                "attempts": 0,
                "due": datetime.now(UTC),
            }
            for webhook_id, kinds in await session.execute(told)
            if kind in (kinds or USUAL_KINDS)
        ]
        if rows:
            insert = postgresql.insert if self._database.shared else sqlite.insert
            await session.execute(insert(DeliveryRow).values(rows).on_conflict_do_nothing())

    def wake(self) -> None:
        """There is something new."""
        self._woken.set()

    async def run(self) -> None:
        """Call what is due, until it is cancelled."""
        async with self._outbound, asyncio.TaskGroup() as group:
            group.create_task(self._tidy())
            while True:
                self._woken.clear()
                call = await self._next()
                if call is None:
                    with suppress(TimeoutError):
                        async with asyncio.timeout(POLL_SECONDS):
                            await self._woken.wait()
                    continue
                self._busy[call.host] += 1
                group.create_task(self._make(call))

    async def _next(self) -> Call | None:
        if self._busy.total() >= AT_ONCE:
            return None
        try:
            return await self._take()
        except (SQLAlchemyError, OSError) as error:
            _log(error)
            await asyncio.sleep(POLL_SECONDS)
            return None

    async def _take(self) -> Call | None:
        """The call that has been due for longest, of a host that is not busy; nobody else takes it then."""
        passed: set[str] = set()
        async with self._database.begin() as session:
            while found := (await session.execute(due(passed))).first():
                row, url, secret = found
                call = Call.of(row, url, secret)
                if self._busy[call.host] < AT_ONCE_TO_A_HOST:
                    row.due = datetime.now(UTC) + LEASE
                    return call
                passed.add(row.webhook_id)
        return None

    async def _make(self, call: Call) -> None:
        error: str | None = None
        after = 0.0
        try:
            body = call.body.encode()
            await self._outbound.post(call.url, signed(call.secret, call.id, body, time.time()), body)
        except CallFailed as failure:
            error, after = str(failure), failure.after
        except AddressRefused as refusal:
            error = str(refusal)
        except Exception as fault:  # one call must not end all others
            error = f"the call could not be made ({type(fault).__name__})"
            get_logger().exception("a webhook's call failed for a reason of ours")
        finally:
            self._busy[call.host] -= 1
            self._busy += Counter()  # without those that are at 0
            self.wake()
        try:
            await self._settle(call, error, after)
        except (SQLAlchemyError, OSError) as failure:  # it is made again when its lease is over
            _log(failure)

    async def _settle(self, call: Call, error: str | None, after: float) -> None:
        now = datetime.now(UTC)
        async with self._database.begin() as session:
            row = await session.get(DeliveryRow, (call.webhook_id, call.event_id), with_for_update=True)
            if row is None or row.state != "waiting":  # removed, or another replica was faster
                return
            row.attempts, row.due, row.error = row.attempts + 1, now, error and error[:500]
            if error is None:
                row.state = "sent"
            elif row.attempts >= self._attempts:
                row.state = "given_up"
            else:
                row.due = now + pause(row.attempts, random.random(), after)

    async def _tidy(self) -> None:
        while True:
            now = datetime.now(UTC)
            old = [
                (DeliveryRow.state == state) & (DeliveryRow.due < now - age) for state, age in KEPT.items()
            ]
            try:
                async with self._database.begin() as session:
                    await session.execute(delete(DeliveryRow).where(or_(*old)))
            except (SQLAlchemyError, OSError) as error:
                _log(error)
            await asyncio.sleep(TIDY_SECONDS)


def _log(error: Exception) -> None:
    get_logger().error("webhooks are interrupted", error=f"{type(error).__name__}: {error}"[:500])
