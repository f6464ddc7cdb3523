"""The similarity (scale, rotation, translation) between two point sets, or two sets of cameras."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from workers.geometry.errors import NumericError

Array = NDArray[np.float64]
Flags = NDArray[np.bool_]

_TRIALS = 500
_SEED = 0
_REFITS = 20
_WILD = 5.0  # times the median error
_WILD_SHARE = 0.1  # of the median distance from the middle: nearer than this is nobody wild
_THIN = 1e-2  # spread across over spread along, below which centres do not tell the turn about their line
_LINE = 1e-6  # the same, of points that are on a line but for rounding
_TURNS = 0.02  # what orientations count for then, against the line: enough for the turn about it, no more


@dataclass(frozen=True)
class Alignment:
    """similarity (4,4): maps the source's world to the target's. inliers (N,): cameras it was fitted to."""

    similarity: Array
    inliers: Flags


def scale_of(similarity: Array) -> float:
    """Target units that one unit of the source is."""
    return float(np.cbrt(np.linalg.det(similarity[:3, :3])))


def moved(similarity: Array, c2w: Array) -> Array:
    """(N,4,4) the same cameras in the frame that `similarity` (4,4) maps their world to."""
    result: Array = similarity @ c2w
    result[:, :3, :3] /= scale_of(similarity)
    return result


def umeyama(source: Array, target: Array, weights: Array | None = None) -> Array:
    """(4,4) the similarity that takes `source` (N,3) to `target` (N,3) with the least sum of squared
    distances, each times its weight (N,); in closed form (Umeyama 1991, equations 40 to 42).

    NumericError "poses_degenerate" where the points lie on one line or at one place.
    """
    weights = np.ones(len(source)) if weights is None else weights
    similarity, thinness = _fit(source[None], target[None], weights[None])
    if not thinness[0] > _LINE:
        raise NumericError("poses_degenerate", "the points lie on one line: a turn about it cannot be told")
    result: Array = similarity[0]
    return result


def align_cameras(source: Array, target: Array) -> Alignment:
    """The similarity between the centres of the same cameras, (N,4,4) camera-to-world each.

    Least squares over all cameras but those that are wildly off: farther than five times the median error
    and a tenth of the trajectory's own size. They are found from the best of 500 fits to three cameras by
    the median error (least median of squares, Rousseeuw 1984), always the same ones. Where the centres lie
    about on a line, the turn about that line is taken from the cameras' orientations.

    NumericError: "too_few_images" for fewer than 3 cameras, "poses_degenerate" where all are at one place.
    """
    count = len(source)
    if count < 3:
        message = f"{count} cameras are too few to align by: it takes 3"
        raise NumericError("too_few_images", message, found=count, needed=3)
    for cameras in (source, target):
        centres = cameras[:, :3, 3]
        if np.ptp(centres, axis=0).max() <= 1e-9 * max(1.0, float(np.abs(centres).max())):
            raise NumericError(
                "poses_degenerate", "all cameras are at one place: there is no scale to be told"
            )
    rng = np.random.default_rng(_SEED)
    sets = np.argsort(rng.random((_TRIALS, count)), axis=1)[:, :3]
    fits, _ = _fit_cameras(source[sets], target[sets])
    whole, _ = _fit_cameras(source[None], target[None])
    fits = np.concatenate([whole, fits])
    fits = fits[np.isfinite(fits).all((1, 2)) & (np.linalg.det(np.nan_to_num(fits)) > 0)]
    if not len(fits):
        raise NumericError("poses_degenerate", "the cameras look along their line in contradicting ways")
    best = fits[np.argmin([np.median(_errors(fit, source, target)) for fit in fits])]
    return _refitted(best, source, target)


def _refitted(similarity: Array, source: Array, target: Array) -> Alignment:
    centres = target[:, :3, 3]
    size = float(np.median(np.linalg.norm(centres - np.median(centres, axis=0), axis=1)))
    inliers: Flags = np.zeros(len(source), bool)
    for _ in range(_REFITS):
        errors = _errors(similarity, source, target)
        near = errors <= max(_WILD * float(np.median(errors)), _WILD_SHARE * size)
        if (near == inliers).all():
            break
        inliers = near
        similarity = _fit_cameras(source[None, inliers], target[None, inliers])[0][0]
    return Alignment(similarity, inliers)


def _errors(similarity: Array, source: Array, target: Array) -> Array:
    """(N,) distances of the aligned centres."""
    moved_centres = source[:, :3, 3] @ similarity[:3, :3].T + similarity[:3, 3]
    distances: Array = np.linalg.norm(moved_centres - target[:, :3, 3], axis=1)
    return distances


def _fit_cameras(source: Array, target: Array) -> tuple[Array, Array]:
    """`_fit` for T sets of M cameras (T,M,4,4), with the orientations' help where a set is thin."""
    centres, goals = source[..., :3, 3], target[..., :3, 3]
    weights = np.ones(centres.shape[:2])
    fits, thinness = _fit(centres, goals, weights)
    if (thin := ~(thinness > _THIN)).any():
        turns = (target[thin, :, :3, :3] @ source[thin, :, :3, :3].swapaxes(-1, -2)).mean(1)
        fits[thin], thinness[thin] = _fit(centres[thin], goals[thin], weights[thin], turns)
    return fits, thinness


def _fit(source: Array, target: Array, weights: Array, turns: Array | None = None) -> tuple[Array, Array]:
    """(T,4,4) similarities between T sets of M points (T,M,3), weights (T,M), and how thin the sets are (T,):
    second to first singular spread, 0 on a line.

    turns (T,3,3): means of rotations known to take each source to its target; where given they count a little
    for the rotation, and not for scale and place.
    """
    share = (weights / weights.sum(1, keepdims=True))[..., None]
    middle, goal = (share * source).sum(1, keepdims=True), (share * target).sum(1, keepdims=True)
    from_middle, from_goal = source - middle, target - goal
    covariance = (share * from_goal).swapaxes(1, 2) @ from_middle  # T,3,3
    spreads = np.linalg.svd(covariance, compute_uv=False)
    wanted = covariance
    with np.errstate(invalid="ignore", divide="ignore"):
        thinness = np.sqrt(spreads[:, 1] / spreads[:, 0])
        if turns is not None:
            wanted = covariance / spreads[:, :1, None] + _TURNS * turns
    u, _, vt = np.linalg.svd(np.nan_to_num(wanted))
    u[:, :, 2] *= np.sign(np.linalg.det(u) * np.linalg.det(vt))[:, None]
    rotation = u @ vt
    variance = (share * from_middle**2).sum((1, 2))
    with np.errstate(invalid="ignore", divide="ignore"):
        scale = (rotation * covariance).sum((1, 2)) / variance
    similarity = np.tile(np.eye(4), (len(source), 1, 1))
    similarity[:, :3, :3] = scale[:, None, None] * rotation
    similarity[:, :3, 3] = goal[:, 0] - (similarity[:, :3, :3] @ middle.swapaxes(1, 2))[:, :, 0]
    return similarity, thinness
