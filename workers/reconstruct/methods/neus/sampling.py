"""Where along rays samples lie: only where the surface may be."""

from __future__ import annotations

import numpy as np
import torch
from numba import prange
from numpy.typing import NDArray

from workers.geometry.kernels import Real, kernel, parallel_kernel
from workers.reconstruct.methods.neus.field import Field

Float = NDArray[np.float32]
Byte = NDArray[np.uint8]

EMPTY, NEAR, SOLID = 0, 1, 2
_CELLS = 64
_CHUNK = 64  # rays that a thread takes at a time
_BEYOND = 2.5  # cells outside what the field began with: no surface is looked for farther out
_POINTS = 1 << 15  # looked at together


class Space:
    """What is known of the cells of the field's cube: `state` (64,64,64), EMPTY, NEAR the surface or SOLID,
    deep inside. Changed in place.
    """

    def __init__(self, field: Field) -> None:
        self._field = field
        self.cell = field.side / _CELLS
        axis = torch.arange(_CELLS, device=field.base.device) + 0.5
        self._centres = self.cell * torch.cartesian_prod(axis, axis, axis) - field.side / 2
        self._wanted = torch.cat([
            torch.nonzero(field.begun(part) < _BEYOND * self.cell)[:, 0] + first * _POINTS
            for first, part in enumerate(torch.split(self._centres, _POINTS))
        ])  # fmt: skip
        self.state = np.full((_CELLS,) * 3, NEAR, np.uint8)

    @torch.no_grad()
    def look(self, band: float, levels: int) -> None:
        """See anew which cells are within `band` of the surface."""
        found = torch.ones(len(self._centres), device=self._centres.device)
        for part in torch.split(self._wanted, _POINTS):
            found[part] = self._field.distance(self._centres[part], levels)[0]
        distance = found.cpu().numpy().reshape(self.state.shape)
        away = band + self.cell
        self.state[:] = np.where(distance > away, EMPTY, np.where(distance < -away, SOLID, NEAR))

    def march(self, starts: Float, directions: Float, jitter: Float) -> tuple[Float, Float]:
        """Distances (R,S) of samples along rays (R,3), unit, and the lengths (R,) of the pieces around them:
        spread evenly, moved within their pieces by `jitter` (R,S) in [0,1), over what of a ray is near the
        surface, until it comes to what is solid. A length of 0: the ray meets nothing.
        """
        at = np.zeros(jitter.shape, np.float32)
        lengths = np.zeros(len(starts), np.float32)
        _march(starts, directions, self.state, np.float32(self._field.side), jitter, at, lengths)
        return at, lengths


@kernel
def _entry(start: Float, direction: Float, half: Real) -> tuple[Real, Real]:
    """Where a ray enters and leaves the cube."""
    near, far = np.float32(0), np.float32(1e6)
    for axis in range(3):
        d = direction[axis]
        if abs(d) < np.float32(1e-9):
            d = np.float32(1e-9)
        one, other = (-half - start[axis]) / d, (half - start[axis]) / d
        near, far = max(near, min(one, other)), min(far, max(one, other))
    return near, far


@kernel
def _state(start: Float, direction: Float, state: Byte, half: Real, scale: Real, t: Real) -> int:
    """Of the cell that a ray is in at `t`."""
    cells = state.shape[0]
    i = int((start[0] + t * direction[0] + half) * scale)
    j = int((start[1] + t * direction[1] + half) * scale)
    k = int((start[2] + t * direction[2] + half) * scale)
    i, j, k = min(max(i, 0), cells - 1), min(max(j, 0), cells - 1), min(max(k, 0), cells - 1)
    found: int = state[i, j, k]
    return found


@parallel_kernel
def _march(
    starts: Float, directions: Float, state: Byte, side: Real, jitter: Float, at: Float, lengths: Float
) -> None:
    half, scale = side / np.float32(2), np.float32(state.shape[0]) / side
    step = np.float32(0.5) / scale
    rays, samples = at.shape
    for chunk in prange((rays + _CHUNK - 1) // _CHUNK):
        for ray in range(chunk * _CHUNK, min(rays, (chunk + 1) * _CHUNK)):
            start, direction = starts[ray], directions[ray]
            near, far = _entry(start, direction, half)
            last = int((far - near) / step + np.float32(0.5)) if far > near else 0
            steps = 0
            for n in range(last):
                found = _state(start, direction, state, half, scale, near + (n + np.float32(0.5)) * step)
                if found == SOLID:
                    last = n
                    break
                steps += found
            if steps == 0:
                continue
            length = steps * step / np.float32(samples)
            lengths[ray] = length
            placed, passed = 0, np.float32(0)
            for n in range(last):
                t = near + n * step
                if _state(start, direction, state, half, scale, t + np.float32(0.5) * step) != NEAR:
                    continue
                passed += step
                while placed < samples:
                    left = passed - (placed + jitter[ray, placed]) * length
                    if left <= 0:
                        break
                    at[ray, placed] = t + step - left
                    placed += 1
            while placed < samples:  # what rounding left over
                at[ray, placed] = near + last * step
                placed += 1
