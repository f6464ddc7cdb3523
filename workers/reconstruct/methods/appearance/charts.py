"""A program that cuts a mesh into charts: what it is asked comes on stdin, the answer goes to stdout.

xatlas holds the interpreter while it works, so `unwrapping` runs this file beside its own process; nothing is
imported here but what that takes.
"""

from __future__ import annotations

import ctypes
import os
import pickle
import signal
import sys
from contextlib import suppress

import numpy as np
import xatlas
from numpy.typing import NDArray

_PADDING = 4  # texels between charts
_PR_SET_PDEATHSIG = 1  # of Linux' prctl


def charts(
    vertices: NDArray[np.float32], faces: NDArray[np.int32], size: int
) -> dict[str, NDArray[np.generic]]:
    """`source`, `faces` and `uv` of the mesh's `Atlas`: (V,3), (F,3), for a texture of size x size texels."""
    cutting = xatlas.ChartOptions()
    cutting.max_iterations = 1
    cutting.max_cost = 4.0
    pack = xatlas.PackOptions()
    pack.resolution = size
    pack.padding = _PADDING
    pack.bilinear = True
    pack.rotate_charts_to_axis = False
    atlas = xatlas.Atlas()
    atlas.add_mesh(vertices, faces.astype(np.uint32))
    atlas.generate(cutting, pack)
    source, corners, uv = atlas[0]
    return {
        "source": source.astype(np.int32),
        "faces": np.ascontiguousarray(corners, np.int32),
        "uv": uv.astype(np.float32),
    }


def main() -> None:
    """One question, the arguments of `charts`; one answer, what it returns or raises."""
    if hasattr(os, "sched_setaffinity"):
        # One of its threads spins while another works: on one processor that costs nothing.
        free = sorted(os.sched_getaffinity(0))
        os.sched_setaffinity(0, {free[os.getpid() % len(free)]})
    with suppress(AttributeError):  # elsewhere it ends when it has answered
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    try:
        answer: object = charts(*pickle.load(sys.stdin.buffer))
    except Exception as error:
        answer = error
    pickle.dump(answer, sys.stdout.buffer)


if __name__ == "__main__":
    main()
