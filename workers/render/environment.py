"""Light from far away as a cube map, and what glossy surfaces mirror of it: the split sum (Karis 2013, "Real
shading in Unreal Engine 4").

A cube map of size R is (6,R,R,C) or flat (6 R R,C): faces +x, -x, +y, -y, +z, -z, oriented as in OpenGL 4.6,
table 8.19. Radiance is linear.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import scipy.sparse as sparse
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from workers.geometry.kernels import Real

Float = NDArray[np.float32]
Array = NDArray[np.float64]
Index = NDArray[np.int32]

ROUGHNESS = (0.08, 0.2, 0.35, 0.5, 0.7, 1.0)
"""Of the levels of a `Prefilter`; the first is the light itself."""
_HALVED = (0, 0, 1, 1, 2, 2)  # how often the light is halved before a level is filtered out of it
_FAINT = 0.01  # of the lobe's peak: what is left out
_ANGLES = np.linspace(0, np.pi, 721)
_MIDDLE = 0.1  # of the lobe's peak: where the middle of a sharp lobe ends
SPLIT_SUM_SIZE = 32


def cube_directions(size: int, margin: int = 0) -> Array:
    """(6,S,S,3) through the texels' centres, not of unit length; S = size + 2 margin, with a margin of texels
    beyond each face.
    """
    at = (np.arange(-margin, size + margin) + 0.5) / size * 2 - 1
    t, s = np.meshgrid(at, at, indexing="ij")
    one = np.ones_like(s)
    faces = [(one, -t, -s), (-one, -t, s), (s, one, t), (s, -one, -t), (s, -t, one), (-s, -t, -one)]
    return np.stack([np.stack(face, axis=-1) for face in faces])


def texel_directions(size: int) -> Float:
    """(6 size size,3) unit."""
    directions = cube_directions(size).reshape(-1, 3)
    unit: Float = (directions / np.linalg.norm(directions, axis=1, keepdims=True)).astype(np.float32)
    return unit


def solid_angles(size: int) -> Float:
    """(6 size size,) of the texels, in steradian."""
    squared = (cube_directions(size) ** 2).sum(-1)
    angles: Float = (4 / (size * size * squared**1.5)).reshape(-1).astype(np.float32)
    return angles


def texels_at(directions: Array, size: int) -> Index:
    """(M,) flat index of the texel that each of (M,3) directions meets."""
    face, s, t = on_faces(directions)
    row, column = (np.clip(((c + 1) / 2 * size).astype(int), 0, size - 1) for c in (t, s))
    texels: Index = ((face * size + row) * size + column).astype(np.int32)
    return texels


def on_faces(directions: Array) -> tuple[NDArray[np.int64], Array, Array]:
    """(M,) faces of the cube that (M,3) directions meet, and s, t in [-1,1] on them."""
    axis = np.abs(directions).argmax(1)
    along = directions[np.arange(len(directions)), axis]
    face = 2 * axis + (along < 0)
    x, y, z = (directions / np.abs(along)[:, None]).T
    return face, np.choose(face, [-z, z, x, x, x, -x]), np.choose(face, [-y, -y, z, -z, -y, -y])


def bordered(size: int) -> Index:
    """(6,size+2,size+2) flat index of each texel, and around each face of its neighbours on the next."""
    return texels_at(cube_directions(size, 1).reshape(-1, 3), size).reshape(6, size + 2, size + 2)


def halving(size: int) -> sparse.csr_matrix:
    """(6 (size/2)^2, 6 size^2): means of 2x2 texels weighted by solid angle."""
    index = np.arange(6 * size * size)
    face, row, column = index // size**2, index // size % size, index % size
    half = size // 2
    target = (face * half + row // 2) * half + column // 2
    return _normalised(sparse.csr_matrix((solid_angles(size), (target, index))))


def lobe(size: int, roughness: float, faint: float = _FAINT) -> sparse.csr_matrix:
    """(6 size^2, 6 size^2): the light that a surface of that roughness mirrors, by the direction that the
    middle of it comes from, as far as it is at least `faint` of its peak.
    """
    return _normalised(_near(size, roughness, faint))


def _near(size: int, roughness: float, faint: float) -> sparse.csr_matrix:
    shape = _shape(roughness)
    reach = _ANGLES[np.flatnonzero(shape >= faint * shape[0])[-1]]
    tree = cKDTree(texel_directions(size).astype(np.float64))
    chord = max(2 * np.sin(reach / 2), 2 / size)
    pairs = tree.sparse_distance_matrix(tree, chord, output_type="coo_matrix")
    weight = _sent(1 - pairs.data**2 / 2, roughness) * solid_angles(size)[pairs.col]
    return sparse.csr_matrix((weight, (pairs.row, pairs.col)), pairs.shape)


def _whole(size: int, coarse: int, roughness: float) -> Float:
    """(6 size^2, 6 coarse^2): as `_near`, of all the light, taken in the middle of each texel."""
    cosine = texel_directions(size) @ texel_directions(coarse).T
    weights: Float = (_sent(cosine, roughness) * solid_angles(coarse)).astype(np.float32)
    return weights


def _in_parts(size: int, roughness: float, coarse: int, merged: sparse.csr_matrix) -> tuple[Any, Float]:
    """The middle of a sharp lobe, and all the rest of it by a light of size `coarse`, into which `merged`
    sorts the texels: GGX falls off so slowly that a lamp lights up all of a polished surface.
    """
    near = _near(size, roughness, _MIDDLE)
    rest = np.maximum(_whole(size, coarse, roughness) - (near @ merged.T).toarray(), 0)
    total = np.asarray(near.sum(1)).ravel() + rest.sum(1)
    middle = sparse.csr_matrix(sparse.diags(1 / total) @ near, dtype=np.float32)
    return middle, (rest / total[:, None]).astype(np.float32)


def _sent(cosine: NDArray[np.floating], roughness: float) -> Array:
    """How much of the light in a direction is sent on, by its cosine to the middle of what is mirrored."""
    sent: Array = np.interp(np.arccos(np.clip(cosine, -1, 1)), _ANGLES, _shape(roughness))
    return sent


@cache
def _shape(roughness: float, tilts: int = 12, turns: int = 24) -> Array:
    """GGX with height-correlated Smith masking (Heitz 2014), times the cosine, by `_ANGLES`: unscaled, the
    mean over the views of a ball. Karis's lobe, for normal = view = mirrored direction, ends at 90 degrees
    from there and leaves the sides of what a lamp lights dark.
    """
    angle = _ANGLES[:, None, None]
    tilt = np.arcsin(np.sqrt((np.arange(tilts) + 0.5) / tilts))[:, None]  # between normal and view
    turn = (np.arange(turns) + 0.5) / turns * np.pi
    view, alpha2, lean = np.cos(tilt), roughness**4, leaning(roughness)[0]
    off = np.arctan2(lean * np.sin(tilt), lean * np.cos(tilt) + 1 - lean)  # from the normal to the middle
    # In the frame of the lobe's middle, with the normal in its x, z plane.
    up = np.cos(angle) * np.cos(off) + np.sin(angle) * np.cos(turn) * np.sin(off)
    across = np.cos(angle) * np.cos(tilt + off) + np.sin(angle) * np.cos(turn) * np.sin(tilt + off)
    above = np.maximum(up, 1e-4)
    half2 = (above + view) ** 2 / np.maximum(2 + 2 * across, 1e-9)
    masking = view * np.sqrt(alpha2 + (1 - alpha2) * above**2)
    masking = masking + above * np.sqrt(alpha2 + (1 - alpha2) * view**2)
    sent = above / masking / (half2 * (alpha2 - 1) + 1) ** 2
    shape: Array = np.where(up > 0, sent, 0).mean((1, 2))
    return shape


def leaning(roughness: Real) -> tuple[Real, Real]:
    """How far from the normal, 0, to the mirrored direction, 1, the middle of what a surface mirrors lies
    (Lagarde and de Rousiers 2014, section 4.9.3); and the slope of that with roughness.
    """
    alpha = roughness * roughness
    root = np.sqrt(1 - alpha)
    return (1 - alpha) * (root + alpha), 2 * roughness * (root * root - root / 2 - root - alpha)


def _normalised(weights: sparse.csr_matrix) -> sparse.csr_matrix:
    total = np.asarray(weights.sum(1)).ravel()
    return sparse.csr_matrix(sparse.diags(1 / total) @ weights, dtype=np.float32)


@dataclass(frozen=True)
class Prefilter:
    """A light's levels for all of `ROUGHNESS`, a linear map and its transpose.

    sizes: of the levels. starts: (L+1,) where each begins among all their texels, one after the other.
    table: all levels' `bordered` tables, flat, pointing there; table_starts: (L+1,).
    """

    sizes: tuple[int, ...]
    starts: NDArray[np.int64]
    table: Index
    table_starts: NDArray[np.int64]
    _halvings: tuple[sparse.csr_matrix, ...]
    _lobes: tuple[tuple[tuple[int, Any], ...], ...]  # of each level: of which half, and by what filtered

    @classmethod
    @cache
    def of_size(cls, size: int) -> Prefilter:
        """For lights of that size, a multiple of 4."""
        sizes = tuple(size >> halved for halved in _HALVED)
        starts = np.concatenate([[0], np.cumsum([6 * s * s for s in sizes])])
        tables = [bordered(s).ravel() + start for s, start in zip(sizes, starts, strict=False)]
        halvings = halving(size), halving(size // 2)
        cells = sparse.csr_matrix((halvings[1] @ halvings[0]) > 0, dtype=np.float32)
        lobes: list[tuple[tuple[int, Any], ...]] = []
        for s, halved, roughness in zip(sizes[1:], _HALVED[1:], ROUGHNESS[1:], strict=True):
            if halved:
                whole = _whole(s, s, roughness)
                lobes.append(((halved, whole / whole.sum(1, keepdims=True)),))
            else:
                lobes.append(tuple(zip((0, 2), _in_parts(s, roughness, sizes[-1], cells), strict=True)))
        return cls(
            sizes,
            starts,
            np.concatenate(tables).astype(np.int32),
            np.concatenate([[0], np.cumsum([len(table) for table in tables])]),
            halvings,
            tuple(lobes),
        )

    def levels(self, light: Float) -> Float:
        """(T,C) texels of all levels of the flat light (6 size^2,C)."""
        halves = self.halves(light)
        filtered = [sum(matrix @ halves[n] for n, matrix in parts) for parts in self._lobes]
        return np.concatenate([light, *filtered])

    def halves(self, light: Float) -> list[Float]:
        """The flat light (6 size^2,C), halved, and halved again."""
        half = self._halvings[0] @ light
        return [light, half, self._halvings[1] @ half]

    def transposed(self, gradient: Float) -> Float:
        """(6 size^2,C) from (T,C): what `levels` does, backwards."""
        parts = [gradient[a:b] for a, b in zip(self.starts[:-1], self.starts[1:], strict=True)]
        halves = [parts[0], *(np.zeros((6 * s * s, parts[0].shape[1]), np.float32) for s in self.sizes[2::2])]
        for part, filters in zip(parts[1:], self._lobes, strict=True):
            for halved, matrix in filters:
                halves[halved] = halves[halved] + matrix.T @ part
        return self.raised(halves)

    def raised(self, halves: list[Float]) -> Float:
        """(6 size^2,C): what `halves` does, backwards."""
        light: Float = halves[0] + self._halvings[0].T @ (halves[1] + self._halvings[1].T @ halves[2])
        return light


@cache
def split_sum(samples: int = 64) -> Float:
    """(n,n,2) by roughness and cosine to the view at cell centres, n = SPLIT_SUM_SIZE: A, B of F0 A + B, what
    a surface reflects of even light (Karis 2013, p. 7; height-correlated Smith masking, Heitz 2014).
    """
    grid = (np.arange(SPLIT_SUM_SIZE) + 0.5) / SPLIT_SUM_SIZE
    unit = (np.arange(samples) + 0.5) / samples
    u, turn = (axis.ravel() for axis in np.meshgrid(unit, unit))
    cosine, alpha2 = grid[None, :, None], grid[:, None, None] ** 4
    up = np.sqrt((1 - u) / (1 + (alpha2 - 1) * u))  # of half vectors drawn from the distribution
    half = np.sqrt(1 - cosine**2) * np.sqrt(1 - up**2) * np.cos(2 * np.pi * turn) + cosine * up
    light = 2 * half * up - cosine
    with np.errstate(divide="ignore", invalid="ignore"):
        masking = [np.sqrt(1 + alpha2 * (1 / z**2 - 1)) for z in (cosine, light)]
        share = 2 / (masking[0] + masking[1]) * half / (cosine * up)
    share = np.where((light > 0) & (half > 0), share, 0)
    fresnel = np.maximum(1 - half, 0) ** 5
    return np.stack([(share * (1 - fresnel)).mean(-1), (share * fresnel).mean(-1)], axis=-1).astype(
        np.float32
    )


def irradiance(light: Float, size: int = 8) -> Float:
    """(6,size,size,3): the mean of a light (6,R,R,3) over the hemisphere around each direction, weighted by
    the cosine; over pi.
    """
    radiance = light.reshape(-1, 3)
    while len(radiance) > 6 * size * size:
        radiance = halving(round((len(radiance) / 6) ** 0.5)) @ radiance
    directions = texel_directions(size)
    weights = np.maximum(directions @ directions.T, 0) * solid_angles(size)
    weights /= weights.sum(1, keepdims=True)
    even: Float = (weights @ radiance).reshape(6, size, size, 3)
    return even


def to_equirectangular(light: Float, height: int, turn: Array) -> Float:
    """(height, 2 height, 3) picture of a light (6,R,R,3), top row first.

    The pixel at u, v (from the left and from the top, in [0,1]) looks in direction (sin t sin p, cos t, -sin
    t cos p) with t = pi v, p = 2 pi u - pi: +y is at the top, -z in the middle. turn: (3,3) rotation from the
    picture's frame to the light's.
    """
    v, u = np.meshgrid(
        (np.arange(height) + 0.5) / height, (np.arange(2 * height) + 0.5) / (2 * height), indexing="ij"
    )
    t, p = np.pi * v, 2 * np.pi * u - np.pi
    looks = np.stack([np.sin(t) * np.sin(p), np.cos(t), -np.sin(t) * np.cos(p)], axis=-1).reshape(-1, 3)
    picture: Float = look_up(light, looks @ turn.T).reshape(height, 2 * height, 3)
    return picture


def from_equirectangular(picture: Float, size: int) -> Float:
    """(6,size,size,3): the light of which `to_equirectangular` made the picture (h,w,3), without a turn."""
    height, width = picture.shape[:2]
    fine = 4 * size  # so that each texel is a mean of many pixels
    x, y, z = texel_directions(fine).T
    row = np.arccos(np.clip(y, -1, 1)) / np.pi * height
    column = (np.arctan2(x, -z) + np.pi) / (2 * np.pi) * width
    radiance = picture[np.minimum(row.astype(int), height - 1), np.minimum(column.astype(int), width - 1)]
    light: Float = (halving(fine // 2) @ (halving(fine) @ radiance)).reshape(6, size, size, 3)
    return light


def look_up(light: Float, directions: Array) -> Float:
    """(M,C) bilinear, seamless, of a cube map (6,R,R,C) in (M,3) directions."""
    size = light.shape[1]
    face, s, t = on_faces(directions)
    across, down = ((c + 1) / 2 * size + 0.5 for c in (s, t))
    column, row = (np.minimum(c.astype(int), size) for c in (across, down))
    right, below = (across - column)[:, None], (down - row)[:, None]
    table, flat = bordered(size), light.reshape(-1, light.shape[-1])
    upper = flat[table[face, row, column]] * (1 - right) + flat[table[face, row, column + 1]] * right
    lower = flat[table[face, row + 1, column]] * (1 - right) + flat[table[face, row + 1, column + 1]] * right
    value: Float = (upper * (1 - below) + lower * below).astype(np.float32)
    return value
