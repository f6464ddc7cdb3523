"""ShapeNet as 3D-R2N2 prepared it (Choy et al. 2016).

ShapeNetRendering/CATEGORY/MODEL/rendering/ with 00.png and so on and rendering_metadata.txt;
ShapeNetVox32/CATEGORY/MODEL/model.binvox. The pictures are drawn in perspective from about one and a half
longest sides away; here they are taken to be seen from afar.
"""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import binary_fill_holes
from skimage.measure import marching_cubes

from workers.training.examples import Example
from workers.training.reading import BadShape, picture
from workers.training.shapes import Kept, example
from workers.training.solids import closed, normalised

RENDERING, VOXELS = "ShapeNetRendering", "ShapeNetVox32"
_MOST_VOXELS = 256  # on a side

Array = NDArray[np.float64]
Float = NDArray[np.float32]


def files(model: Path) -> list[Path]:
    """What is read of a model, given its folder in `RENDERING`."""
    folder = model / "rendering"
    voxels = model.parents[2] / VOXELS / model.parent.name / model.name / "model.binvox"
    return [voxels, folder / "rendering_metadata.txt", folder]


def from_r2n2(model: Path, kept: Kept, rng: np.random.Generator) -> Example:
    """A model of 3D-R2N2, given its folder in ShapeNetRendering: its voxels' surface, of the longest side 1.

    BadShape, which names the file.
    """
    voxels, metadata, folder = files(model)
    vertices, faces = surface_of(read_binvox(voxels))
    try:
        lines = metadata.read_text().split("\n")
        views = np.array([[float(each) for each in line.split()[:3]] for line in lines if line.strip()])
        views = views.reshape(-1, 3)
    except (OSError, ValueError) as error:
        raise BadShape(f"{metadata.name} cannot be read ({error})") from error
    paths = sorted(folder.glob("*.png"))
    paths = [path for path in paths if path.stem.isdecimal() and int(path.stem) < len(views)]
    if not paths:
        raise BadShape(f"{metadata.name} tells of no picture that there is")
    chosen = [paths[k] for k in np.resize(rng.permutation(len(paths)), kept.pictures)]
    shown = [picture(path) for path in chosen]
    if min(each.shape[2] for each in shown) < 4:
        raise BadShape("its pictures have no alpha")
    return example(vertices, faces, shown, [seen_from(*views[int(p.stem)]) for p in chosen], kept, rng)


def seen_from(azimuth: float, elevation: float, in_plane: float = 0) -> Array:
    """(3,3) from the model's frame, y up, to the camera's, x right, y up, z towards the viewer.

    In degrees, as Pixel2Mesh and PyTorch3D take them: the camera is towards x for 0 and 0, towards z for 90
    and 0. BadShape where the picture is turned in its plane, which none of the published ones is.
    """
    if in_plane:
        raise BadShape("rendering_metadata.txt has pictures that are turned in their plane")
    (cos, rise), (sin, up) = (f(np.radians([azimuth, elevation])) for f in (np.cos, np.sin))
    back = np.array([cos * rise, up, sin * rise])
    right = np.array([sin, 0, -cos])
    return np.stack([right, np.cross(back, right), back])


def read_binvox(path: Path) -> NDArray[np.bool_]:
    """(D,D,D) which voxels, along x, y and z, are full (binvox 1). BadShape for a damaged file."""
    try:
        with path.open("rb") as file:
            head, found, runs = file.read(2 * _MOST_VOXELS**3 + 1024).partition(b"\ndata\n")
    except OSError as error:
        raise BadShape(f"{path.name} cannot be read ({error.strerror})") from error
    match = re.match(rb"#binvox 1\s+dim (\d{1,4}) (\d{1,4}) (\d{1,4})\s", head)
    if not match or not found:
        raise BadShape(f"{path.name} is no binvox file")
    sides = {int(each) for each in match.groups()}
    side = sides.pop()
    if sides or not 0 < side <= _MOST_VOXELS:
        raise BadShape(f"{path.name} is not as wide as it is high and deep, or more than {_MOST_VOXELS} wide")
    pairs = np.frombuffer(runs[: len(runs) // 2 * 2], np.uint8).reshape(-1, 2)
    if len(runs) % 2 or pairs[:, 1].sum(dtype=np.int64) != side**3 or pairs[:, 0].max() > 1:
        raise BadShape(f"{path.name} is damaged: it does not have the voxels it says it has")
    filled = np.repeat(pairs[:, 0] == 1, pairs[:, 1])
    return filled.reshape(side, side, side).transpose(0, 2, 1)  # y runs fastest, then z


def surface_of(voxels: NDArray[np.bool_]) -> tuple[Float, NDArray[np.int32]]:
    """The closed surface half-way between what is full, cavities included, and what is not; its longest side
    is 1. BadShape where nothing is full.
    """
    if not voxels.any():
        raise BadShape("its voxels are empty")
    padded = np.pad(binary_fill_holes(voxels), 1).astype(np.float32)
    vertices, faces, *_ = marching_cubes(padded, 0.5)  # type: ignore[no-untyped-call]
    return closed(normalised(vertices), faces.astype(np.int32))
