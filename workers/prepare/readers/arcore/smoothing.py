"""A slow drift told from the noise it is measured with."""

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

STEPS = np.array([0.0, *np.geomspace(0.01, 100, 17)])
"""Standard deviations of the drift from frame to frame that are tried, in those of the measurement."""
SCALES = np.geomspace(1, 16, 9)
"""What the measurement's noise may be larger than it was thought to be."""
TRUST = 1.0
"""In what was thought: of the logarithm of the likelihood that it takes for a variance e times as large."""
EVIDENCE = 10.0
"""The same, that it takes to believe in any drift at all."""


def smooth(measured: Array, variance: Array, breaks: NDArray[np.bool_]) -> Array:
    """(N, D) the likeliest course of a random walk that was measured as (N, D), each component with
    `variance` (N,), infinite where there was no measurement, and that starts anew at the frames of `breaks`
    (N,).

    How much it walks, and how much larger its measurement's noise is than thought, are those of greatest
    likelihood: what never leaves the noise comes out constant, what walks more than that as it was measured.
    Kalman filter and Rauch-Tung-Striebel smoother, both for all candidates at once.
    """
    known = np.isfinite(variance)
    if not known.any():
        return np.zeros_like(measured)
    scale = np.repeat(SCALES**2, len(STEPS))  # G candidates
    walk = np.tile(STEPS**2, len(SCALES)) * np.median(variance[known])
    likelihood = _filter(measured, variance, breaks, walk, scale)[0]
    likelihood -= TRUST * np.log(scale) ** 2 + EVIDENCE * (walk > 0)
    best = int(likelihood.argmax())
    _, state, spread = _filter(measured, variance, breaks, walk[best : best + 1], scale[best : best + 1])
    course, spread = state[:, 0], spread[:, 0]
    for k in range(len(course) - 2, -1, -1):
        if not breaks[k + 1] and np.isfinite(spread[k]):
            gain = spread[k] / (spread[k] + walk[best])
            course[k] += gain * (course[k + 1] - course[k])
        elif not breaks[k + 1]:
            course[k] = course[k + 1]  # before the first measurement
    return course


def _filter(
    measured: Array, variance: Array, breaks: NDArray[np.bool_], walk: Array, scale: Array
) -> tuple[Array, Array, Array]:
    """Log likelihood (G,), states (N, G, D) and their variances (N, G) of G random walks, of that variance
    from frame to frame and measured with `variance` (N,) times `scale` (G,).
    """
    count, size = len(measured), len(walk)
    state, spread = np.zeros((size, measured.shape[1])), np.full(size, np.inf)
    states, spreads, likelihood = np.empty((count, *state.shape)), np.empty((count, size)), np.zeros(size)
    for k in range(count):
        fresh = breaks[k] or not np.isfinite(spread[0])
        spread = spread + walk
        if np.isfinite(variance[k]):
            noise = variance[k] * scale
            if fresh:
                state, spread = np.tile(measured[k], (size, 1)), noise
            else:
                surprise = measured[k] - state
                total = spread + noise
                likelihood -= 0.5 * (measured.shape[1] * np.log(total) + (surprise**2).sum(axis=1) / total)
                gain = spread / total
                state = state + gain[:, None] * surprise
                spread = (1 - gain) * spread
        states[k], spreads[k] = state, spread
    return likelihood, states, spreads
