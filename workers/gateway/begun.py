"""What has been begun of a capture. Of one whose only event could not be read the gateway has heard, as its
sender was told, and there is nothing to work on: the event may still come, corrected."""

from sqlalchemy import ColumnElement, exists

from contracts.events import Event, MasksReviewed, Stage
from workers.gateway.database.tables import CaptureRow, JournalRow
from workers.gateway.record import INPUTS

BEGIN: dict[type[Event], Stage] = {**INPUTS, MasksReviewed: "segment"}
"""Events that give a stage something to do."""
KINDS = tuple(kind.routing_key for kind in BEGIN)


def has_begun() -> ColumnElement[bool]:
    """Of a `CaptureRow`: whether its journal has any of these."""
    return exists().where(
        JournalRow.tenant == CaptureRow.tenant,
        JournalRow.capture_id == CaptureRow.capture_id,
        JournalRow.kind.in_(KINDS),
    )
