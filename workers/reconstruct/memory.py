"""Whether a reconstruction fits into memory, asked before it starts."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

from workers.geometry.errors import NumericError

# What `tests/bench/RESULTS.md` measured, with a fifth to spare: bytes of every job, and of a pixel of photo.
_BASE = {"preview": 0.8e9, "standard": 1.1e9, "high": 3.0e9}
_A_PIXEL = {"preview": 20, "standard": 36, "high": 20}


def needed(pixels: int, profile: str) -> float:
    """Bytes that photos of so many pixels in all take at most, at a time."""
    return _BASE[profile] + _A_PIXEL[profile] * pixels


def check_memory(pixels: int, profile: str, more: float = 0) -> None:
    """NumericError "too_much_memory" where photos of so many pixels in all do not fit into what is free;
    more: bytes that a method needs besides.
    """
    need, free = needed(pixels, profile) + more, available()
    if need > free:
        needed_mb, limit_mb = round(need / 1e6), round(free / 1e6)
        message = f"the photos need about {needed_mb} MB of memory, and {limit_mb} MB are free"
        raise NumericError("too_much_memory", message, needed_mb=needed_mb, limit_mb=limit_mb)


def available() -> float:
    """Bytes that this process may still take: of the machine, and of its control group's limit (cgroup v2,
    `memory.max`); what cannot be read does not count.
    """
    free = float("inf")
    with suppress(OSError, ValueError, StopIteration):
        lines = Path("/proc/meminfo").read_text().splitlines()
        free = 1024.0 * int(next(line for line in lines if line.startswith("MemAvailable:")).split()[1])
    with suppress(OSError, ValueError):
        group = Path("/sys/fs/cgroup")
        limit = int((group / "memory.max").read_text())  # "max" where there is none
        free = min(free, limit - int((group / "memory.current").read_text()))
    return free
