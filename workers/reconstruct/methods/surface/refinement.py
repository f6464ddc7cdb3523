"""The finished mesh made to agree with the masks' borders and the photos, to a fraction of a pixel.

In each round every vertex may move along its normal. By how much is a sparse least squares problem: rendered
outlines shall run along the masks' borders (the gradient of the antialiased silhouette), patches shall look
the same in all photos (Gauss-Newton), and neighbours shall move alike, which preconditions as it regularises
(cf. Nicolet et al. 2021, "Large steps in inverse rendering of geometry"). First in small photos, which see
farther, then in large ones.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import scipy.sparse as sparse
from numpy.typing import NDArray
from scipy.sparse.linalg import cg

from workers.geometry.mesh import edges, vertex_normals
from workers.reconstruct.methods.model import Scene
from workers.reconstruct.methods.surface.contours import Contours, contours
from workers.reconstruct.methods.surface.masks import signed_distances
from workers.reconstruct.methods.surface.patches import Agreement, agreement, curvatures
from workers.reconstruct.methods.surface.silhouettes import cut_to_object
from workers.reconstruct.threads import each

Float = NDArray[np.float32]
Array = NDArray[np.float64]
Index = NDArray[np.int32]
Bool = NDArray[np.bool_]

_LOOKS = (0.5, 0.5, 1.0)  # the photos' size each time the surface is rendered, of what is asked for
_ROUNDS = (3, 3, 2)  # moves after each look
_BLUR = 0.6  # pixels, of the photos: a bilinear sample's slope is noisy otherwise
_JUMP = 0.02  # of the object's longest side: a change of depth between neighbouring pixels that is an edge
_CLEAR = np.ones((5, 5), np.uint8)
_STEADY, _RESTLESS = 0.1, 0.2  # change of brightness from photo to photo, of that from place to place
_OUTLINE = 2.0  # weight of an outline's pixel
_BORDER = 1.0  # pixels off the mask's border that quarter it
_TEXTURE = 0.5  # squared change for a pixel at which a patch gets half its say, twice over
_UNLIKE = 0.02  # mean square that photos differ by without anything being wrong
_SURE, _LIKELY = 20.0, 5.0  # largest weights of a patch with texture, and of one without
_DOUBT = 0.3  # pixels that patches without texture have to agree on moving by, to be followed beyond it
_TOGETHER, _FAINT = 4.0, 0.02  # how much they are smoothed before, and drawn to 0
_LEANING = 0.5  # pixels by which a mask may lie within the others' outlines or beyond before it is doubted
_ALIKE = 6.0  # weight of the difference between neighbours' moves
_STAY = 0.05  # of moving at all
_FAIR = 1.0  # of the curvature that is left
_CREASE = 0.5  # pixels of curvature that quarter it
_LIMIT = 2.0  # pixels that a vertex moves in a round
_ITERATIONS = 60
_TURNED = 0.2  # cosine between a face's normals before and after: less is a fold


@dataclass(frozen=True)
class _Views:
    """The photos cut to the object: grey (N,h,w) in [0,1], distances (N,h,w) of `signed_distances`; pixels
    for a unit of length.
    """

    cut: Scene
    grey: Float
    distances: Float
    pixels: float


def refined(
    scene: Scene, half: NDArray[np.float64], vertices: Float, faces: Index, size: int
) -> tuple[Float, Index]:
    """The closed mesh (V,3), (F,3) with its vertices moved; the same faces.

    scene: in the unit frame, as registered. half: (3,) half sides of the object's box around 0. size: pixels
    of the sides of the views looked at, at most. Where nothing speaks for a move the surface stays, and no
    face folds over.
    """
    corner, _ = edges(faces)
    both = np.concatenate([corner, corner[:, ::-1]])
    adjacency = sparse.csr_array((np.ones(len(both)), both.T), shape=(len(vertices),) * 2)
    slopes = np.ones(len(vertices), np.float32)
    views = _views(scene, half, round(_LOOKS[0] * size))
    for part, rounds in zip(_LOOKS, _ROUNDS, strict=True):
        if views.cut.masks.shape[1] != round(part * size):
            views = _views(scene, half, round(part * size))
        cameras, pixels = views.cut.cameras, views.pixels
        normals = vertex_normals(vertices, faces)
        outlines, depth = contours(
            vertices, normals, faces, cameras, views.distances, views.cut.frames, pixels
        )
        shown = views.grey, depth, np.stack(each(_clear, views.cut.masks, depth))
        moved = np.zeros(len(vertices))  # pixels, since the outlines were looked at
        for _ in range(rounds):
            normals = vertex_normals(vertices, faces)
            shapes = curvatures(vertices, normals, adjacency)
            photos = agreement(vertices, normals, shapes, slopes, shown, cameras, pixels)
            slopes = _slopes(photos, adjacency)
            bend = _bend(vertices, normals, adjacency) * pixels
            move = _move(outlines, moved, photos, bend, adjacency)
            before = vertices
            vertices = (vertices + (move / pixels)[:, None] * normals).astype(np.float32)
            vertices, folded = _unfolded(before, vertices, faces)
            moved += np.where(folded, 0, move)
    return vertices, faces


def _views(scene: Scene, half: NDArray[np.float64], size: int) -> _Views:
    cut = cut_to_object(scene, half, size)
    grey = np.stack(each(_blurred, cut.images))
    pixels = float(np.median(cut.cameras.magnification))
    return _Views(cut, grey, signed_distances(cut.masks, cut.frames), pixels)


def _blurred(image: NDArray[np.uint8]) -> Float:
    """(h,w) grey in [0,1]."""
    tone = cv2.cvtColor(image.astype(np.float32) / np.float32(255), cv2.COLOR_RGB2GRAY)
    return np.asarray(cv2.GaussianBlur(tone, (0, 0), _BLUR))


def _clear(mask: Bool, depth: Float) -> Bool:
    """(h,w) pixels of surface and mask around which no edge of either runs."""
    smooth = (mask & (depth > 0)).astype(np.uint8)
    smooth[:, 1:][np.abs(np.diff(depth, axis=1)) > _JUMP] = 0
    smooth[1:][np.abs(np.diff(depth, axis=0)) > _JUMP] = 0
    return cv2.erode(smooth, _CLEAR) > 0


def _slopes(photos: Agreement, adjacency: sparse.csr_array) -> Float:
    """(V,) 0 where the surface looks as bright from everywhere, 1 where it reflects: there, a slope of
    brightness is the reflection's and lies elsewhere in each view.
    """
    known = photos.tone > 0
    if not known.any():
        return np.ones(len(known), np.float32)
    tone = photos.tone[known]
    places = np.median(np.abs(tone - np.random.default_rng(0).permutation(tone)))
    swing = np.where(known, photos.swing, np.median(photos.swing[known])).astype(np.float64)
    degree = np.diff(adjacency.indptr)
    for _ in range(3):
        swing = (swing + adjacency @ swing) / (degree + 1)
    steady = (_RESTLESS - swing / max(float(places), 1e-3)) / (_RESTLESS - _STEADY)
    return (1 - np.clip(steady, 0, 1)).astype(np.float32)


def _bend(vertices: Float, normals: Float, adjacency: sparse.csr_array) -> Array:
    """(V,) how far each vertex stands out over its neighbours' mean."""
    mean = adjacency @ vertices.astype(np.float64) / np.diff(adjacency.indptr)[:, None]
    return np.asarray(((vertices - mean) * normals).sum(1))


def _move(
    outlines: Contours, moved: Array, photos: Agreement, bend: Array, adjacency: sparse.csr_array
) -> Array:
    """(V,) pixels that each vertex moves along its normal.

    moved: (V,) by how much it has since the outlines were looked at. bend: (V,) of `_bend`, in pixels.
    """
    count, degree = len(moved), np.diff(adjacency.indptr)
    laplacian = sparse.csr_array(sparse.diags_array(degree.astype(float)) - adjacency)
    umbrella = sparse.csr_array(sparse.diags_array(1 / degree) @ laplacian)
    rows = np.arange(len(outlines.residual)).repeat(2)
    matrix = sparse.csr_array(
        (outlines.growth.ravel(), (rows, outlines.corner.ravel())), (len(outlines.residual), count)
    )
    residual = _levelled(outlines) + matrix @ moved
    wanted = np.clip(photos.move.astype(np.float64), -3, 3)
    said = photos.texture / (photos.off + _UNLIKE)
    sure = np.minimum(said, _SURE) * (photos.texture / (photos.texture + _TEXTURE)) ** 2
    likely = np.minimum(said, _LIKELY)
    prior = sparse.csr_array(sparse.diags_array(likely + _FAINT) + _TOGETHER * laplacian)
    common = _solved(prior, likely * wanted, np.zeros(count))
    beyond = np.sign(common) * np.maximum(np.abs(common) - _DOUBT, 0)
    likely = likely * (beyond != 0)
    move = np.zeros(count)
    for turn in range(2):
        outline = _OUTLINE / (1 + ((residual + matrix @ move) / _BORDER) ** 2) ** 2
        trust = sure / (1 + ((move - wanted) / 1.5) ** 2) ** 2 if turn else sure
        fair = _FAIR / (1 + ((bend + umbrella @ move) / _CREASE) ** 2) ** 2
        left = matrix.T @ sparse.diags_array(outline) @ matrix + _ALIKE * laplacian
        left += umbrella.T @ sparse.diags_array(fair) @ umbrella
        left += sparse.diags_array(trust + likely + _STAY)
        right = (
            trust * wanted + likely * beyond - matrix.T @ (outline * residual) - umbrella.T @ (fair * bend)
        )
        move = _solved(sparse.csr_array(left), right, move)
    return np.clip(move, -_LIMIT, _LIMIT)


def _levelled(outlines: Contours) -> Array:
    """The residuals (M,), those of a mask that is too large or too small as a whole put right by as much."""
    if len(outlines.view) == 0:
        return outlines.residual
    views, start = np.unique(outlines.view, return_index=True)
    offset = np.array([np.median(part) for part in np.split(outlines.residual, start[1:])])
    offset -= offset.mean()
    offset = np.sign(offset) * np.maximum(np.abs(offset) - _LEANING, 0)
    return np.asarray(outlines.residual - offset[np.searchsorted(views, outlines.view)])


def _solved(left: sparse.csr_array, right: Array, start: Array) -> Array:
    """x with left x = right, by conjugate gradients from `start`."""
    inverse = sparse.diags_array(1 / left.diagonal())
    found, _ = cg(left, right, start, rtol=1e-3, maxiter=_ITERATIONS, M=inverse)
    return np.asarray(found)


def _unfolded(before: Float, after: Float, faces: Index) -> tuple[Float, Bool]:
    """`after` (V,3), but as `before` at corners of faces that turned too far; and which these are (V,)."""
    back = np.zeros(len(after), bool)
    old = _crosses(before, faces)
    while True:
        vertices = np.where(back[:, None], before, after)
        new = _crosses(vertices, faces)
        lengths = np.linalg.norm(old, axis=1) * np.linalg.norm(new, axis=1)
        turned = (old * new).sum(1) < _TURNED * lengths
        turned &= ~back[faces].all(1)
        if not turned.any():
            return vertices, back
        back[faces[turned]] = True


def _crosses(vertices: Float, faces: Index) -> Array:
    a, b, c = vertices[faces].transpose(1, 0, 2).astype(np.float64)
    return np.asarray(np.cross(b - a, c - a))
