"""ShapeNet as Occupancy Networks prepared it (Mescheder et al. 2019).

CATEGORY/MODEL/ with pointcloud.npz, points.npz, img_choy2016/000.jpg and so on and their cameras.npz. The
pictures are those of 3D-R2N2, on white, drawn in perspective from about one and a half longest sides away;
here they are taken to be seen from afar.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import rq
from scipy.ndimage import binary_fill_holes, label
from scipy.spatial import cKDTree

from workers.reconstruct.methods.single_view.framing import framed
from workers.reconstruct.methods.single_view.network import PIXELS
from workers.training.examples import Example, in_picture
from workers.training.reading import BadShape, arrays, picture
from workers.training.shapes import Kept, about

VOLUME = 0.55
"""Half the side of the cube in which Occupancy Networks tell what is inside; beyond, nothing is."""

_WHITE = 230  # and more, in all channels, is background: around edges JPEG leaves it grey
_SPECK = 0.01  # of the outline's largest piece: what is smaller is a trace of JPEG
_ASKED = 3  # points of the cloud, on which side of them another is
_ASTRAY = 0.1  # of the longer side of the outline's box: how far another that is of the same object may lie

Array = NDArray[np.float64]
Float = NDArray[np.float32]
Bytes = NDArray[np.uint8]


def files(model: Path) -> list[Path]:
    """What is read of a model."""
    folder = model / "img_choy2016"
    return [model / "pointcloud.npz", model / "points.npz", folder / "cameras.npz", folder]


def from_occnet(model: Path, kept: Kept, rng: np.random.Generator) -> Example:
    """A model of Occupancy Networks, in its own frame, in which the longest side is 1.

    Points near the surface are put about those of the cloud, and by its normals inside or outside. Points
    anywhere are those of points.npz, which says what is inside, and in the part of our cube that these leave
    out, outside. Distances are to the cloud. BadShape, which names the file.
    """
    path = model / "pointcloud.npz"
    points, normals, middle, scale = arrays(path, points=(-1, 3), normals=(-1, 3), loc=(3,), scale=())
    if not _ASKED <= len(points) == len(normals):
        raise BadShape(f"{path.name} does not have points with a normal each")
    cloud = _Cloud(points, normals)
    near, even = about(points[rng.choice(len(points), kept.near)], kept, rng)
    even, is_inside = _told(model / "points.npz", even, rng)
    far = np.abs(cloud.distances(even))
    turned, shown = _pictures_on_white(model / "img_choy2016", scale * points + middle, kept.pictures, rng)
    return Example(
        pictures=np.stack([framed(each, PIXELS)[0] for each in shown]),
        frames=np.stack([in_picture(points, rotation) for rotation in turned]),
        near=near,
        near_distances=cloud.distances(near),
        even=even,
        even_distances=np.where(is_inside, -far, far),
    )


class _Cloud:
    """Points (N,3) of a surface and its normals there."""

    def __init__(self, points: Array, normals: Array) -> None:
        self.tree, self.points, self.normals = cKDTree(points), points, normals
        apart, _ = self.tree.query(points[:1000], k=[2])
        self.gap = 2 * float(np.median(apart))

    def distances(self, points: Float) -> Float:
        """(P,) signed, negative inside: to the plane of the nearest if it is right below, else to itself.

        The sign is by that of a few whose plane is farthest: next to an edge, the nearest may be of the face
        that ends there.
        """
        distance, nearest = self.tree.query(points, k=_ASKED)
        heights = ((points[:, None] - self.points[nearest]) * self.normals[nearest]).sum(2)
        sign = np.take_along_axis(heights, np.abs(heights).argmax(1)[:, None], axis=1)[:, 0]
        away, height = np.asarray(distance)[:, 0], np.abs(heights[:, 0])
        far = np.where(away**2 - height**2 < self.gap**2, height, away)
        found: Float = np.copysign(far, sign).astype(np.float32)
        return found


def _told(path: Path, even: Float, rng: np.random.Generator) -> tuple[Float, NDArray[np.bool_]]:
    """Points (E,3), those in the file's cube exchanged for some of the file's; and (E,) which are inside."""
    points, occupancies = arrays(path, points=(-1, 3), occupancies=(-1,))
    if len(occupancies) != len(points):  # eight in a byte
        occupancies = np.unpackbits(occupancies.astype(np.uint8))[: len(points)]
    if not 0 < len(points) == len(occupancies):
        raise BadShape(f"{path.name} does not say of each point whether it is inside")
    among = (np.abs(even) <= VOLUME).all(1)
    count = int(among.sum())
    rows = rng.choice(len(points), count, replace=count > len(points))
    even[among] = points[rows]
    is_inside = np.zeros(len(even), bool)
    is_inside[among] = occupancies[rows] >= 0.5
    return even, is_inside


def _pictures_on_white(
    folder: Path, surface: Array, count: int, rng: np.random.Generator
) -> tuple[list[Array], list[Bytes]]:
    """The rotations to some cameras, and pictures by them (h,w,4), cut out; some twice where these are few.

    surface: (S,3) points of it in the cameras' world. A picture in which what is not white lies elsewhere
    than these is left out: white objects have no outline there. BadShape where no picture is left.
    """
    cameras = folder / "cameras.npz"
    found: list[tuple[Array, Bytes]] = []
    paths = sorted(path for path in folder.glob("*.jpg") if path.stem.isdecimal())
    for at in rng.permutation(len(paths)):
        if len(found) == count:
            break
        k = int(paths[at].stem)
        world, camera = arrays(cameras, **{f"world_mat_{k}": (-1, 4), f"camera_mat_{k}": (3, 3)})
        projection = camera @ world[:3]
        rgba = cut_out(picture(paths[at])[..., :3])
        if _is_there(rgba[..., 3] > 0, projection, surface):
            found.append((rotation(projection, surface), rgba))
    if not found:
        raise BadShape(f"no picture in {folder.name} shows it, not white, where the camera has it")
    return tuple(list(each) for each in zip(*(found[k % len(found)] for k in range(count)), strict=True))  # type: ignore[return-value]


def cut_out(rgb: Bytes) -> Bytes:
    """(h,w,4) a picture (h,w,3) on white: what is not, without specks and with holes filled, is opaque."""
    seen: NDArray[np.bool_] = np.any(rgb < _WHITE, axis=2)
    pieces, count = label(seen, np.ones((3, 3)))
    if count:
        size = np.bincount(pieces.ravel())[1:]
        seen = np.isin(pieces, 1 + np.flatnonzero(size > _SPECK * size.max()))
    return np.dstack([rgb, 255 * binary_fill_holes(seen).astype(np.uint8)])


def rotation(projection: Array, surface: Array) -> Array:
    """(3,3) from the world to a camera's frame, x right, y up, z towards the viewer.

    Of its projection (3,4) to columns and rows of pixels, K [R|t], however K and R share signs: focal lengths
    are positive, and what is seen, `surface` (S,3), is in front. BadShape where it mirrors.
    """
    depth = float(projection[2] @ np.append(surface.mean(0), 1))
    upper, turn = rq(np.copysign(1, depth) * projection[:, :3])
    turn = turn * np.sign(np.diag(upper))[:, None]
    if not np.linalg.det(turn) > 0.5:
        raise BadShape("a camera mirrors what it sees, or is none")
    found: Array = turn * np.array([[1], [-1], [-1]])
    return found


def _is_there(mask: NDArray[np.bool_], projection: Array, surface: Array) -> bool:
    """Whether the box of a mask (h,w) is that of the points (S,3) seen by a camera (3,4)."""
    rows, columns = (np.flatnonzero(mask.any(axis)) for axis in (1, 0))
    if not len(rows):
        return False
    x, y, w = projection @ np.vstack([surface.T, np.ones(len(surface))])
    u, v = x / w, y / w
    box = np.array([columns[0], rows[0], columns[-1] + 1, rows[-1] + 1])
    wanted = np.array([u.min(), v.min(), u.max(), v.max()])
    return bool(np.abs(box - wanted).max() <= _ASTRAY * max(np.ptp(rows), np.ptp(columns)))
