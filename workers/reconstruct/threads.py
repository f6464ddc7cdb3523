"""Loops over photos on all the threads that kernels have."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import numba

R = TypeVar("R")


def each(work: Callable[..., R], *items: Iterable[object]) -> list[R]:
    """What `map` gives, for work of OpenCV and NumPy, which let go of the interpreter while they compute.

    Not for work that calls parallel kernels: these allow one caller at a time.
    """
    with ThreadPoolExecutor(numba.get_num_threads()) as pool:
        return list(pool.map(work, *items))
