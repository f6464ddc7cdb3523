"""What a computation costs counts what it has other processes do."""

import json
import subprocess
import sys

import pytest

BUSY = """
import time
block = b"x" * {size}
while time.process_time() < {seconds}:
    pass
"""


# Run as programs: the test process itself may have any memory by now, and children of other tests.
STARTER = """
import json, subprocess, sys
from workers.runtime.usage import metered

with metered() as alone:
    pass
with metered() as usage:
    subprocess.run([sys.executable, "-c", sys.argv[1]], check=True)
with metered() as after:
    pass
print(json.dumps([alone, usage, after]))
"""


def test_a_process_that_was_started_counts_in_cpu_seconds_and_memory() -> None:
    busy = BUSY.format(size=200_000_000, seconds=0.6)
    done = subprocess.run([sys.executable, "-c", STARTER, busy], capture_output=True, text=True, check=True)
    alone, usage, after = json.loads(done.stdout)
    assert 0.55 < usage["cpu_seconds"] < 1.2
    assert usage["wall_seconds"] > 0.55
    assert 190 < usage["peak_rss_mb"] - alone["peak_rss_mb"] < 350
    assert after["cpu_seconds"] < 0.1
    assert after["peak_rss_mb"] == pytest.approx(alone["peak_rss_mb"], abs=25)


WAITER = """
import json, subprocess, sys
from workers.runtime.usage import Clock

clock = Clock()
busy = subprocess.Popen([sys.executable, "-c", sys.argv[1]])
clock.charge("before")
busy.wait()
clock.charge("waiting")
print(json.dumps(clock.spent))
"""


def test_a_step_is_charged_with_the_process_it_waited_for() -> None:
    busy = BUSY.format(size=1, seconds=0.5)
    done = subprocess.run([sys.executable, "-c", WAITER, busy], capture_output=True, text=True, check=True)
    spent = json.loads(done.stdout)
    assert spent["before"] < 0.2
    assert 0.45 < spent["waiting"] < 1.0
