"""The base colour texture: every texel coloured from the photos, the unseen ones from the surface around
them.
"""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np
from numpy.typing import NDArray

from workers.geometry.errors import NumericError
from workers.geometry.mesh import harmonic_fill
from workers.reconstruct.methods.surface.atlas import Atlas
from workers.reconstruct.methods.surface.bake import Photos, colours

Float = NDArray[np.float32]

_KNOWN = 0.1  # weight from which a vertex's colour is taken as seen
_PRIOR = 0.05  # weight of the vertices' colours in a texel
_STRIPS = 8  # of the texture, between two reports


def base_colour(
    vertices: Float,
    faces: NDArray[np.int32],
    normals: Float,
    atlas: Atlas,
    photos: Photos,
    done: Callable[[float], None],
) -> NDArray[np.uint8]:
    """Texture (size,size,3) uint8 sRGB, top row first, of the surface (V,3), (F,3) with unit normals (V,3).

    Vertices are coloured first and the unseen ones filled harmonically over the surface; that is what texels
    no photo shows get, and it blends in where photos show little. Texels off the charts repeat the nearest
    chart's.
    NumericError: "masks_inconsistent" where no photo shows any vertex.
    """
    colour, weight = colours(vertices, normals, photos)
    known = weight > _KNOWN
    if not known.any():
        raise NumericError("masks_inconsistent", "no photo shows any of the surface that the masks leave")
    colour = harmonic_fill(colour, known, faces)
    texels, on_chart = atlas.spread(np.concatenate([vertices, normals, colour], axis=1))
    result = np.zeros((atlas.size, atlas.size, 3), np.float32)
    for strip in range(_STRIPS):
        rows = slice(strip * atlas.size // _STRIPS, (strip + 1) * atlas.size // _STRIPS)
        here = on_chart[rows]
        position, normal, prior = np.split(texels[rows][here], [3, 6], axis=1)
        normal /= np.maximum(np.linalg.norm(normal, axis=1, keepdims=True), 1e-6)
        seen, trust = colours(np.ascontiguousarray(position), np.ascontiguousarray(normal), photos)
        share = (trust / (trust + _PRIOR))[:, None]
        result[rows][here] = share * seen + (1 - share) * prior
        done((strip + 1) / _STRIPS)
    return padded(np.clip(result + 0.5, 0, 255).astype(np.uint8), on_chart)


def padded(image: NDArray[np.uint8], known: NDArray[np.bool_]) -> NDArray[np.uint8]:
    """The image (h,w,3) with every pixel not `known` (h,w) set to the nearest known one's colour."""
    _, label = cv2.distanceTransformWithLabels(
        (~known).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_5, labelType=cv2.DIST_LABEL_PIXEL
    )
    colour = np.zeros((int(label.max()) + 1, 3), np.uint8)
    colour[label[known]] = image[known]
    filled: NDArray[np.uint8] = colour[label]
    return filled
