"""How often a tenant may ask."""

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workers.gateway.limits import TIDY, Limiter
from workers.gateway.problems import TooMany


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@given(
    st.integers(1, 20),
    st.lists(st.tuples(st.floats(0, 30), st.sampled_from("ab")), min_size=1, max_size=200),
)
def test_a_tenant_gets_what_is_promised_and_no_more(
    per_minute: int, requests: list[tuple[float, str]]
) -> None:
    clock = Clock()
    limiter = Limiter(per_minute, clock)
    let_in: dict[str, list[float]] = {"a": [], "b": []}
    for pause, tenant in requests:
        clock.now += pause
        lately = [at for at in let_in[tenant] if at > clock.now - 60]
        try:
            limiter.take(tenant)
        except TooMany as refused:
            # It has had a minute's worth, bucket and refill, and is told when there will be more.
            assert len(lately) >= per_minute / 2
            seconds = int(refused.headers["Retry-After"])
            assert 1 <= seconds <= 61 / per_minute + 2
        else:
            let_in[tenant].append(clock.now)
    for times in let_in.values():
        for first in range(len(times)):
            for last in range(first, len(times)):
                most = per_minute + (times[last] - times[first]) * per_minute / 60
                assert last - first + 1 <= most + 1e-6


def test_whoever_never_stops_asking_gets_the_rate() -> None:
    clock = Clock()
    limiter = Limiter(30, clock)
    let_in = 0
    for _ in range(60_000):  # ten minutes
        clock.now += 0.01
        with suppress(TooMany):
            limiter.take("a")
            let_in += 1
    assert 30 + 10 * 30 - 1 <= let_in <= 30 + 10 * 30


def test_whoever_waits_as_told_is_let_in() -> None:
    clock = Clock()
    limiter = Limiter(7, clock)
    for _ in range(200):
        try:
            limiter.take("a")
        except TooMany as refused:
            clock.now += int(refused.headers["Retry-After"])
            limiter.take("a")


def test_one_tenant_does_not_use_up_anothers() -> None:
    limiter = Limiter(1, Clock())
    limiter.take("a")
    with pytest.raises(TooMany):
        limiter.take("a")
    limiter.take("b")


def test_tenants_that_have_gone_are_forgotten() -> None:
    clock = Clock()
    limiter = Limiter(60, clock)
    for number in range(20 * TIDY):
        clock.now += 0.1
        limiter.take(f"tenant-{number}")
        assert len(limiter) <= TIDY + 1
