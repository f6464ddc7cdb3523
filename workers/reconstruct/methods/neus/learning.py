"""The field from the photos: rays drawn by how wrong they were, a surface that sharpens as it is found."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import normalize

from workers.reconstruct.checkpoints import Checkpoints
from workers.reconstruct.methods.neus.density import Formulation, opacity, weights
from workers.reconstruct.methods.neus.field import Field
from workers.reconstruct.methods.neus.pixels import Batch, Pixels
from workers.reconstruct.methods.neus.profiles import Profile
from workers.reconstruct.methods.neus.sampling import Space
from workers.reconstruct.methods.training import Losses, Schedule, optimise

Float = NDArray[np.float32]

_RATE, _TABLE_RATE = 0.005, 0.01
_EPSILON = 1e-12  # a table's gradients are small
_WARMUP = 50
_LOOKS = 25  # at where the surface may be
_SOFT, _SHARP = 30.0, 1200.0  # of the surface, in units of its longest side
_SHARP_AT = 0.8  # of the iterations
_COARSE = 4  # levels at first
_FINE_AT = 0.6  # of the iterations, when the last level comes in
_DEEP, _DEEP_UNTIL = 0.05, 0.25  # how far inside is looked at first, and until when
_MASK, _EIKONAL, _GAIN = 0.3, 0.1, 0.1
_CURVATURE, _CURVED_UNTIL = 0.1, 0.25  # to begin with; the part of the iterations when it has come to nothing
_APART = 0.005  # of the longest side: how far normals are from each other that should be alike


def sharpness(part: float) -> float:
    """After that part of the iterations."""
    return float(_SOFT * (_SHARP / _SOFT) ** min(1.0, part / _SHARP_AT))


def band(part: float) -> float:
    """Within which the surface may be found."""
    return max(5 / sharpness(part), _DEEP * (1 - part / _DEEP_UNTIL))


def evenness(part: float) -> float:
    """How much the surface is kept from bending, so that it bends for what many photos show."""
    return _CURVATURE * max(0.0, 1 - part / _CURVED_UNTIL)


def levels(part: float, all: int) -> int:
    """Of the encoding that are taken."""
    return min(all, _COARSE + int(part / _FINE_AT * (all - _COARSE + 1)))


def learn(
    field: Field,
    pixels: Pixels,
    space: Space,
    work: Profile,
    seed: int,
    checkpoints: Checkpoints,
    tell: Callable[[float, dict[str, float]], None],
    by: Formulation = "solid",
) -> None:
    """Fit the field to the pixels; tell: the part done and recent losses."""
    every = max(1, work.iterations // _LOOKS)

    def losses(iteration: int) -> Losses:
        part = iteration / work.iterations
        used = levels(part, work.grid.levels)
        if iteration % every == 0:
            space.look(band(part), used)
        rng = np.random.default_rng((seed, iteration))
        batch = pixels.draw(work.rays, rng)
        jitter = rng.random((work.rays, work.samples), dtype=np.float32)
        traced = trace(field, space, batch, jitter, sharpness(part), used, by)
        found, errors = _losses(field, batch, traced)
        pixels.learn(batch, errors)
        if evenness(part) > 0:
            aside = torch.from_numpy(rng.standard_normal((work.rays, 3), np.float32))
            bending = curvature(field, traced, aside[: len(traced.cover)].to(field.base.device), used)
            found["curvature"] = evenness(part) * bending
        return found

    groups = [(value, _TABLE_RATE if name == "table" else _RATE) for name, value in field.parameters.items()]
    kept: dict[str, NDArray[Any]] = {"errors": pixels.errors, "state": space.state}
    schedule = Schedule(work.iterations, min(_WARMUP, work.iterations // 4))
    optimise("field", groups, schedule, losses, lambda: None, checkpoints, tell, _EPSILON, kept)
    space.look(band(1.0), work.grid.levels)


@dataclass(frozen=True)
class Traced:
    """Of the M of R rays that meet what may be surface.

    met: (R,) which. colour: (M,3) sRGB times cover, before the photos' exposures. cover: (M,) how much is
    stopped. slope: (M*S,3) of the distance at the samples. first: (M,) which of these samples is seen most;
    place: (M,3) where it is.
    """

    met: NDArray[np.bool_]
    colour: Tensor
    cover: Tensor
    slope: Tensor
    first: Tensor
    place: Tensor


def trace(
    field: Field, space: Space, batch: Batch, jitter: Float, sharp: float, used: int, by: Formulation
) -> Traced:
    """What rays see of the field. jitter: (R,S), see `Space.march`. sharp, used: `sharpness` and `levels`."""
    at, lengths = space.march(batch.starts, batch.directions, jitter)
    met, count, device = lengths > 0, jitter.shape[1], field.base.device
    starts, directions, depths, steps = (
        torch.from_numpy(values[met]).to(device) for values in (batch.starts, batch.directions, at, lengths)
    )
    places = (starts[:, None] + depths[..., None] * directions[:, None]).reshape(-1, 3)
    towards = -directions.repeat_interleave(count, dim=0)
    distance, slope, features = field.distance(places, used)
    along = -(slope * towards).sum(1)
    alpha = opacity(distance, along, steps.repeat_interleave(count), sharp, by).reshape(-1, count)
    seen = weights(alpha)
    light = field.radiance(places, slope, features, towards).reshape(-1, count, 3)
    first = seen.argmax(1) + count * torch.arange(len(seen), device=device)
    return Traced(met, (seen[..., None] * light).sum(1), seen.sum(1), slope, first, places[first])


def curvature(field: Field, traced: Traced, aside: Tensor, used: int) -> Tensor:
    """How much normals differ from those a little aside on the surface: the mean of 1 - their cosine (after
    Rosu and Behnke 2023, "PermutoSDF"). aside: (M,3) at random.
    """
    normal = normalize(traced.slope[traced.first], dim=1)
    away = _APART * normalize(torch.linalg.cross(normal.detach(), aside), dim=1)
    _, slope, _ = field.distance(traced.place + away, used)
    return 1 - (normal * normalize(slope, dim=1)).sum(1).mean()


def _losses(field: Field, batch: Batch, traced: Traced) -> tuple[Losses, Float]:
    """And the errors (R,) of the rays."""
    met, cover, device = traced.met, traced.cover, field.base.device
    mask, wanted = (torch.from_numpy(each[met]).to(device) for each in (batch.masks, batch.colours))
    gain = field.parameters["gain"][torch.from_numpy(batch.views[met]).to(device)]
    # What is missing of the cover is for the masks to say, not for the colours.
    off = (traced.colour * torch.exp(gain) - wanted * cover.detach()[:, None]).abs().sum(1) * mask
    sure = cover.clamp(1e-3, 1 - 1e-3)
    wrong = -(mask * sure.log() + (1 - mask) * (1 - sure).log())
    losses = {
        "colour": off.sum() / len(met),
        "mask": _MASK * wrong.sum() / len(met),
        "eikonal": _EIKONAL * ((traced.slope.norm(dim=1) - 1) ** 2).mean(),
        "gain": _GAIN * (field.parameters["gain"] ** 2).mean(),
    }
    errors = batch.masks.copy()  # of rays that meet nothing
    errors[met] = (off + (cover - mask).abs()).detach().cpu().numpy()
    return losses, errors
