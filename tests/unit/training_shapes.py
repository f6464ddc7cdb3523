"""A bracket of which all is known, in each layout that shapes of a user's own can have."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from manifold3d import Manifold
from numpy.typing import NDArray
from PIL import Image

from workers.geometry.cameras import Cameras
from workers.reconstruct.methods.single_view.network import PIXELS, REACH
from workers.render.depth import clip_positions
from workers.render.rasterizer import rasterize
from workers.training.examples import Example
from workers.training.shapes import Kept, scattered

Array = NDArray[np.float64]
Float = NDArray[np.float32]

KEPT = Kept(pictures=3, near=1500, even=1500)
SIDE = 137
# Two boxes, low and high corner, whose union no mirror and no turn takes to itself. Its longest side is 1 and
# its box lies around 0.
BRACKET = np.array([[[-16, -10, -6], [16, -4, 6]], [[-16, -10, -6], [-8, 10, 2]]]) / 32


def distance(points: NDArray[np.floating]) -> Array:
    """To the bracket: exact outside; inside of the right sign, and no farther than it is."""
    away = np.abs(points[:, None] - BRACKET.mean(1)) - np.ptp(BRACKET, axis=1) / 2
    found: Array = (np.linalg.norm(np.maximum(away, 0), axis=2) + np.minimum(away.max(2), 0)).min(1)
    return found


def bracket() -> tuple[Float, NDArray[np.int32]]:
    a, b = (Manifold.cube(high - low).translate(low) for low, high in BRACKET)
    mesh = (a + b).to_mesh()
    return np.asarray(mesh.vert_properties)[:, :3].copy(), np.asarray(mesh.tri_verts).astype(np.int32)


def camera(azimuth: float, elevation: float, roll: float = 0) -> Cameras:
    """Far away, as Blender has it: z is up, and an OBJ's (x,y,z) comes to lie at (x,-z,y)."""
    a, e, r = np.radians([azimuth, elevation, roll])
    back = np.array([np.cos(a) * np.cos(e), -np.sin(a) * np.cos(e), np.sin(e)])
    right = np.cross([0, 0, 1], back) / np.cos(e)
    up = np.cross(back, right)
    pose = np.eye(4)
    pose[:3, :3] = np.stack(
        [np.cos(r) * right + np.sin(r) * up, np.cos(r) * up - np.sin(r) * right, back], axis=1
    )
    pose[:3, 3] = 40 * back
    obj = np.array([[1, 0, 0, 0], [0, 0, 1, 0], [0, -1, 0, 0], [0, 0, 0, 1]])
    intrinsics = np.array([[40 * 100, 40 * 100, SIDE / 2 + 3, SIDE / 2 - 2]])
    return Cameras(("view",), intrinsics, SIDE, SIDE, (obj @ pose)[None])


def drawn(view: Cameras) -> NDArray[np.uint8]:
    """(SIDE,SIDE,4) the bracket, dark."""
    vertices, faces = bracket()
    seen = rasterize(clip_positions(vertices, view), faces, (SIDE, SIDE))[0][..., 3] > 0
    return np.dstack([np.full((SIDE, SIDE, 3), 90), 255 * seen]).astype(np.uint8)


def check_seen(found: Example, least: float) -> None:
    """Points inside are seen within the outline, and wherever there is outline some are."""
    points = np.concatenate([found.near, found.even])[
        np.concatenate([found.near_distances, found.even_distances]) < 0
    ]
    assert len(points) > 300
    for picture, frame in zip(found.pictures, found.frames, strict=True):
        moved = points @ frame[:3, :3].T + frame[:3, 3]
        column, row = ((moved[:, :2] * [1, -1] / REACH + 1) * PIXELS / 2).astype(int).T
        assert (picture[row, column, 3] > 0).mean() > least
        cells = np.zeros((16, 16), bool)
        cells[row // 8, column // 8] = True
        full = (picture[..., 3] > 127).reshape(16, 8, 16, 8).all((1, 3))
        assert cells[full].mean() > least
        assert np.linalg.det(frame[:3, :3]) > 0


def check_distances(found: Example, error: float) -> None:
    """All but a few: a cloud's normals do not tell the side of each point."""
    for points, distances in (
        (found.near, found.near_distances),
        (found.even, found.even_distances),
    ):
        true = distance(points)
        clear = np.abs(true) > error
        assert clear.mean() > 0.3
        assert ((distances < 0) == (true < 0))[clear].mean() > 0.995
        outside = clear & (true > 0)
        assert np.quantile(np.abs(distances - true)[outside], 0.99) < error
        assert (np.abs(distances) >= np.abs(true) - error).all()


def write_occnet(
    model: Path, views: Sequence[Cameras], packed: bool = True, pictures: Callable[..., Any] = drawn
) -> None:
    """The bracket in another place and size, as the frame of its cameras has it."""
    middle, scale = np.array([0.3, -0.2, 0.7]), 0.8
    rng = np.random.default_rng(0)
    vertices, faces = bracket()
    points = scattered(vertices, faces, 20_000, rng)
    away = (points[:, None] - BRACKET.mean(1)) / (np.ptp(BRACKET, axis=1) / 2)  # 1 on the sides of a box
    of = np.argmin(np.abs(np.abs(away).max(2) - 1), axis=1)
    side = away[np.arange(len(points)), of]
    normals = np.where(np.abs(side) > np.abs(side).max(1, keepdims=True) - 1e-6, np.sign(side), 0)
    folder = model / "img_choy2016"
    folder.mkdir(parents=True)
    common: dict[str, Any] = {"loc": middle, "scale": scale}
    half = np.float16
    np.savez(model / "pointcloud.npz", points=points.astype(half), normals=normals.astype(half), **common)
    some = rng.uniform(-0.55, 0.55, (4003, 3)).astype(half)
    inside = distance(some.astype(float)) < 0
    np.savez(
        model / "points.npz", points=some, occupancies=np.packbits(inside) if packed else inside, **common
    )
    cameras: dict[str, Any] = {}
    for k, view in enumerate(views):
        focal, _, x, y = view.intrinsics[0]
        matrix = np.diag([1, -1, -1]) @ view.w2c()[0, :3]
        matrix[:, 3] = scale * matrix[:, 3] - matrix[:, :3] @ middle
        cameras[f"world_mat_{k}"] = matrix
        cameras[f"camera_mat_{k}"] = np.array([[focal, 0, x], [0, focal, y], [0, 0, 1]])
        picture = pictures(view)
        shown = np.where(picture[..., 3:] > 0, picture[..., :3], 255).astype(np.uint8)
        Image.fromarray(shown).save(folder / f"{k:03}.jpg")
    np.savez(folder / "cameras.npz", **cameras)


def write_binvox(path: Path, voxels: NDArray[np.bool_]) -> None:
    """In the order of x, z, y; runs of 255 at most."""
    flat = voxels.transpose(0, 2, 1).ravel()
    starts = np.flatnonzero(np.r_[True, flat[1:] != flat[:-1]])
    runs = b""
    for start, end in zip(starts, [*starts[1:], len(flat)], strict=True):
        for at in range(start, end, 255):
            runs += bytes([int(flat[start]), min(255, end - at)])
    size = " ".join(map(str, voxels.shape))
    head = f"#binvox 1\ndim {size}\ntranslate -0.5 -0.5 -0.5\nscale 1\ndata\n"
    path.write_bytes(head.encode() + runs)


def bracket_voxels() -> NDArray[np.bool_]:
    """In the low corner of the grid."""
    places = (np.stack(np.meshgrid(*3 * [np.arange(32)], indexing="ij"), axis=-1) + 0.5) / 32
    found: NDArray[np.bool_] = distance((places + BRACKET.min((0, 1))).reshape(-1, 3)).reshape(32, 32, 32) < 0
    return found


def write_r2n2(data: Path, name: str, views: Sequence[tuple[float, float]]) -> Path:
    """The folder in ShapeNetRendering."""
    model = data / "ShapeNetRendering" / name
    (model / "rendering").mkdir(parents=True)
    voxels = data / "ShapeNetVox32" / name
    voxels.mkdir(parents=True)
    write_binvox(voxels / "model.binvox", bracket_voxels())
    for k, view in enumerate(views):
        Image.fromarray(drawn(camera(*view))).save(model / "rendering" / f"{k:02}.png")
    lines = [f"{azimuth} {elevation} 0 0.8 25" for azimuth, elevation in views]
    (model / "rendering" / "rendering_metadata.txt").write_text("\n".join(lines) + "\n")
    return model


VIEWS = [(35.0, 28.0), (160.0, 25.0), (290.0, 33.0)]
