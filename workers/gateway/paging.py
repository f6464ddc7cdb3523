"""Where a page of captures ends, in a form that clients hand back."""

import base64
import json
from datetime import UTC, datetime

from pydantic import TypeAdapter

from contracts.fields import Slug
from workers.gateway.database.tables import CaptureRow
from workers.gateway.problems import RequestInvalid


def cursor(row: CaptureRow) -> str:
    told = json.dumps([row.created.isoformat(), row.capture_id])
    return base64.urlsafe_b64encode(told.encode()).decode().rstrip("=")


def place(after: str) -> tuple[datetime, str]:
    """When the last capture of the page before was made, and its id. Raises RequestInvalid."""
    try:
        created, capture_id = json.loads(base64.urlsafe_b64decode(after + "=" * (-len(after) % 4)))
        moment = datetime.fromisoformat(created).astimezone(UTC)
        TypeAdapter[str](Slug).validate_python(capture_id)
    except (ValueError, TypeError, OverflowError):
        raise RequestInvalid("after: is not the `next` of a page") from None
    return moment, capture_id
