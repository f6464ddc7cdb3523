"""What to do about a failed job: a pure function of the error and the attempt."""

from dataclasses import dataclass
from typing import Literal

from contracts.errors import Disposition, Outage, PhototwinError

DELAYS = (1.0, 5.0, 30.0, 120.0, 600.0)
OUTAGE_DELAY = 30.0


@dataclass(frozen=True)
class Decision:
    """`delay` (seconds) and `counts` (whether it is another attempt) matter for a retry only."""

    action: Literal["retry", "dead_letter", "fail", "stop"]
    delay: float = 0.0
    counts: bool = True


def decide(error: PhototwinError, attempt: int, max_attempts: int) -> Decision:
    """`attempt` counts from 0. `fail` ends the capture with `capture.failed`; `dead_letter` does too
    and keeps the message; `stop` ends in silence (the capture was cancelled). An outage is no fault
    of the job's and uses up none of its attempts."""
    if isinstance(error, Outage):
        return Decision("retry", OUTAGE_DELAY, counts=False)
    if error.disposition is Disposition.RETRY:
        if attempt + 1 < max_attempts:
            return Decision("retry", DELAYS[min(attempt, len(DELAYS) - 1)])
        return Decision("dead_letter")
    if error.disposition is Disposition.DEAD_LETTER:
        return Decision("dead_letter")
    return Decision("stop" if error.code == "capture_cancelled" else "fail")
