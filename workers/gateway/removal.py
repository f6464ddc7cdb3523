"""Captures that are to go: all of their objects, and then what the database knows of them. A worker that is
still at one is waited for, or it would put something there afterwards."""

import asyncio
import math
import time
from datetime import UTC, datetime, timedelta

from sqlalchemy import delete, select
from sqlalchemy.exc import SQLAlchemyError

from contracts.errors import Outage
from contracts.events import Event
from workers.gateway.audit import noted
from workers.gateway.database.session import Database
from workers.gateway.database.tables import AuditRow, CaptureRow, DeliveryRow, JournalRow, WebhookRow
from workers.gateway.hub import Hub, Key
from workers.runtime.logs import get_logger
from workers.runtime.storage import ObjectStore

PAUSE = 2.0
SWEEP_SECONDS = 600.0
SETTLED = timedelta(seconds=5)
"""After its cancellation a capture of which nothing runs is left alone for as long: a worker may just have
taken an event of it."""
ABANDONED = 120.0
"""A running mark that is older belongs to a worker that is gone."""


class Remover:
    """link_seconds: for how long somebody may still have a link to put something into a capture that is
    gone."""

    def __init__(self, database: Database, store: ObjectStore, hub: Hub, link_seconds: int) -> None:
        self._database, self._store, self._hub = database, store, hub
        self._link_seconds = link_seconds

    async def run(self) -> None:
        """What was asked for and could not be done at once. Until it is cancelled."""
        swept = -math.inf
        while True:
            try:
                if time.monotonic() - swept > SWEEP_SECONDS:
                    await self.sweep()
                    swept = time.monotonic()
                async with self._database.begin() as session:
                    asked = select(CaptureRow.tenant, CaptureRow.capture_id).where(
                        CaptureRow.state == "deleting"
                    )
                    keys = [(row.tenant, row.capture_id) for row in await session.execute(asked)]
                for key in keys:
                    await self.remove(key)
            except (Outage, SQLAlchemyError, OSError) as error:
                get_logger().error("removing is interrupted", error=f"{type(error).__name__}: {error}"[:500])
            await asyncio.sleep(PAUSE)

    async def remove(self, key: Key) -> bool:
        """A capture that is `deleting`; whether all of it is gone. Raises StorageUnavailable."""
        tenant, capture_id = key
        folder = Event(tenant=tenant, capture_id=capture_id).folder
        found = await self._store.below(folder)
        running = [
            entry.key
            for entry in found
            if entry.key.startswith(f"{folder}running/") and time.time() - entry.modified < ABANDONED
        ]
        outcomes = f"{folder}outcomes/"
        settled = not running and await self._is_settled(key, any(e.key.startswith(outcomes) for e in found))
        for entry in found:
            if settled or not entry.key.startswith((outcomes, f"{folder}running/")):
                await self._store.delete(entry.key)
        if not settled:
            return False
        if left := await self._store.below(folder):
            get_logger().warning("something was put meanwhile", capture_id=capture_id, objects=len(left))
            return False
        await self._forget(key, len(found), sum(entry.bytes for entry in found))
        return True

    async def sweep(self) -> None:
        """What was put into captures after they were gone. Raises StorageUnavailable."""
        since = datetime.now(UTC) - timedelta(seconds=self._link_seconds + 2 * SWEEP_SECONDS)
        asked = select(AuditRow.tenant, AuditRow.capture_id).where(
            AuditRow.action == "deleted", AuditRow.at > since
        )
        async with self._database.begin() as session:
            gone = list(await session.execute(asked))
        for tenant, capture_id in gone:
            for entry in await self._store.below(Event(tenant=tenant, capture_id=str(capture_id)).folder):
                await self._store.delete(entry.key)

    async def _is_settled(self, key: Key, ended: bool) -> bool:
        """Where it had ended before nobody can be at it; else we wait a little after the cancellation."""
        async with self._database.begin() as session:
            row = await session.get(CaptureRow, key)
        if row is None:
            return True
        at_once = row.record["state"] in ("done", "failed") or row.record["uploaded"] is None
        return at_once or (ended and datetime.now(UTC) - row.updated > SETTLED)

    async def _forget(self, key: Key, objects: int, size: int) -> None:
        tenant, capture_id = key
        async with self._database.begin() as session:
            row = await session.get(CaptureRow, key, with_for_update=True)
            if row is None:  # another replica was faster
                return
            await session.delete(row)
            for table in (JournalRow, WebhookRow, DeliveryRow):
                await session.execute(
                    delete(table).where(table.tenant == tenant, table.capture_id == capture_id)
                )
            session.add(noted(tenant, "phototwin", "deleted", capture_id, objects=objects, bytes=size))
        self._hub.forget(key)
        self._hub.moved(key)
