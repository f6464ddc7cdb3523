"""What to do about a failed job: a pure function of the error and the attempt."""

from dataclasses import dataclass
from typing import Literal

from contracts.errors import Disposition, Outage, PhototwinError

FIRST_DELAY = 1.0
GROWTH = 5.0


@dataclass(frozen=True)
class Decision:
    """`delay` (seconds) matters for a retry only."""

    action: Literal["retry", "dead_letter", "fail", "stop"]
    delay: float = 0.0


def decide(error: PhototwinError, attempt: int, max_attempts: int) -> Decision:
    """`attempt` counts from 0. `fail` ends the capture with `capture.failed`; `dead_letter` does too
    and keeps the message; `stop` ends in silence (the capture was cancelled)."""
    if error.disposition is Disposition.RETRY:
        if isinstance(error, Outage) or attempt + 1 < max_attempts:
            return Decision("retry", FIRST_DELAY * GROWTH ** min(attempt, 8))
        return Decision("dead_letter")
    if error.disposition is Disposition.DEAD_LETTER:
        return Decision("dead_letter")
    return Decision("stop" if error.code == "capture_cancelled" else "fail")
