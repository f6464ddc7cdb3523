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


def decide(error: PhototwinError, attempt: int, max_attempts: int, chance: float) -> Decision:
    """`attempt` counts from 0. `fail` ends the capture with `capture.failed`; `dead_letter` does too
    and keeps the message; `stop` ends in silence (the capture was cancelled). An outage is no fault
    of the job's and uses up none of its attempts. `chance`, in [0, 1), spreads the delays over the upper half
    of what they grow by, so that jobs that failed together do not come again together."""
    if isinstance(error, Outage):
        return Decision("retry", _spread(OUTAGE_DELAY, chance), counts=False)
    if error.disposition is Disposition.RETRY:
        if attempt + 1 < max_attempts:
            return Decision("retry", _spread(DELAYS[min(attempt, len(DELAYS) - 1)], chance))
        return Decision("dead_letter")
    if error.disposition is Disposition.DEAD_LETTER:
        return Decision("dead_letter")
    return Decision("stop" if error.code == "capture_cancelled" else "fail")


def _spread(delay: float, chance: float) -> float:
    return delay * (1 - chance / 2)
