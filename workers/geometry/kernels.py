"""Decorators for compiled kernels.

Every kernel is compiled once and cached on disk. A `parallel_kernel` splits its `prange` over items whose
inner
loops do not depend on the split, and never reduces across items: the result is the same whatever the thread
count.
The `workqueue` layer is the only one that is always there, and its idle threads sleep instead of spinning
against other thread pools; it allows one caller at a time.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar, cast

import numba
import numpy as np

numba.config.THREADING_LAYER = "workqueue"  # type: ignore[attr-defined]

Real = float | np.floating[Any]  # a scalar in a kernel, whatever its precision
P = ParamSpec("P")
R = TypeVar("R")

# Everything of fast maths but the assumption that no infinity or NaN ever appears.
_FAST = {"contract", "reassoc", "arcp", "nsz", "afn"}


def kernel(function: Callable[P, R]) -> Callable[P, R]:
    """Compile `function` for one thread, with relaxed floating point."""
    return cast(
        Callable[P, R], numba.njit(function, cache=True, nogil=True, error_model="numpy", fastmath=_FAST)
    )


def exact_kernel(function: Callable[P, R]) -> Callable[P, R]:
    """Compile `function` for one thread, with IEEE arithmetic (for predicates that must agree between
    triangles).
    """
    return cast(Callable[P, R], numba.njit(function, cache=True, nogil=True, error_model="numpy"))


def parallel_kernel(function: Callable[P, R]) -> Callable[P, R]:
    """Compile `function` with its `prange` loops spread over threads."""
    return cast(
        Callable[P, R],
        numba.njit(function, cache=True, nogil=True, error_model="numpy", fastmath=_FAST, parallel=True),
    )
