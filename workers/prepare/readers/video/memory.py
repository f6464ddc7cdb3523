"""How much memory a library that reads what strangers send may take."""

import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

STATM = Path("/proc/self/statm")


@contextmanager
def at_most(more: int) -> Iterator[None]:
    """Meanwhile this process gets no more than so many bytes in addition: then a C library's `malloc` fails,
    and Python raises MemoryError. Only where the system says what it has already: on Linux.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_DATA)
    if STATM.exists():
        taken = int(STATM.read_text().split()[5]) * resource.getpagesize()
        limits = [limit for limit in (soft, hard, taken + more) if limit != resource.RLIM_INFINITY]
        resource.setrlimit(resource.RLIMIT_DATA, (min(limits), hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_DATA, (soft, hard))
