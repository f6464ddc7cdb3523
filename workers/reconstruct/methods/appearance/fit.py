"""Materials at a surface's points, its shading normals, and the light: inverse rendering of all photos at
once.

In place of pixels it looks at points: each keeps what every photo shows of it, so that an iteration renders
nothing and costs microseconds a point. Occlusion by the object itself is known from the shape. Stochastic
descent over batches of points; every few rounds the priors of `priors` take hold where the photos say little
(proximal steps, with the Gauss-Newton diagonal as trust).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import scipy.sparse as sparse
from numpy.typing import NDArray

from workers.geometry.errors import NumericError
from workers.reconstruct.methods.appearance.descent import Adam, Light
from workers.reconstruct.methods.appearance.gradients import Surface, gradients
from workers.reconstruct.methods.appearance.observations import Observations
from workers.reconstruct.methods.appearance.occlusion import SIZE, cosine_weights
from workers.reconstruct.methods.appearance.priors import alike, laplacian, of_colour, relaxed, smoothed
from workers.render.environment import Prefilter, solid_angles, split_sum, texel_directions
from workers.render.shading import probe

Float = NDArray[np.float32]
Report = Callable[[float, dict[str, float], Callable[[], Float]], None]
"""Takes the part that is done, losses, and what tells the base colours (V,3), linear, found so far."""

LIGHT_SIZE = 4 * SIZE
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
) -> Appearance:
    """Of a mesh with faces (F,3) and unit normals (V,3): visible (V,D), see `visible_directions`; seen: of
    its V vertices in that many photos.

    NumericError: "masks_inconsistent" where hardly a point is seen.
    """
    mean, enough = seen.mean(), seen.enough()
    order = np.random.default_rng(seed).permutation(np.flatnonzero(enough))
    if len(order) < 4 * _BATCHES:
        raise NumericError("masks_inconsistent", "the photos show too little of the surface the masks leave")
    batches = [np.sort(order[k::_BATCHES]) for k in range(_BATCHES)]
    level = max(float(mean[enough].mean()), 0.02)
    light, prefilter, split = Light(LIGHT_SIZE, level / _ALBEDO), Prefilter.of_size(LIGHT_SIZE), split_sum()
    kd = np.clip(mean / np.float32(level) * np.float32(_ALBEDO), 0.02, 0.95)
    ks = begin(seen, mean, level)
    ambient, gain = np.full(3, level, np.float32), np.ones((photos, 3), np.float32)
    bent = normals.copy()
    rate_kd, rate_ks = ([Adam((len(b), n), r) for b in batches] for n, r in ((3, 0.03), (2, 0.05)))
    rate_ambient, rate_gain = Adam((3,), 0.02), Adam(gain.shape, 0.003)
    rate_normals = Adam(normals.shape, 0.003, alone=False)
    edges, even = laplacian(faces, len(kd), alike(faces, mean, _SPREAD)), laplacian(faces, len(kd))
    trust_kd, trust_ks = np.zeros_like(kd), np.zeros_like(ks)
    cosines = [cosine_weights(bent[b], visible[b]) for b in batches]
    around = texel_directions(SIZE)
    losses: list[tuple[int, float]] = []
    for n in range(rounds):
        turn, batch = n % _BATCHES, batches[n % _BATCHES]
        part = (n // _BATCHES % _PARTS, _PARTS)
        share = 1.0 if 2 * n < rounds else 0.05 + 0.475 * (1 + np.cos(2 * np.pi * n / rounds - np.pi))
        turning = n >= _NORMALS_FROM * rounds
        if turning and n % _NORMALS_ROUNDS < _BATCHES:
            cosines[turn] = cosine_weights(bent[batch], visible[batch])
        logarithm = light.logarithm()
        radiance = np.exp(logarithm)
        coarse = prefilter.halves(radiance)[2]
        weights = cosines[turn]
        hidden = np.maximum(1 - weights.sum(1, keepdims=True), 0)
        surface = Surface(
            kd,
            ks,
            bent,
            visible,
            weights @ coarse + hidden * ambient,
            _slopes(bent[batch], visible[batch], coarse, around)
            if turning
            else np.zeros((0, 3, 3), np.float32),
        )
        found = gradients(batch, seen, surface, ambient, gain, probe(prefilter, radiance, split), part)
        by_light = prefilter.transposed(found.levels)
        by_light += prefilter.raised(_only_coarse(weights.T @ found.irradiance))
        by_light *= radiance
        grey = logarithm - logarithm.mean(1, keepdims=True)
        light.step(by_light + np.float32(_WHITE * len(batch) / len(grey)) * grey, share)
        kd[batch] = np.clip(kd[batch] + rate_kd[turn].step(found.kd, share), 0.005, 0.98)
        ks[batch] = np.clip(ks[batch] + rate_ks[turn].step(found.ks, share), (_SMOOTHEST, 0), 1)
        by_ambient = found.ambient + (found.irradiance * hidden).sum(0)
        ambient = np.clip(ambient + rate_ambient.step(by_ambient, share), 0, None)
        gain = gain + rate_gain.step(found.gain, share)
        gain /= np.exp(np.log(gain).mean(0))
        gain += np.float32(_NEUTRAL) * (1 - gain)
        trust_kd[batch], trust_ks[batch] = found.kd_curvature, found.ks_curvature
        if turning:
            by_normals = np.zeros_like(bent)
            by_normals[batch] = found.normals
            by_normals -= bent * (by_normals * bent).sum(1, keepdims=True)
            reach = _COARSE * (_FINE / _COARSE) ** min(1, (n / rounds - _NORMALS_FROM) / 0.64)
            bent = bent + rate_normals.step(smoothed(by_normals, even, reach), share)
            if turn == 0:
                bent -= np.float32(_NEAR_SHAPE) * smoothed(bent - normals, even, _WIDE)
            bent /= np.linalg.norm(bent, axis=1, keepdims=True)
        if n % _PRIOR_ROUNDS == _PRIOR_ROUNDS - 1 and n >= 2 * _PRIOR_ROUNDS:
            kd, ks = _agreed(kd, ks, trust_kd, trust_ks, edges, n >= _DECIDED_FROM * rounds)
        if turn == 0:
            losses.append((n, float(found.loss[0]) / len(batch)))
            report((n + 1) / rounds, {"image": losses[-1][1]}, kd.copy)
    weights = cosine_weights(bent, visible)
    radiance = np.exp(light.logarithm())
    seen_share = weights.sum(1)
    irradiance = weights @ prefilter.halves(radiance)[2] + np.maximum(1 - seen_share, 0)[:, None] * ambient
    return Appearance(
        kd.astype(np.float32),
        ks.astype(np.float32),
        bent.astype(np.float32),
        radiance.reshape(6, LIGHT_SIZE, LIGHT_SIZE, 3),
        ambient,
        gain,
        irradiance.astype(np.float32),
        np.clip(seen_share, 0, 1),
        np.array(losses, np.float32),
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


def _only_coarse(gradient: Float) -> list[Float]:
    """A gradient by the coarse light, as by all of `Prefilter.halves`."""
    finer = [np.zeros((6 * (LIGHT_SIZE >> k) ** 2, 3), np.float32) for k in range(2)]
    return [*finer, gradient.astype(np.float32)]
