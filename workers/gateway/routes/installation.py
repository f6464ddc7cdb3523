"""Who is asking, and how much there is to do."""

import asyncio
import statistics
from datetime import UTC, datetime

from fastapi import APIRouter
from sqlalchemy import select

from contracts.events import Stage
from workers.gateway import api
from workers.gateway.database.tables import CaptureRow
from workers.gateway.dependencies import TheGateway, Theirs
from workers.gateway.gateway import Gateway
from workers.gateway.record import STAGES, Record

router = APIRouter(prefix="/v1", tags=["installation"])
RECENT = 50
"""So many of the latest models say how long one takes."""


@router.get("/me")
async def me(captures: Theirs, gateway: TheGateway) -> api.Me:
    """Who is asking, and what is too much."""
    settings = gateway.settings
    return api.Me(
        tenant=captures.principal.tenant,
        who=captures.principal.who,
        limits=api.Limits(
            requests_per_minute=settings.requests_per_minute,
            open_captures=settings.max_open_captures,
            files=settings.max_files,
            bytes=settings.max_upload_bytes,
        ),
        open_captures=await captures.open(),
    )


@router.get("/capacity")
async def capacity(captures: Theirs, gateway: TheGateway) -> api.Capacity:
    """How much there is to do, and how long a new capture would have to wait."""
    async with gateway.database.begin() as session:
        asked = select(CaptureRow.record)
        done = asked.where(CaptureRow.state == "done").order_by(CaptureRow.updated.desc()).limit(RECENT)
        records = [Record.model_validate(row) for row in await session.scalars(done)]
        open_ones = asked.where(CaptureRow.state == "working")
        waiting = [Record.model_validate(row) for row in await session.scalars(open_ones)]
    loads = await asyncio.gather(*(_load(gateway, stage, records, waiting) for stage in STAGES))
    times = [load.seconds for load in loads if load.seconds is not None]
    waits = [_wait(load) for load in loads]
    return api.Capacity(
        stages=tuple(loads),
        wait_seconds=None if None in waits else round(sum(filter(None, waits)), 1),
        model_seconds=round(sum(times), 1) if len(times) == len(STAGES) else None,
    )


async def _load(gateway: Gateway, stage: Stage, done: list[Record], working: list[Record]) -> api.StageLoad:
    topology = gateway.settings.topology
    depths = [await gateway.broker.depth(queue) for queue in topology.live_queues(stage)]
    took = [entry.seconds for record in done if (entry := record.stages[stage]).seconds is not None]
    since = [
        entry.since
        for record in working
        if (entry := record.stages[stage]).state == "waiting" and entry.since is not None
    ]
    oldest = (datetime.now(UTC) - min(since)).total_seconds() if since else None
    return api.StageLoad(
        stage=stage,
        waiting=sum(depths),
        workers=await gateway.broker.listeners(topology.arrivals(stage)),
        seconds=round(statistics.median(took), 3) if took else None,
        oldest_seconds=None if oldest is None else round(max(0.0, oldest), 1),
    )


def _wait(load: api.StageLoad) -> float | None:
    """Until a new job of this stage is begun; None where nobody works."""
    if load.workers == 0:
        return None
    return load.waiting / load.workers * (load.seconds or 0.0)
