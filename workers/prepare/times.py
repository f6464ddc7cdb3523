"""When the photos of a capture were taken."""

from collections.abc import Iterable
from datetime import datetime


def taken(times: Iterable[datetime | None]) -> dict[str, str]:
    """`first` and `last`, ISO 8601; nothing where fewer than two photos say, or some by the clock of a zone
    and others not."""
    known = [time for time in times if time is not None]
    if len(known) < 2 or len({time.tzinfo is None for time in known}) == 2:
        return {}
    return {"first": min(known).isoformat(), "last": max(known).isoformat()}
