"""Materials at a surface's points, its shading normals, and the light: inverse rendering of all photos at
once.

In place of pixels it looks at points: each keeps what every photo shows of it, so that an iteration renders
nothing and costs microseconds a point. Occlusion by the object itself is known from the shape. Stochastic
descent over batches of points; every few rounds the priors of `priors` take hold where the photos say little
(proximal steps, with the Gauss-Newton diagonal as trust).
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.sparse as sparse
from numpy.typing import NDArray

from workers.geometry.errors import NumericError
from workers.reconstruct.checkpoints import Checkpoints
from workers.reconstruct.methods.appearance.descent import Adam, Light
from workers.reconstruct.methods.appearance.gradients import Surface, gradients
from workers.reconstruct.methods.appearance.observations import Observations
from workers.reconstruct.methods.appearance.occlusion import SIZE, cosine_weights
from workers.reconstruct.methods.appearance.priors import alike, laplacian, of_colour, relaxed, smoothed
from workers.render.environment import Prefilter, solid_angles, split_sum, texel_directions
from workers.render.shading import by_light, probe

Float = NDArray[np.float32]
Report = Callable[[float, dict[str, float], Callable[[], Float]], None]
"""Takes the part that is done, losses, and what tells the base colours (V,3), linear, found so far."""

LIGHT_SIZE = 4 * SIZE
STEP = "materials"  # as checkpoints know it
_UNSAVED = Checkpoints()
_SAVED_EVERY = 10.0  # seconds
_BATCHES = 4
_PARTS = 2  # of a point's photos: each visit looks at one
_ALBEDO = 0.35  # of the average point, to begin with
# Roughness and metalness, to begin with; and of what looks quite different from one view to the next. From
# the first alone, mirrors stay dull, since the light is blurred until they are sharp and the other way round.
_START, _GLOSSY = (0.5, 0.3), (0.25, 0.9)
_CHANGE, _MORE = 0.1, 0.5  # of colour between views, by the mean: from where it counts, and over what range
_DULL = 0.4  # of the average point's colour, added to that mean: highlights on what is dark are no metal
_SMOOTHEST = 0.08
_PRIOR_ROUNDS = 8
_NORMALS_ROUNDS = 10  # between two looks at which directions a normal faces
_NORMALS_FROM = 0.2  # of the rounds
_SMOOTH_KD, _SMOOTH_KS = 0.1, 0.04  # along edges, where trust is the curvature of the loss
_SAME_COLOUR = 0.04
# Half metals are rare: from here on of the rounds, what was found to be less than half a metal leans to none.
_DECIDED_FROM = 0.5
_SPREAD = 0.12  # of logarithmic colour, within one material
_COARSE, _FINE = 10.0, 1.0  # how far normals move together, at first and at last
_NEAR_SHAPE = 0.5  # how much of a change of normals over a wider area is taken back: shape knows that better
_WIDE = 20.0
_WHITE = 3e-3  # pull of the light's colour to grey
_NEUTRAL = 0.01  # pull of the photos' gains to 1


@dataclass
class Appearance:
    """kd (V,3) linear; ks (V,2) roughness, metalness; normals (V,3) unit; light (6,R,R,3) linear;
    ambient (3,) radiance of the object's own hidden parts; gain (N,3) of each photo's channels;
    irradiance (V,3) over pi; occlusion (V,) the share of the surroundings each point sees, by cosine.
    losses (K,2): of some rounds, their number and the loss.
    """

    kd: Float
    ks: Float
    normals: Float
    light: Float
    ambient: Float
    gain: Float
    irradiance: Float
    occlusion: Float
    losses: Float

    def arrays(self) -> dict[str, Float]:
        """All there is to it."""
        return dict(vars(self))

    def history(self) -> list[dict[str, float]]:
        """The losses, as `TexturedMesh` has them."""
        return [{"round": float(n), "image": float(loss)} for n, loss in self.losses]


def fit(
    faces: NDArray[np.int32],
    normals: Float,
    visible: NDArray[np.uint8],
    seen: Observations,
    photos: int,
    rounds: int,
    seed: int,
    report: Report,
    checkpoints: Checkpoints = _UNSAVED,
) -> Appearance:
    """Of a mesh with faces (F,3) and unit normals (V,3): visible (V,D), see `visible_directions`; seen: of
    its V vertices in that many photos. What `checkpoints` has of the step STEP is gone on from.

    NumericError: "masks_inconsistent" where hardly a point is seen.
    """
    work = _Fitting(faces, normals, visible, seen, photos, rounds, seed)
    work.restore(checkpoints.load(STEP))
    saved = time.monotonic()
    for n in range(int(work.done[0]), rounds):
        work.round(n)
        if time.monotonic() - saved > _SAVED_EVERY:
            checkpoints.save(STEP, work.state())
            saved = time.monotonic()
        if n % _BATCHES == 0:
            report((n + 1) / rounds, {"image": float(work.losses[n // _BATCHES, 1])}, work.kd.copy)
    return work.appearance()


class _Fitting:
    """Materials, normals and light as they are after some rounds, and what the photos say of them."""

    def __init__(
        self,
        faces: NDArray[np.int32],
        normals: Float,
        visible: NDArray[np.uint8],
        seen: Observations,
        photos: int,
        rounds: int,
        seed: int,
    ) -> None:
        mean, enough = seen.mean(), seen.enough()
        order = np.random.default_rng(seed).permutation(np.flatnonzero(enough))
        if len(order) < 4 * _BATCHES:
            raise NumericError(
                "masks_inconsistent", "the photos show too little of the surface the masks leave"
            )
        self._batches = [np.sort(order[k::_BATCHES]) for k in range(_BATCHES)]
        self._normals, self._visible, self._seen, self._rounds = normals, visible, seen, rounds
        level = max(float(mean[enough].mean()), 0.02)
        self._light = Light(LIGHT_SIZE, level / _ALBEDO)
        self._prefilter, self._split = Prefilter.of_size(LIGHT_SIZE), split_sum()
        self.kd = np.clip(mean / np.float32(level) * np.float32(_ALBEDO), 0.02, 0.95)
        self._ks = begin(seen, mean, level)
        self._ambient, self._gain = np.full(3, level, np.float32), np.ones((photos, 3), np.float32)
        self._bent, self._faced = normals.copy(), normals.copy()
        self._rates = {
            "ambient": Adam((3,), 0.02),
            "gain": Adam(self._gain.shape, 0.003),
            "normals": Adam(normals.shape, 0.003, alone=False),
        }
        for k, batch in enumerate(self._batches):
            self._rates[f"kd_{k}"] = Adam((len(batch), 3), 0.03)
            self._rates[f"ks_{k}"] = Adam((len(batch), 2), 0.05)
        self._edges = laplacian(faces, len(mean), alike(faces, mean, _SPREAD))
        self._even = laplacian(faces, len(mean))
        self._trust_kd, self._trust_ks = np.zeros_like(self.kd), np.zeros_like(self._ks)
        self._cosines = [cosine_weights(normals[b], visible[b]) for b in self._batches]
        self._around = texel_directions(SIZE)
        self.losses = np.zeros((-(-rounds // _BATCHES), 2), np.float32)
        self.done = np.zeros(1, np.int64)

    def state(self) -> dict[str, NDArray[Any]]:
        """All that changes from round to round: the arrays themselves, by name."""
        own = (
            "kd",
            "_ks",
            "_ambient",
            "_gain",
            "_bent",
            "_faced",
            "_trust_kd",
            "_trust_ks",
            "losses",
            "done",
        )
        state = {name: getattr(self, name) for name in own} | self._light.state()
        for name, rate in self._rates.items():
            state |= {f"{name}_{part}": array for part, array in rate.state().items()}
        return state

    def restore(self, saved: dict[str, NDArray[Any]] | None) -> None:
        """As it was when `saved` was its state; None leaves the beginning."""
        if saved is None:
            return
        for name, array in self.state().items():
            array[...] = saved[name]
        for k, batch in enumerate(self._batches):
            self._cosines[k] = cosine_weights(self._faced[batch], self._visible[batch])

    def round(self, n: int) -> None:
        """The n-th: one batch of points, in some of the photos."""
        turn, rounds = n % _BATCHES, self._rounds
        batch = self._batches[turn]
        part = (n // _BATCHES % _PARTS, _PARTS)
        share = 1.0 if 2 * n < rounds else 0.05 + 0.475 * (1 + np.cos(2 * np.pi * n / rounds - np.pi))
        turning = n >= _NORMALS_FROM * rounds
        if turning and n % _NORMALS_ROUNDS < _BATCHES:
            self._faced[batch] = self._bent[batch]
            self._cosines[turn] = cosine_weights(self._bent[batch], self._visible[batch])
        logarithm = self._light.logarithm()
        radiance = np.exp(logarithm)
        coarse = self._prefilter.halves(radiance)[2]
        weights = self._cosines[turn]
        hidden = np.maximum(1 - weights.sum(1, keepdims=True), 0)
        surface = Surface(
            self.kd,
            self._ks,
            self._bent,
            self._visible,
            weights @ coarse + hidden * self._ambient,
            _slopes(self._bent[batch], self._visible[batch], coarse, self._around)
            if turning
            else np.zeros((0, 3, 3), np.float32),
        )
        light = probe(self._prefilter, radiance, self._split)
        found = gradients(batch, self._seen, surface, self._ambient, self._gain, light, part)
        coarse = weights.T @ found.irradiance
        change = radiance * by_light(self._prefilter, light, found.levels, found.power, coarse)
        grey = logarithm - logarithm.mean(1, keepdims=True)
        self._light.step(change + np.float32(_WHITE * len(batch) / len(grey)) * grey, share)
        rates = self._rates
        kd = self.kd[batch] + rates[f"kd_{turn}"].step(found.kd, share)
        ks = self._ks[batch] + rates[f"ks_{turn}"].step(found.ks, share)
        self.kd[batch], self._ks[batch] = np.clip(kd, 0.005, 0.98), np.clip(ks, (_SMOOTHEST, 0), 1)
        by_ambient = found.ambient + (found.irradiance * hidden).sum(0)
        self._ambient += rates["ambient"].step(by_ambient, share)
        np.clip(self._ambient, 0, None, out=self._ambient)
        self._gain += rates["gain"].step(found.gain, share)
        self._gain /= np.exp(np.log(self._gain).mean(0))
        self._gain += np.float32(_NEUTRAL) * (1 - self._gain)
        self._trust_kd[batch], self._trust_ks[batch] = found.kd_curvature, found.ks_curvature
        if turning:
            self._turn(batch, found.normals, n, share)
        if n % _PRIOR_ROUNDS == _PRIOR_ROUNDS - 1 and n >= 2 * _PRIOR_ROUNDS:
            self.kd[:], self._ks[:] = _agreed(
                self.kd, self._ks, self._trust_kd, self._trust_ks, self._edges, n >= _DECIDED_FROM * rounds
            )
        if turn == 0:
            self.losses[n // _BATCHES] = n, found.loss[0] / len(batch)
        self.done[0] = n + 1

    def _turn(self, batch: NDArray[np.int64], gradient: Float, n: int, share: float) -> None:
        """Bend the normals by the gradient (n,3) of a batch's."""
        by_normals = np.zeros_like(self._bent)
        by_normals[batch] = gradient
        by_normals -= self._bent * (by_normals * self._bent).sum(1, keepdims=True)
        reach = _COARSE * (_FINE / _COARSE) ** min(1, (n / self._rounds - _NORMALS_FROM) / 0.64)
        self._bent += self._rates["normals"].step(smoothed(by_normals, self._even, reach), share)
        if n % _BATCHES == 0:
            self._bent -= np.float32(_NEAR_SHAPE) * smoothed(self._bent - self._normals, self._even, _WIDE)
        self._bent /= np.linalg.norm(self._bent, axis=1, keepdims=True)

    def appearance(self) -> Appearance:
        """As of now."""
        weights = cosine_weights(self._bent, self._visible)
        radiance = np.exp(self._light.logarithm())
        seen_share = weights.sum(1)
        irradiance = weights @ self._prefilter.halves(radiance)[2]
        irradiance += np.maximum(1 - seen_share, 0)[:, None] * self._ambient
        return Appearance(
            self.kd,
            self._ks,
            self._bent,
            radiance.reshape(6, LIGHT_SIZE, LIGHT_SIZE, 3),
            self._ambient,
            self._gain,
            irradiance,
            np.clip(seen_share, 0, 1),
            self.losses,
        )


def begin(seen: Observations, mean: Float, level: float) -> Float:
    """(V,2) roughness and metalness to begin with, by how the colours of a point vary around their `mean`."""
    variance = seen._replace(colour=seen.colour**2).mean() - mean**2
    change = np.sqrt(np.maximum(variance, 0).sum(1)) / (np.linalg.norm(mean, axis=1) + _DULL * level)
    glossy = np.clip((change - _CHANGE) / _MORE, 0, 1)[:, None]
    ks: Float = ((1 - glossy) * _START + glossy * _GLOSSY).astype(np.float32)
    return ks


def _agreed(
    kd: Float, ks: Float, trust_kd: Float, trust_ks: Float, edges: sparse.csr_matrix, decided: bool
) -> tuple[Float, Float]:
    """Materials (V,3), (V,2) nearer to what the priors expect, the less they are trusted the more; decided:
    half metals are asked to be none.
    """
    same = of_colour(kd, ks, trust_ks)
    if decided:
        same[:, 1] *= np.minimum(0.5 + same[:, 1], 1)
    ks = np.clip(relaxed(ks, trust_ks, edges, _SMOOTH_KS, same, _SAME_COLOUR), (_SMOOTHEST, 0), 1)
    tone = np.log(kd)
    return np.exp(relaxed(tone, trust_kd * kd * kd, edges, _SMOOTH_KD, tone, 0)), ks


def _slopes(normals: Float, visible: NDArray[np.uint8], coarse: Float, around: Float) -> Float:
    """(n,3,3) derivative of irradiance over pi, by channel, by the normals (n,3)."""
    facing = ((normals @ around.T) > 0) * visible * (solid_angles(SIZE) / np.float32(np.pi))
    toward = (coarse[:, :, None] * around[:, None, :]).reshape(len(coarse), 9)
    slopes: Float = (facing @ toward).reshape(-1, 3, 3)
    return slopes
