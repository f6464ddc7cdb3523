"""The object's surface: hull, then a wide and a narrow sweep, each guided by the surface before it."""

from __future__ import annotations

from collections.abc import Callable

import fast_simplification
import numpy as np
from numpy.typing import NDArray

from workers.geometry.cameras import view_angles
from workers.geometry.errors import NumericError
from workers.geometry.grid import Grid, solid, zero_surface
from workers.geometry.manifold import largest_part, manifold
from workers.geometry.mesh import smoothed
from workers.reconstruct.methods.model import Scene
from workers.reconstruct.methods.surface.consistency import agreement, rim_chords
from workers.reconstruct.methods.surface.fusion import fuse
from workers.reconstruct.methods.surface.hull import hull_distance
from workers.reconstruct.methods.surface.looks import Look, look
from workers.reconstruct.methods.surface.masks import beyond, signed_distances
from workers.reconstruct.methods.surface.profiles import Profile
from workers.reconstruct.methods.surface.silhouettes import cut_to_object
from workers.reconstruct.methods.surface.sweep import choose_neighbours, sweep

Float = NDArray[np.float32]
Index = NDArray[np.int32]
Done = Callable[[str, float], None]  # called with a step's name and the part of that step now done
Show = Callable[[Float, Index], None]  # called with a surface (V,3), (F,3) on its way

_WITNESSES = 12
_DEEPEST = 0.5  # how far behind the hull a hollow is looked for, of the object's longest side
_DEEP = 0.35  # and how far behind what that look has left
_CHUNK = 16  # views swept between two reports


def surface(
    scene: Scene, half: NDArray[np.float64], profile: Profile, done: Done, show: Show
) -> tuple[Float, Index]:
    """Vertices (V,3) and faces (F,3) of the closed surface, in the unit frame the scene is in.

    half: (3,) half sides of the object's box around 0.
    NumericError: "masks_inconsistent" where the masks leave nothing at the grid's resolution.
    """
    full = cut_to_object(scene, half, max(scene.masks.shape[1:]))
    grid = Grid.around(-half, half, profile.voxels)
    hull = hull_distance(signed_distances(full.masks, full.frames), full.cameras, grid)
    if not (hull < 0).any():
        raise NumericError("masks_inconsistent", "no part of space is on every mask")
    field = solid(hull)
    done("hull", 1)
    rough = look(scene, half, 2 * profile.coarse // 3, field, grid)
    if rough.steady > 0:  # what reflects is not matched well enough to be dug for twice
        field = _swept(rough, hull, grid, _behind(rough, _DEEPEST), 0.05, lambda _: None)
    coarse = look(scene, half, profile.coarse, field, grid)
    field = _swept(coarse, hull, grid, _behind(coarse, _DEEP), 0.05, lambda part: done("sweep", part))
    show(*zero_surface(field, grid))
    step = 2 / profile.fine
    offsets = (np.arange(-7, 8) * step).astype(np.float32)
    fine = look(scene, half, profile.fine, field, grid)
    field = _swept(fine, hull, grid, offsets, 0.03, lambda part: done("refine", part))
    vertices, faces = zero_surface(field, grid)
    vertices = smoothed(vertices, faces, rounds=2)
    vertices, faces = simplified(vertices, faces, profile.triangles)
    done("mesh", 1)
    return vertices, faces


def simplified(vertices: Float, faces: Index, triangles: int) -> tuple[Float, Index]:
    """The closed mesh with about that many triangles (Garland and Heckbert 1997, quadric error metric).

    Collapsing edges may fold the surface onto itself: the result is made manifold again, and what that cuts
    off is left out.
    """
    if len(faces) > triangles:
        vertices, faces = fast_simplification.simplify(vertices, faces, target_count=triangles)
    return largest_part(*manifold(np.asarray(vertices, np.float32), np.asarray(faces, np.int32)))


def _behind(seen: Look, deepest: float) -> Float:
    """Offsets (D,) from just before the surface down to `deepest` behind it."""
    # A step of depth moves a match by two thirds of a pixel where neighbours are a quarter of a radian apart.
    step = 2.5 / seen.grey.shape[1]
    return np.arange(-3 * step, deepest, step).astype(np.float32)


def _swept(
    seen: Look, hull: Float, grid: Grid, offsets: Float, truncation: float, done: Callable[[float], None]
) -> Float:
    """The field after one sweep around the surface that is looked at, within `hull`."""
    cut = seen.cut
    count = len(cut.images)
    depth, confidence = np.zeros_like(seen.guide), np.zeros_like(seen.guide)
    for start in range(0, count, _CHUNK):
        views = np.arange(start, min(start + _CHUNK, count))
        depth[views], confidence[views] = sweep(
            seen.grey,
            cut.masks,
            cut.cameras,
            seen.guide,
            seen.neighbours,
            offsets,
            max(1, seen.neighbours.shape[1] // 2),
            views,
            (seen.noise, seen.drift, seen.steady),
        )
        done((start + len(views)) / count)
    witnesses = choose_neighbours(view_angles(cut.cameras), min(_WITNESSES, count - 1))
    share = agreement(depth, confidence, cut.cameras, witnesses, 2 * float(offsets[1] - offsets[0]))
    confidence *= np.clip((share - 0.2) / 0.4, 0, 1)
    outlines = np.stack([beyond(m, f) > 0 for m, f in zip(cut.masks, cut.frames, strict=True)])
    chords = rim_chords(*zero_surface(hull, grid), outlines, cut.cameras, 2)
    return solid(fuse(hull, grid, depth, confidence, chords, cut.cameras, truncation))
