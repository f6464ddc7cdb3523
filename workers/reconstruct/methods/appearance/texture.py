"""The textures of a material, texel by texel."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from workers.geometry.colour import encode_srgb
from workers.geometry.errors import NumericError
from workers.geometry.mesh import harmonic_fill
from workers.reconstruct.methods.appearance.albedo import Points, albedo
from workers.reconstruct.methods.appearance.atlas import Atlas
from workers.reconstruct.methods.appearance.bake import Photos, colours
from workers.reconstruct.methods.appearance.fit import LIGHT_SIZE, Appearance
from workers.render.environment import Prefilter
from workers.render.shading import probe

Float = NDArray[np.float32]
Image = NDArray[np.uint8]

_KNOWN = 0.1  # weight from which a vertex's colour is taken as seen
_PRIOR = 0.05  # weight of the vertices' colours in a texel
_STRIPS = 8  # of the texture, between two reports
_DETAIL = 3.0  # how much a texel's base colour may differ from its surroundings'
_CONSTANT = (255, 153, 0)  # no occlusion, roughness 0.6, not metal
_FLAT = (128, 128, 255)


@dataclass(frozen=True)
class Textures:
    """kd (T,T,3) sRGB, ks (T,T,3) occlusion, roughness, metalness, normal_map (T,T,3): see `TexturedMesh`."""

    kd: Image
    ks: Image
    normal_map: Image


def photographed(
    vertices: Float,
    faces: NDArray[np.int32],
    normals: Float,
    atlas: Atlas,
    photos: Photos,
    done: Callable[[float], None],
) -> Textures:
    """Textures of the surface (V,3), (F,3) with unit normals (V,3) whose base colour is what the photos show,
    light and all; the rest constant.

    Vertices are coloured first and the unseen ones filled harmonically over the surface; that is what texels
    no photo shows get, and it blends in where photos show little.
    NumericError: "masks_inconsistent" where no photo shows any vertex.
    """
    colour, weight = colours(vertices, normals, photos)
    known = weight > _KNOWN
    if not known.any():
        raise NumericError("masks_inconsistent", "no photo shows any of the surface that the masks leave")
    texels = atlas.spread(np.concatenate([vertices, normals, harmonic_fill(colour, known, faces)], axis=1))
    result = np.empty((len(texels), 3), np.uint8)
    for rows in _strips(len(texels), done):
        position, normal, prior = (np.ascontiguousarray(part) for part in np.split(texels[rows], [3, 6], 1))
        seen, trust = colours(position, _unit(normal), photos)
        share = (trust / (trust + _PRIOR))[:, None]
        result[rows] = _bytes(share * seen + (1 - share) * prior)
    even = [np.full((atlas.size, atlas.size, 3), value, np.uint8) for value in (_CONSTANT, _FLAT)]
    return Textures(atlas.image(result), *even)


def physical(
    vertices: Float,
    faces: NDArray[np.int32],
    normals: Float,
    visible: NDArray[np.uint8],
    appearance: Appearance,
    known: NDArray[np.bool_],
    atlas: Atlas,
    photos: Photos,
    done: Callable[[float], None],
) -> Textures:
    """Textures of the surface (V,3), (F,3) with unit normals (V,3) from the materials found at its vertices.

    Base colour takes from the photos what is finer than the vertices: each texel is solved for, as are the
    vertices once more, and the ratio of the two is carried over. visible (V,D): see `visible_directions`.
    known (V,): vertices that were fitted; the others are filled harmonically.
    """
    materials = np.concatenate([np.log(appearance.kd), appearance.ks], axis=1)
    materials = harmonic_fill(materials, known, faces)
    kd, ks = np.exp(materials[:, :3]), materials[:, 3:]
    # What is finer than the vertices is a ratio: a light without lamps is enough for that.
    light = probe(Prefilter.of_size(LIGHT_SIZE), appearance.light.reshape(-1, 3), lamps=0)
    found = (visible, photos, light, appearance.ambient, appearance.gain)
    every = np.arange(len(vertices), dtype=np.int32)
    whole = Points(vertices, normals, appearance.normals, ks, appearance.irradiance, kd, every)
    coarse = albedo(whole, *found)
    parts = [vertices, normals, appearance.normals, ks, appearance.irradiance, coarse, kd]
    parts.append(appearance.occlusion[:, None])
    texels = atlas.spread(np.concatenate(parts, axis=1).astype(np.float32))
    nearest = atlas.source[atlas.faces[atlas.triangles, 0]]
    result = np.empty((len(texels), 3), np.uint8)
    for rows in _strips(len(texels), done):
        split = np.split(texels[rows], [3, 6, 9, 11, 14, 17, 20], axis=1)
        position, normal, bent, own, irradiance, free, smooth, _ = map(np.ascontiguousarray, split)
        points = Points(position, _unit(normal), _unit(bent), own, irradiance, free, nearest[rows])
        detail = (albedo(points, *found) + np.float32(0.01)) / (free + np.float32(0.01))
        result[rows] = _bytes(255 * encode_srgb(smooth * np.clip(detail, 1 / _DETAIL, _DETAIL)))
    orm = np.concatenate([texels[:, 20:], texels[:, 9:11]], axis=1)
    bent = _in_tangent_space(vertices, atlas, _unit(texels[:, 3:6]), _unit(texels[:, 6:9]))
    return Textures(
        atlas.image(result), atlas.image(_bytes(255 * orm)), atlas.image(_bytes(127.5 * bent + 127.5))
    )


def _in_tangent_space(vertices: Float, atlas: Atlas, normal: Float, bent: Float) -> Float:
    """(M,3) the texels' shading normals `bent` (M,3) by u, v (up) and their surface normal (M,3)."""
    corner, uv = vertices[atlas.source[atlas.faces]], atlas.uv[atlas.faces]
    (x, y), (u, v) = (
        (corner[:, k] - corner[:, 0] for k in (1, 2)),
        (uv[:, k] - uv[:, 0] for k in (1, 2)),
    )
    turn = np.sign(u[:, 0] * v[:, 1] - u[:, 1] * v[:, 0])[:, None]
    along_u = (turn * (x * v[:, 1:] - y * u[:, 1:]))[atlas.triangles]
    tangent = _unit(along_u - normal * (along_u * normal).sum(1, keepdims=True))
    bitangent = np.cross(normal, tangent) * turn[atlas.triangles]
    return np.stack([(bent * axis).sum(1) for axis in (tangent, bitangent, normal)], axis=1)


def _strips(count: int, done: Callable[[float], None]) -> Iterator[slice]:
    """Slices of that many texels, reporting after each."""
    for strip in range(_STRIPS):
        yield slice(strip * count // _STRIPS, (strip + 1) * count // _STRIPS)
        done((strip + 1) / _STRIPS)


def _unit(vectors: Float) -> Float:
    unit: Float = vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), np.float32(1e-6))
    return unit


def _bytes(values: NDArray[np.floating]) -> Image:
    result: Image = np.clip(values + 0.5, 0, 255).astype(np.uint8)
    return result
