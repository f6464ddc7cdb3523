"""The object's surface: hull, two wide sweeps and a narrow one, each guided by the surface before it, and at
last a mesh whose vertices are refined.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import NamedTuple

import cv2
import fast_simplification
import numpy as np
from numpy.typing import NDArray

from workers.geometry.cameras import view_angles
from workers.geometry.errors import NumericError
from workers.geometry.grid import Grid, solid, zero_surface
from workers.geometry.manifold import largest_part, manifold
from workers.geometry.mesh import smoothed
from workers.reconstruct.checkpoints import Checkpoints
from workers.reconstruct.methods.appearance.atlas import area
from workers.reconstruct.methods.model import Cloud, Scene
from workers.reconstruct.methods.surface.consistency import agreement
from workers.reconstruct.methods.surface.fusion import fuse
from workers.reconstruct.methods.surface.hollows import Hull, hull_with_rims, seen
from workers.reconstruct.methods.surface.hull import hull as hull_over_support
from workers.reconstruct.methods.surface.looks import Look, look
from workers.reconstruct.methods.surface.masks import signed_distances
from workers.reconstruct.methods.surface.points import point_cloud
from workers.reconstruct.methods.surface.profiles import Profile
from workers.reconstruct.methods.surface.refinement import refined
from workers.reconstruct.methods.surface.silhouettes import cut_to_object
from workers.reconstruct.methods.surface.sweep import choose_neighbours, sweep

Float = NDArray[np.float32]
Index = NDArray[np.int32]
Done = Callable[[str, float], None]  # called with a step's name and the part of that step now done
# Called with the name of a step that is done, and what makes the surface (V,3), (F,3) it has led to.
Show = Callable[[str, Callable[[], tuple[Float, Index]]], None]

_UNSAVED = Checkpoints()
_WITNESSES = 12
_DEEPEST = 0.5  # how far behind the hull a hollow is looked for, of the object's longest side
_DEEP = 0.35  # and how far behind what that look has left
_MATT_SIZE, _HOLLOW_SIZE = 0.75, 1.25  # of the first look's pictures, beside those of the second
_HOLLOW = 0.3  # from how likely on
_AROUND = 9  # pixels around a hollow that are looked at with it
_CHUNK = 16  # views swept between two reports
_LEAST_SHOWN = 5.0  # square pixels of a photo that a triangle covers: finer ones are refined by noise


@dataclass(frozen=True)
class _Sweep:
    """How a sweep is done. neighbours: views that each is compared with; keep: of which the best count.
    radius: see `sweep`. truncation, dig: see `fuse`.
    """

    neighbours: int
    keep: int
    radius: int
    truncation: float
    dig: float


# Wide sweeps match small windows, which seldom straddle what lies at different depths; the narrow one wants
# to be exact.
_WIDE = _Sweep(neighbours=8, keep=2, radius=1, truncation=0.05, dig=32.0)
_NARROW = _Sweep(neighbours=6, keep=3, radius=3, truncation=0.03, dig=4.0)
_MATT_KEEP = 3  # of the best that count where brightness is steady, and much looks alike


class Found(NamedTuple):
    """vertices (V,3) and faces (F,3) of the closed surface; cloud: what the narrow sweep saw of it; lids: see
    `Hull`.
    """

    vertices: Float
    faces: Index
    cloud: Cloud
    lids: float


def surface(
    scene: Scene,
    half: NDArray[np.float64],
    profile: Profile,
    done: Done,
    show: Show,
    checkpoints: Checkpoints = _UNSAVED,
) -> Found:
    """The object's surface, in the unit frame the scene is in.

    half: (3,) half sides of the object's box around 0.
    NumericError: "masks_inconsistent" where the masks leave nothing at the grid's resolution.
    """
    hull = _hull(scene, half, profile)
    show("hull", lambda: zero_surface(hull.distance, hull.grid))
    rough = _kept(checkpoints, "rough", lambda: _dug(scene, half, profile, hull, done))
    show("rough", lambda: zero_surface(rough, hull.grid))
    field = _kept(checkpoints, "field", lambda: _widely(scene, half, profile, hull, rough, done))
    show("sweep", lambda: zero_surface(field, hull.grid))
    fine = look(scene, half, profile.fine, field, hull.grid, _NARROW.neighbours)
    offsets = (np.arange(-7, 8) * (2 / profile.fine)).astype(np.float32)
    depths = _depths(fine, hull, offsets, _NARROW, lambda part: done("refine", part))
    field = _fused(fine, hull, depths, _NARROW, field)
    cloud = point_cloud(*depths, fine.cut, scene.cameras, field, hull.grid)
    vertices, faces = zero_surface(field, hull.grid)
    vertices = smoothed(vertices, faces, rounds=2)
    show("refine", lambda: (vertices, faces))
    if not profile.polish:
        return Found(*simplified(vertices, faces, profile.triangles), cloud, hull.lids)
    shown = area(vertices, faces) * float(np.median(scene.cameras.magnification)) ** 2
    mesh = simplified(vertices, faces, min(profile.triangles, int(shown / _LEAST_SHOWN)))
    size = min(profile.polish, max(scene.masks.shape[1:]))
    return Found(*refined(scene, half, *mesh, size), cloud, hull.lids)


def dug_hull(scene: Scene, half: NDArray[np.float64], profile: Profile) -> tuple[Hull, Float]:
    """The hull, and the field after the wide looks behind it. NumericError: as `surface`."""
    hull = _hull(scene, half, profile)
    rough = _dug(scene, half, profile, hull, lambda step, part: None)
    return hull, _widely(scene, half, profile, hull, rough, lambda step, part: None)


def _hull(scene: Scene, half: NDArray[np.float64], profile: Profile) -> Hull:
    full = cut_to_object(scene, half, max(scene.masks.shape[1:]))
    grid = Grid.around(-half, half, profile.voxels)
    distance = hull_over_support(full, signed_distances(full.masks, full.frames), grid)
    if not (distance < 0).any():
        raise NumericError("masks_inconsistent", "no part of space is on every mask")
    return hull_with_rims(distance, grid, cut_to_object(scene, half, profile.coarse))


def _dug(scene: Scene, half: NDArray[np.float64], profile: Profile, hull: Hull, done: Done) -> Float:
    """The field after a first look behind the hull, where that may be trusted: at matt surface, matched by
    its brightness, and over hollows, where anything is nearer to the truth than the hull.
    """
    field = solid(hull.distance)

    def looked(share: float) -> Look:
        return look(scene, half, round(share * profile.coarse), field, hull.grid, _WIDE.neighbours)

    rough = looked(_MATT_SIZE)
    if rough.steady == 0:
        rough = _over_hollows(looked(_HOLLOW_SIZE), hull)
        if not rough.guide.any():
            return field
    offsets = _behind(rough, _DEEPEST)
    depths = _depths(rough, hull, offsets, _WIDE, lambda part: done("rough", part), first=True)
    return _fused(rough, hull, depths, _WIDE)


def _widely(
    scene: Scene, half: NDArray[np.float64], profile: Profile, hull: Hull, rough: Float, done: Done
) -> Float:
    """The field after two wide looks behind `rough`, the second over hollows alone: from nearer their ground
    more of it is matched. What one look has found free, another that does not see it leaves so. Matt surface
    has been looked at everywhere before: there the second finds hollows where there are none.
    """
    field = rough
    for n in range(2):
        at = look(scene, half, profile.coarse, field, hull.grid, _WIDE.neighbours)
        if n == 1:
            if at.steady > 0:
                break
            at = _over_hollows(at, hull)
        if at.guide.any():
            tell = partial(_half, done, n)
            depths = _depths(at, hull, _behind(at, _DEEP), _WIDE, tell)
            field = solid(np.maximum(field, _fused(at, hull, depths, _WIDE)))
    return field


def _half(done: Done, n: int, part: float) -> None:
    """Tell of a part of one of the two wide looks."""
    done("sweep", (n + part) / 2)


def _over_hollows(at: Look, hull: Hull) -> Look:
    """The look at nothing but what is stretched over hollows, and around it."""
    hollow = seen(hull.hollow, hull.grid, at.guide, at.cut.cameras) > _HOLLOW
    around = np.stack([cv2.dilate(m.astype(np.uint8), np.ones((2 * _AROUND + 1,) * 2)) for m in hollow])
    return replace(at, guide=at.guide * around)


def _kept(checkpoints: Checkpoints, step: str, make: Callable[[], Float]) -> Float:
    """The field that was saved for the step, or else is made and saved."""
    saved = checkpoints.load(step)
    if saved is not None:
        return saved["field"]
    field = make()
    checkpoints.save(step, {"field": field})
    return field


def simplified(vertices: Float, faces: Index, triangles: int) -> tuple[Float, Index]:
    """The closed mesh with about that many triangles (Garland and Heckbert 1997, quadric error metric).

    Collapsing edges may fold the surface onto itself: the result is made manifold again, and what that cuts
    off is left out.
    """
    if len(faces) > triangles:
        vertices, faces = fast_simplification.simplify(vertices, faces, target_count=triangles)
    return largest_part(*manifold(np.asarray(vertices, np.float32), np.asarray(faces, np.int32)))


def _behind(at: Look, deepest: float) -> Float:
    """Offsets (D,) from just before the surface down to `deepest` behind it."""
    # A step of depth moves a match by two thirds of a pixel where neighbours are a quarter of a radian apart.
    step = 2.5 / at.grey.shape[1]
    return np.arange(-3 * step, deepest, step).astype(np.float32)


def _depths(
    at: Look, hull: Hull, offsets: Float, how: _Sweep, done: Callable[[float], None], first: bool = False
) -> tuple[Float, Float]:
    """Depth (N,h,w) and confidence (N,h,w) after one sweep around the surface that is looked at. In the
    first, surface that is neither steady in its brightness nor over a hollow does not count.
    """
    cut = at.cut
    count = len(cut.images)
    depth, confidence = np.zeros_like(at.guide), np.zeros_like(at.guide)
    steady = np.maximum(seen(hull.hollow, hull.grid, at.guide, cut.cameras), np.float32(at.steady))
    for start in range(0, count, _CHUNK):
        views = np.arange(start, min(start + _CHUNK, count))
        depth[views], confidence[views] = sweep(
            at.grey,
            cut.masks,
            cut.cameras,
            at.guide,
            at.neighbours,
            offsets,
            min(_MATT_KEEP if at.steady > 0 else how.keep, at.neighbours.shape[1]),
            views,
            (at.noise, at.drift, steady),
            how.radius,
        )
        done((start + len(views)) / count)
    if first:
        confidence *= steady
    witnesses = choose_neighbours(view_angles(cut.cameras), min(_WITNESSES, count - 1))
    share = agreement(depth, confidence, cut.cameras, witnesses, 2 * float(offsets[1] - offsets[0]))
    confidence *= np.clip((share - 0.2) / 0.4, 0, 1)
    return depth, confidence


def _fused(
    at: Look, hull: Hull, depths: tuple[Float, Float], how: _Sweep, before: Float | None = None
) -> Float:
    """The field that such depths leave of the hull; before: see `fuse`."""
    return solid(fuse(hull, *depths, at.cut.cameras, how.truncation, how.dig, before))
