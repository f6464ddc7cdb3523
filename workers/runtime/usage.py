"""What a computation costs, the processes it starts included."""

import contextlib
import os
import resource
import threading
import time
from collections.abc import Iterator
from pathlib import Path

_PAUSE = 0.2  # seconds between two looks at what started processes take


@contextlib.contextmanager
def metered() -> Iterator[dict[str, float]]:
    """Wall and CPU seconds of what runs inside, and the highest memory reached, in MB.

    Of processes that the calling thread starts: CPU seconds once they ended and were waited for; memory as it
    is looked at five times a second, the most that each took so far on top of what this process takes.
    """
    usage: dict[str, float] = {}
    wall, cpu = time.monotonic(), _cpu_seconds()
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")  # start the peak anew: the process is reused
    together, ended = [0], threading.Event()
    watch = threading.Thread(target=_watch, args=(threading.get_native_id(), together, ended), daemon=True)
    watch.start()
    try:
        yield usage
    finally:
        ended.set()
        watch.join()
    usage["wall_seconds"] = round(time.monotonic() - wall, 3)
    usage["cpu_seconds"] = round(_cpu_seconds() - cpu, 3)
    peak = max(_kilobytes("self", "VmHWM:"), *together)
    peak = peak or resource.getrusage(resource.RUSAGE_SELF).ru_maxrss  # where there is no /proc
    usage["peak_rss_mb"] = round(peak * 1024 / 1e6, 1)


class Clock:
    """Charges the CPU time since it last did to a step that has ended; that of a process started meanwhile to
    the step that has waited for its end."""

    def __init__(self) -> None:
        self.spent: dict[str, float] = {}
        self._last = _cpu_seconds()

    def charge(self, step: str) -> None:
        now = _cpu_seconds()
        self.spent[step] = round(self.spent.get(step, 0.0) + now - self._last, 2)
        self._last = now


def _watch(thread: int, together: list[int], ended: threading.Event) -> None:
    """Note what this process and those that the thread started take together, while there are any."""
    while not ended.wait(_PAUSE):
        with contextlib.suppress(OSError):
            started = Path(f"/proc/self/task/{thread}/children").read_text().split()
            if started:
                theirs = sum(_kilobytes(process, "VmHWM:") for process in started)
                together.append(_kilobytes("self", "VmRSS:") + theirs)


def _cpu_seconds() -> float:
    return sum(os.times()[:4])


def _kilobytes(process: str, what: str) -> int:
    """A line of the process's status; 0 where there is none."""
    with contextlib.suppress(OSError):
        for line in Path(f"/proc/{process}/status").read_text().splitlines():
            if line.startswith(what):
                return int(line.split()[1])
    return 0
