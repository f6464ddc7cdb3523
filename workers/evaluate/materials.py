"""What two models are made of, point for point as the same cameras see them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar

from workers.evaluate.images import psnr
from workers.evaluate.mesh import Mesh
from workers.evaluate.surface import look_up
from workers.geometry.cameras import Cameras
from workers.geometry.colour import encode_srgb

Float = NDArray[np.float32]

_LARGEST_SCALE = 3.0  # of albedo, up or down, in powers of two
_FITTED = 200_000  # pixels that the scale is found on


def compare_materials(found: Mesh, true: Mesh, cameras: Iterable[Cameras]) -> dict[str, Any]:
    """Figures over the pixels of all cameras where both meshes, in one frame, are seen.

    coverage: their share of the pixels where the true one is; with none, the only figure. albedo_psnr: dB of
    sRGB values in [0,1] after each linear channel was multiplied by albedo_scale, which makes it largest (a
    photo cannot tell a lighter surface from a brighter light); albedo_psnr_raw: without. roughness_error,
    metalness_error: mean absolute, where both models say. normal_error: mean angle in degrees.
    """
    pairs = [(look_up(found, camera), look_up(true, camera)) for camera in cameras]
    both = [ours.seen & truth.seen for ours, truth in pairs]
    coverage = sum(int(mask.sum()) for mask in both) / max(
        1, sum(int(truth.seen.sum()) for _, truth in pairs)
    )
    if not coverage:
        return {"coverage": 0.0}

    def gathered(name: str) -> tuple[Float, Float]:
        ours, truth = (
            np.concatenate(
                [getattr(pair[k], name)[mask[pair[k].seen]] for pair, mask in zip(pairs, both, strict=True)]
            )
            for k in (0, 1)
        )
        return ours, truth

    albedo, true_albedo = gathered("albedo")
    scale = albedo_scale(albedo, true_albedo)
    target = encode_srgb(true_albedo)
    normals, true_normals = gathered("normals")
    cosine = np.clip((normals * true_normals).sum(1), -1, 1)
    figures: dict[str, Any] = {
        "coverage": coverage,
        "albedo_psnr": psnr((encode_srgb(albedo * scale) - target) ** 2),
        "albedo_psnr_raw": psnr((encode_srgb(albedo) - target) ** 2),
        "albedo_scale": scale.tolist(),
    }
    if found.ks is not None and true.ks is not None:
        for name in ("roughness", "metalness"):
            ours, truth = gathered(name)
            figures[f"{name}_error"] = float(np.abs(ours - truth).mean(dtype=np.float64))
    return {**figures, "normal_error": float(np.degrees(np.arccos(cosine)).mean(dtype=np.float64))}


def albedo_scale(albedo: Float, true: Float) -> Float:
    """(3,) factors on linear `albedo` (P,3) that bring its sRGB nearest to that of `true` (P,3)."""
    every = max(1, len(albedo) // _FITTED)
    target = encode_srgb(true[::every])

    def error(power: float, channel: int) -> float:
        return float(((encode_srgb(albedo[::every, channel] * 2.0**power) - target[:, channel]) ** 2).mean())

    limits = (-_LARGEST_SCALE, _LARGEST_SCALE)
    best = [minimize_scalar(error, bounds=limits, args=(k,), method="bounded").x for k in range(3)]
    return np.exp2(np.array(best, np.float32))
