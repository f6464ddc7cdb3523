"""What of one picture stands out from its background: robust background detection (Zhu, Liang, Wei and Sun
2014).

A patch that reaches the picture's sides, by way of patches like it, for a good part of its own outline is
background; the object is what differs from such patches around it.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.sparse.csgraph import shortest_path
from skimage.segmentation import slic

Float = NDArray[np.float32]
Array = NDArray[np.float64]
Image = NDArray[np.uint8]
Labels = NDArray[np.int64]

_COMPACT, _STEPS = 15.0, 5  # of the patches (Achanta et al. 2012)
# The paper's: differences of colour in Lab, distances in lengths of the picture.
_ALIKE, _NEAR = 10.0, 0.25
_LEAST = 0.1  # that neighbours hold together, however different


def salience(image: Image, patches: int) -> Float:
    """(h,w) in [0,1], high on what stands out in image (h,w,3) sRGB, the same all over each patch; there are
    about so many.
    """
    labels = np.asarray(
        slic(cv2.GaussianBlur(image, (0, 0), 1.0), patches, _COMPACT, _STEPS, start_label=0), np.int64
    )
    colours, places = _means(image, labels)
    apart = np.linalg.norm(colours[:, None] - colours, axis=-1)
    touching, sides = _neighbours(labels)
    behind = _background(apart, touching, sides)
    near = np.exp(-(np.linalg.norm(places[:, None] - places, axis=-1) ** 2) / (2 * _NEAR**2))
    contrast = (apart * near) @ behind
    contrast /= max(float(contrast.max()), 1e-9)
    # Least squares: 0 where it is background, 1 where it differs, alike where neighbours are alike.
    reach = touching | (touching.astype(np.float32) @ touching.astype(np.float32) > 0)
    bond = np.where(reach, np.exp(-(apart**2) / (2 * _ALIKE**2)) + _LEAST, 0)
    np.fill_diagonal(bond, 0)
    system = np.diag(bond.sum(1) + behind + contrast + 1e-6) - bond
    found = np.linalg.solve(system, contrast)
    found = (found - found.min()) / max(float(np.ptp(found)), 1e-9)
    return np.asarray(found[labels], np.float32)


def _means(image: Image, labels: Labels) -> tuple[Array, Array]:
    """Lab colour (K,3) and place (K,2), in lengths of the picture, of each patch."""
    lab = cv2.cvtColor(image.astype(np.float32) / 255, cv2.COLOR_RGB2LAB)
    places = np.moveaxis(np.mgrid[: labels.shape[0], : labels.shape[1]], 0, -1) / max(labels.shape)
    flat, count = labels.ravel(), np.bincount(labels.ravel())
    colours, middles = (
        np.stack([np.bincount(flat, each.ravel()) / count for each in np.moveaxis(values, -1, 0)], axis=1)
        for values in (lab, places)
    )
    return colours, middles


def _neighbours(labels: Labels) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """(K,K) patches that touch, those at the picture's sides all touching each other; (K,) those at the
    sides.
    """
    count = int(labels.max()) + 1
    touching, sides = np.zeros((count, count), bool), np.zeros(count, bool)
    for one, other in ((labels[:, 1:], labels[:, :-1]), (labels[1:], labels[:-1])):
        touching[one, other] = True
    for line in (labels[0], labels[-1], labels[:, 0], labels[:, -1]):
        sides[line] = True
    touching |= touching.T | (sides[:, None] & sides)
    np.fill_diagonal(touching, False)
    return touching, sides


def _background(apart: Array, touching: NDArray[np.bool_], sides: NDArray[np.bool_]) -> Array:
    """(K,) in [0,1] how likely each patch is background, by its connection to the sides."""
    steps = np.where(touching, apart, np.inf)
    usual = np.median(steps.min(1))  # small steps are shading, and would add up along a way
    ways = shortest_path(np.where(touching, np.maximum(apart - usual, 1e-4), 0), directed=False)
    like = np.exp(-(ways**2) / (2 * _ALIKE**2))
    connection = like[:, sides].sum(1) / np.sqrt(like.sum(1))
    likely: Array = 1 - np.exp(-(connection**2) / 2)
    return likely
