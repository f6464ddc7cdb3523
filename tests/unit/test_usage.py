"""What a computation costs counts what it has other processes do."""

import subprocess
import sys

import pytest

from workers.runtime.usage import Clock, metered

BUSY = """
import time
block = b"x" * {size}
while time.process_time() < {seconds}:
    pass
"""


def test_a_process_that_was_started_counts_in_cpu_seconds_and_memory() -> None:
    with metered() as alone:
        pass
    with metered() as usage:
        subprocess.run([sys.executable, "-c", BUSY.format(size=200_000_000, seconds=0.6)], check=True)
    assert 0.55 < usage["cpu_seconds"] < 1.2
    assert usage["wall_seconds"] > 0.55
    assert 190 < usage["peak_rss_mb"] - alone["peak_rss_mb"] < 350
    with metered() as after:
        pass
    assert after["cpu_seconds"] < 0.1
    assert after["peak_rss_mb"] == pytest.approx(alone["peak_rss_mb"], abs=25)


def test_a_step_is_charged_with_the_process_it_waited_for() -> None:
    clock = Clock()
    busy = subprocess.Popen([sys.executable, "-c", BUSY.format(size=1, seconds=0.5)])
    clock.charge("before")
    busy.wait()
    clock.charge("waiting")
    assert clock.spent["before"] < 0.2
    assert 0.45 < clock.spent["waiting"] < 1.0
