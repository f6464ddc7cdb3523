"""For how long nothing has been heard of a capture in work: what is stuck shows here, whatever the reason."""

import asyncio
from contextlib import suppress
from datetime import UTC, datetime

from sqlalchemy import func, select
from sqlalchemy.exc import SQLAlchemyError

from contracts.events import LANES
from workers.gateway.begun import has_begun
from workers.gateway.database.session import Database
from workers.gateway.database.tables import CaptureRow
from workers.gateway.metrics import oldest

LOOK_SECONDS = 30.0


async def listen_for_silence(database: Database) -> None:
    """Keeps the metric, until it is cancelled."""
    while True:
        with suppress(SQLAlchemyError, OSError):
            since, now = await _last_heard(database), datetime.now(UTC)
            for lane in LANES:
                seconds = (now - since[lane]).total_seconds() if lane in since else 0.0
                oldest.labels(lane).set(max(0.0, seconds))
        await asyncio.sleep(LOOK_SECONDS)


async def _last_heard(database: Database) -> dict[str, datetime]:
    """Of the captures in work, of each lane: when the latest news came of the one whose news is oldest."""
    lane = CaptureRow.record["options"]["lane"].as_string()
    in_work = (CaptureRow.state == "working") & has_begun()
    asked = select(lane, func.min(CaptureRow.updated)).where(in_work).group_by(lane)
    async with database.read() as session:
        return {str(name): at for name, at in await session.execute(asked)}
