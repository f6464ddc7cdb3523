"""Gradient descent on what is fitted: a light in several resolutions, and arrays."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from workers.render.environment import bordered

Float = NDArray[np.float32]

_HALVINGS = 2
_RATES = (0.04, 0.05, 0.06)  # of the light's levels, finest first, in its logarithm
_BLUR = 0.03  # how far a texel of the finest level moves to its neighbours' mean in a step
_DARKEST, _BRIGHTEST = -6.0, 7.0  # in the logarithm


class Adam:
    """Kingma and Ba 2015, with state for an array of the given shape.

    alone: every element has its own second moment; else all share one, so that directions are kept (Nicolet
    et al. 2021, section 3.3).
    """

    def __init__(self, shape: tuple[int, ...], rate: float, alone: bool = True) -> None:
        self._first = np.zeros(shape, np.float32)
        self._second = np.zeros(shape if alone else 1, np.float32)
        self._count = np.zeros(1, np.int64)
        self._rate, self._alone = rate, alone

    def state(self) -> dict[str, NDArray[Any]]:
        """Its arrays themselves, by name."""
        return {"first": self._first, "second": self._second, "count": self._count}

    def step(self, gradient: Float, share: float) -> Float:
        """What to add to the array, at that share of the rate."""
        self._count += 1
        count = int(self._count[0])
        square = gradient * gradient
        self._first += np.float32(0.1) * (gradient - self._first)
        self._second += np.float32(0.01) * ((square if self._alone else square.mean()) - self._second)
        first = self._first / np.float32(1 - 0.9**count)
        second = self._second / np.float32(1 - 0.99**count)
        step: Float = np.float32(-self._rate * share) * first / (np.sqrt(second) + np.float32(1e-12))
        return step


class Light:
    """The logarithm of a cube map (6,R,R,3), the sum of one in full and of coarser ones: what little light is
    seen of moves with what is around it.
    """

    def __init__(self, size: int, radiance: float) -> None:
        sizes = [size >> k for k in range(_HALVINGS + 1)]
        self._logs = [np.zeros((6, s, s, 3), np.float32) for s in sizes]
        self._logs[-1] += np.float32(np.log(radiance))
        self._adam = [Adam(log.shape, rate) for log, rate in zip(self._logs, _RATES, strict=True)]
        around = bordered(size)
        sides = [around[:, :-2, 1:-1], around[:, 2:, 1:-1], around[:, 1:-1, :-2], around[:, 1:-1, 2:]]
        self._sides = np.stack(sides).reshape(4, -1)

    def state(self) -> dict[str, NDArray[Any]]:
        """All arrays that change, themselves, by name."""
        state: dict[str, NDArray[Any]] = {}
        for k, (log, adam) in enumerate(zip(self._logs, self._adam, strict=True)):
            state[f"light_{k}"] = log
            state |= {f"light_{k}_{part}": array for part, array in adam.state().items()}
        return state

    def logarithm(self) -> Float:
        """(6 R R,3)."""
        total = self._logs[-1]
        for log in self._logs[-2::-1]:
            total = log + total.repeat(2, 1).repeat(2, 2)
        return np.clip(total, _DARKEST, _BRIGHTEST).reshape(-1, 3)

    def step(self, gradient: Float, share: float) -> None:
        """gradient: (6 R R,3) by the logarithm."""
        gradient = gradient.reshape(self._logs[0].shape)
        for log, adam in zip(self._logs, self._adam, strict=True):
            log += adam.step(gradient, share)
            size = log.shape[1] // 2
            gradient = gradient.reshape(6, size, 2, size, 2, 3).sum((2, 4)) if size else gradient
        finest = self._logs[0].reshape(-1, 3)
        finest += np.float32(_BLUR * share) * (finest[self._sides].mean(0) - finest)
