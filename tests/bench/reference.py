"""A fixed piece of work, by which machines, and busy and idle hours, can be compared."""

import time

import numpy as np


def reference() -> float:
    """CPU seconds of a fixed piece of arithmetic, the median of five."""
    values = np.random.default_rng(0).random((1 << 20,))
    taken = []
    for _ in range(5):
        start = time.process_time()
        for _ in range(60):
            np.sin(np.exp(values))
        taken.append(time.process_time() - start)
    return float(np.median(taken))
