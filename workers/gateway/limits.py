"""How often a tenant may ask."""

import time
from collections.abc import Callable

from workers.gateway.problems import TooMany

TIDY = 1024


class Limiter:
    """A bucket for each tenant that leaks `per_minute` requests a minute, and overflows where more than that
    are in it: so many may come at once. In memory, for one replica. `clock` tells seconds.

    A bucket that has run empty is forgotten: there are never more than twice those of the last minute, or
    `TIDY`.
    """

    def __init__(self, per_minute: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._size, self._rate, self._clock = per_minute, per_minute / 60, clock
        self._buckets: dict[str, tuple[float, float]] = {}  # how full it was, and when
        self._tidy_at = TIDY

    def take(self, tenant: str) -> None:
        """Count a request of the tenant's. Raises TooMany, and then it does not count."""
        now = self._clock()
        full = self._filled(self._buckets.get(tenant, (0.0, now)), now)
        over = full + 1 - self._size
        if over > 1e-9:  # what rounding leaves where someone waited exactly as long as told
            raise TooMany(f"more than {self._size} requests in a minute", over / self._rate)
        self._buckets[tenant] = (full + 1, now)
        if len(self._buckets) > self._tidy_at:
            self._tidy(now)

    def __len__(self) -> int:
        return len(self._buckets)

    def _filled(self, bucket: tuple[float, float], now: float) -> float:
        full, at = bucket
        return max(0.0, full - (now - at) * self._rate)

    def _tidy(self, now: float) -> None:
        self._buckets = {
            tenant: bucket for tenant, bucket in self._buckets.items() if self._filled(bucket, now) > 0
        }
        self._tidy_at = max(TIDY, 2 * len(self._buckets))
