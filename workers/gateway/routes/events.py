"""/v1/captures/{capture_id}/events"""

from typing import Annotated, Any

from fastapi import APIRouter, Header
from fastapi.responses import StreamingResponse

from contracts.fields import Slug
from workers.gateway.dependencies import Tells, TheGateway, Theirs
from workers.gateway.live import stream
from workers.gateway.problems import TooMany

router = APIRouter(prefix="/v1/captures", tags=["captures"])
_SAID: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "`status` (a CaptureStatus), one with each event of the capture; the event itself, "
        "named by its routing key, as the broker has it; and `job.progress` while work goes on.",
        "content": {"text/event-stream": {"schema": {"type": "string"}}},
    }
}


@router.get("/{capture_id}/events", response_class=StreamingResponse, responses=_SAID)
async def events(
    capture_id: Slug,
    captures: Theirs,
    gateway: TheGateway,
    tells: Tells,
    last_event_id: Annotated[str | None, Header(max_length=15, pattern=r"^\d*$")] = None,
) -> StreamingResponse:
    """What happens to a capture, as it happens (server-sent events). After a lost connection send the id of
    the last event as `Last-Event-ID`: what was missed comes first."""
    row = await captures.row(capture_id)
    most = gateway.settings.max_listeners
    if gateway.hub.listeners_of(row.tenant) >= most:
        raise TooMany(f"{most} connections are told of events", 30.0)
    last = int(last_event_id) if last_event_id else None
    headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
    return StreamingResponse(
        stream(gateway, captures, tells, row, last), media_type="text/event-stream", headers=headers
    )
