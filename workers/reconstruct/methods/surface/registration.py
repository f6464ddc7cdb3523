"""Camera poses and masks that are a little off, made to agree: bundle adjustment with outlines in place of
points (cf. Hernandez et al. 2007, "Silhouette coherence for camera calibration under circular motion").
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import cv2
import numpy as np
import scipy.sparse as sparse
from numpy.typing import NDArray
from scipy.sparse.linalg import LinearOperator, cg

from workers.geometry.cameras import Cameras
from workers.geometry.grid import Grid, solid, zero_surface
from workers.geometry.mesh import edges, smoothed, vertex_normals
from workers.reconstruct.methods.model import Scene
from workers.reconstruct.methods.surface.hull import hull
from workers.reconstruct.methods.surface.masks import dissenters, signed_distances
from workers.reconstruct.methods.surface.outlines import edge_offsets, resized
from workers.reconstruct.methods.surface.rims import Rims, rims

Float = NDArray[np.float32]
Array = NDArray[np.float64]

_VOXELS = 64  # of the surface whose outlines are compared with the masks
_ROUNDS = 3
_PASSES = (4.0, 1.0)  # pixels of residual that quarter a rim's weight: first to get near, then to be exact
_POSE = 1.5  # pixels, standard deviation of a camera's turn about each axis and its move along each
_OFFSET = 3.0  # pixels, standard deviation of the masks' offsets
_AGREED = 4  # photos at least whose edges tell how large the object is
_RIMS = 40.0  # independent measurements that all rims of a view are worth: neighbours tell the same
_STIFFNESS = 0.2  # of the surface, in weights of a rim
_ITERATIONS = 100
_GAIN = 0.4  # pixels, root mean square over the views: below, nothing is touched
_FARTHEST = 10.0  # pixels that a view may be moved
_PIXEL_AXES = np.diag([1.0, -1.0, -1.0])  # the camera's axes, right, down and forwards


@dataclass(frozen=True)
class Registration:
    """scene: with cameras and masks that agree; as it was given where there was nothing to gain.
    half: (3,) half sides of the box around the object, grown where the object turned out to be larger.
    moved: (N,) pixels, root mean square, that the object moved in each picture. grown: (N,) pixels that each
    mask was grown. stayed: the names of photos that would have had to move too far and were left as they
    were.
    """

    scene: Scene
    half: Array
    moved: Array
    grown: Array
    stayed: tuple[str, ...] = ()


def registered(scene: Scene, half: Array, distances: Float | None = None) -> Registration:
    """The scene with its cameras moved and its masks resized so that all outlines fit one surface.

    half: (3,) half sides of the object's box around 0. distances: (N,h,w) of `signed_distances`, where they
    are known. A surface, the cameras' poses and an offset for each
    mask are found together, such that the surface's outlines run along the masks' borders, robustly and in
    least squares. The poses have a prior around the given ones, which also decides where the whole lies and
    how large it is. Whether all masks are too small or too large alike, outlines cannot tell: photos that
    were cut out too large decide it (see `edge_offsets`), where there are enough; else the offsets' mean is
    0.
    """
    views = len(scene.masks)
    nothing = Registration(scene, half, np.zeros(views), np.zeros(views))
    if distances is None:
        distances = signed_distances(scene.masks, scene.frames)
    grid = Grid.around(-half, half, _VOXELS)
    field = solid(hull(scene, distances, grid, dissenters(views)))
    if not (field < 0).any():
        return nothing
    vertices, faces = zero_surface(field, grid)
    vertices = smoothed(vertices, faces, rounds=2)
    stiffness = _laplacian(faces, len(vertices))
    edge = edge_offsets(scene, distances)
    spread = np.full((views, 7), _OFFSET)  # standard deviations of what `state` holds of each view
    spread[:, :6] = _POSE / scene.cameras.intrinsics[:, :2].mean(1, keepdims=True)
    state, cameras = np.zeros((views, 7)), scene.cameras  # turns and moves of `Rims.turning`, offset
    for turn in range(_ROUNDS):
        found = rims(vertices, faces, replace(scene, cameras=cameras), distances)
        growth, state = _adjusted(found, stiffness, state, spread)
        state[:, 6] -= state[:, 6].mean()
        vertices = (vertices + growth[:, None] * vertex_normals(vertices, faces)).astype(np.float32)
        cameras, grown = _moved(scene.cameras, state[:, :6]), state[:, 6] + _common(state[:, 6], edge)
        shift = _shift(scene.cameras, cameras, vertices)
        if turn == 0 and np.sqrt((shift**2 + grown**2).mean()) < _GAIN:
            return nothing
    far = shift > _FARTHEST
    poses = np.where(far[:, None, None], scene.cameras.c2w, cameras.c2w)
    shift, grown = np.where(far, 0, shift), np.where(far, 0, grown)
    return Registration(
        replace(scene, cameras=replace(cameras, c2w=poses), masks=resized(scene, distances, grown)),
        np.maximum(half, np.abs(vertices).max(0)),
        shift,
        grown,
        tuple(name for name, stays in zip(cameras.names, far, strict=True) if stays),
    )


def _adjusted(found: Rims, stiffness: sparse.csr_array, state: Array, spread: Array) -> tuple[Array, Array]:
    """How far the surface's vertices (V,) move along their normals, and the views' new state (N,7).

    Minimises the weighted squares of what is left of the rims' residuals, the state's squares in units of
    `spread`, and the surface's bending; weights are Geman and McClure's.
    """
    views, size = len(state), stiffness.shape[0]
    view, rows = found.view, np.arange(len(found.view))
    unit = float(np.median(found.growth))  # pixels for a unit: the surface's unknowns are in pixels too
    share = found.share * (found.growth / unit)[:, None]
    surface = sparse.csr_array((share.ravel(), (rows.repeat(2), found.corner.ravel())), (len(rows), size))
    own = np.column_stack([found.turning, np.full(len(rows), -1.0)]) * spread[view]
    columns = 7 * view[:, None] + np.arange(7)
    poses = sparse.csr_array((own.ravel(), (rows.repeat(7), columns.ravel())), (len(rows), 7 * views))
    matrix = sparse.csr_array(sparse.hstack([surface, poses]))
    residual = found.residual - state[view, 6]
    each = _RIMS / np.maximum(np.bincount(view, minlength=views), _RIMS)
    bend = _STIFFNESS * float(np.median(each)) * stiffness
    prior = sparse.csr_array(sparse.block_diag([bend, sparse.eye_array(7 * views)]))
    pull = np.concatenate([np.zeros(size), (state / spread).ravel()])
    step = np.zeros(size + 7 * views)
    for width in _PASSES:
        weight = each[view] / (1 + ((residual + matrix @ step) / width) ** 2) ** 2
        blocks = np.tile(np.eye(7), (views, 1, 1))
        np.add.at(blocks, view, weight[:, None, None] * own[:, :, None] * own[:, None])
        step = _solved(matrix, weight, prior, matrix.T @ (weight * residual) + pull, blocks, step)
    return step[:size] / unit, state + step[size:].reshape(views, 7) * spread


def _solved(
    matrix: sparse.csr_array,
    weight: Array,
    prior: sparse.csr_array,
    slope: Array,
    blocks: Array,
    start: Array,
) -> Array:
    """Where the quadratic with Hessian matrix' weight matrix + prior and `slope` at 0 is least, by conjugate
    gradients from `start`. blocks: (N,7,7) of the Hessian, its last rows; they precondition it.
    """
    size = len(slope)
    first = size - 7 * len(blocks)
    diagonal = ((matrix**2).T @ weight + prior.diagonal())[:first] + 1e-6
    inverse = np.linalg.inv(blocks)

    def product(x: Array) -> Array:
        return np.asarray(matrix.T @ (weight * (matrix @ x)) + prior @ x)

    def preconditioned(x: Array) -> Array:
        last = np.einsum("nij,nj->ni", inverse, x[first:].reshape(-1, 7))
        return np.concatenate([x[:first] / diagonal, last.ravel()])

    found, _ = cg(
        LinearOperator((size, size), product),
        -slope,
        start,
        rtol=1e-3,
        maxiter=_ITERATIONS,
        M=LinearOperator((size, size), preconditioned),
    )
    return np.asarray(found)


def _laplacian(faces: NDArray[np.int32], count: int) -> sparse.csr_array:
    """(count,count) graph Laplacian of a mesh."""
    a, b = edges(faces)[0].T
    ones = np.ones(2 * len(a))
    joined = sparse.csr_array((ones, (np.concatenate([a, b]), np.concatenate([b, a]))), (count, count))
    return sparse.csr_array(sparse.diags_array(joined.sum(axis=1)) - joined)


def _moved(cameras: Cameras, steps: Array) -> Cameras:
    """The cameras after `steps` (N,6): turns in radians and moves, as `Rims.turning` has them."""
    c2w = cameras.c2w.copy()
    distance = np.linalg.norm(cameras.centres, axis=1)
    for pose, step, far in zip(c2w, steps, distance, strict=True):
        turn, _ = cv2.Rodrigues(_PIXEL_AXES @ step[:3])
        pose[:3, 3] += pose[:3, :3] @ (_PIXEL_AXES @ step[3:]) * far
        pose[:3, :3] = pose[:3, :3] @ turn
    return replace(cameras, c2w=c2w)


def _shift(before: Cameras, after: Cameras, vertices: Float) -> Array:
    """(N,) pixels, root mean square over the vertices (V,3), that each camera's move shifts the picture."""
    points = np.concatenate([vertices, np.ones((len(vertices), 1))], axis=1)
    u, v = (points @ camera.projection().transpose(0, 2, 1) for camera in (before, after))
    away = u[..., :2] / u[..., 2:] - v[..., :2] / v[..., 2:]
    return np.asarray(np.sqrt((away**2).sum(2).mean(1)))


def _common(offsets: Array, edge: Array) -> float:
    """Pixels to add to the masks' offsets (N,) so that they fit the photos' edges (N,), NaN where not known;
    0 where too few are known.
    """
    known = np.isfinite(edge)
    return float(np.median((edge - offsets)[known])) if known.sum() >= _AGREED else 0.0
