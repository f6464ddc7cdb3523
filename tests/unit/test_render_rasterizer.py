"""The rasteriser against rays, closed forms and its own invariants."""

from __future__ import annotations

import numpy as np
import pytest
import trimesh

from workers.geometry.cameras import Cameras
from workers.geometry.mesh import icosphere, vertex_normals
from workers.reconstruct.methods.model import TexturedMesh
from workers.render.depth import clip_positions, depth_maps
from workers.render.preview import shade, unlit
from workers.render.rasterizer import interpolate, rasterize, texture


def _camera(distance: float = 3.0, size: int = 96) -> Cameras:
    c2w = np.eye(4)
    c2w[2, 3] = distance
    return Cameras(("a",), np.array([[size, 1.1 * size, size / 2 + 3, size / 2 - 2]]), size, size, c2w[None])


def test_it_sees_what_rays_see() -> None:
    vertices, faces = icosphere(3)
    vertices = np.concatenate([vertices, vertices * 0.4 + [0.3, 0.2, 1.2]]).astype(np.float32)
    faces = np.concatenate([faces, faces + len(vertices) // 2])
    camera = _camera()
    rast = rasterize(clip_positions(vertices, camera), faces, (96, 96))[0]
    y, x = np.mgrid[:96, :96] + 0.5
    fx, fy, cx, cy = camera.intrinsics[0]
    rays = np.stack([(x - cx) / fx, -(y - cy) / fy, -np.ones_like(x)], axis=-1).reshape(-1, 3)
    mesh = trimesh.Trimesh(vertices, faces, process=False)
    index = mesh.ray.intersects_first(np.tile(camera.centres, (len(rays), 1)), rays).reshape(96, 96)
    assert np.mean(rast[..., 3].astype(int) - 1 == index) > 0.999


def test_barycentrics_are_perspective_correct() -> None:
    vertices, faces = icosphere(4)
    camera = _camera()
    rast = rasterize(clip_positions(vertices, camera), faces, (96, 96))
    seen = rast[0, ..., 3] > 0
    points = interpolate(vertices, rast, faces)[0][seen]
    pixels = np.concatenate([points, np.ones((len(points), 1))], axis=1) @ camera.projection()[0].T
    y, x = np.nonzero(seen)
    assert pixels[:, 0] / pixels[:, 2] == pytest.approx(x + 0.5, abs=1e-3)
    assert pixels[:, 1] / pixels[:, 2] == pytest.approx(y + 0.5, abs=1e-3)


def test_row_0_is_the_top() -> None:
    corners = np.array(
        [[-1, 0, 0, 1], [1, 0, 0, 1], [0, 1, 0, 1]], np.float32
    )  # the upper half of clip space
    rast = rasterize(corners[None], np.array([[0, 1, 2]], np.int32), (8, 8))[0]
    assert rast[:4, :, 3].any()
    assert not rast[4:, :, 3].any()


def test_two_triangles_of_a_square_leave_no_gap() -> None:
    square = np.array(
        [[-0.7, -0.6, 0, 1], [0.8, -0.5, 0, 1], [0.6, 0.9, 0, 1], [-0.8, 0.7, 0, 1]], np.float32
    )
    faces = np.array([[0, 1, 2], [0, 2, 3]], np.int32)
    whole = rasterize(square[None], faces, (200, 200))[0, ..., 3] > 0
    assert np.array_equal(whole, np.logical_or.reduce([
        rasterize(square[None], faces[i : i + 1], (200, 200))[0, ..., 3] > 0 for i in range(2)
    ]))  # fmt: skip
    rows = [np.flatnonzero(row) for row in whole if row.any()]
    assert all(len(row) == row[-1] - row[0] + 1 for row in rows)


def test_a_floor_passing_under_the_camera_is_seen_up_to_the_horizon() -> None:
    # Clip w is the depth. The floor y = -1 runs from 10 in front of the camera to 10 behind it.
    floor = np.array([[-50, -1, 10], [50, -1, 10], [50, -1, -10], [-50, -1, -10]], np.float32)
    clip = np.stack([floor[:, 0], floor[:, 1], floor[:, 2] * 0, floor[:, 2]], axis=1).astype(np.float32)
    rast = rasterize(clip[None], np.array([[0, 1, 2], [0, 2, 3]], np.int32), (100, 20))[0]
    y = 1 - (np.arange(100) + 0.5) / 50
    assert np.array_equal((rast[..., 3] > 0).all(axis=1), y < -0.1)
    assert not (rast[y > -0.1, :, 3] > 0).any()


def test_depth_of_a_sphere_front_and_back() -> None:
    vertices, faces = icosphere(5)
    camera = _camera()
    row, column = int(camera.intrinsics[0, 3]), int(camera.intrinsics[0, 2])
    assert depth_maps(vertices, faces, camera)[0, row, column] == pytest.approx(2, abs=2e-3)
    assert depth_maps(vertices, faces, camera, farthest=True)[0, row, column] == pytest.approx(4, abs=2e-3)


def test_texture_has_v_up_and_hits_texel_centres() -> None:
    tex = np.arange(12, dtype=np.float32).reshape(3, 4, 1)
    uv = np.array([[0.5 / 4, 2.5 / 3], [3.5 / 4, 0.5 / 3], [0.25, 2.5 / 3], [0, 0]], np.float32)
    assert texture(tex, uv)[:, 0] == pytest.approx([0, 11, 0.5, 8], abs=1e-5)


def test_pictures_show_colour_and_coverage() -> None:
    vertices, faces = icosphere(4)
    kd = np.full((8, 8, 3), (200, 100, 50), np.uint8)
    uv = np.full((len(vertices), 2), 0.5, np.float32)
    mesh = TexturedMesh(vertices, faces, vertex_normals(vertices, faces), uv, kd, kd, kd)
    camera = _camera()
    picture = unlit(mesh, camera)
    assert picture[48, 48].tolist() == [200, 100, 50, 255]
    assert picture[0, 0, 3] == 0
    assert picture[..., 3].sum() / 255 == pytest.approx(np.pi * 96 * 1.1 * 96 / 8, rel=0.03)
    lit = shade(mesh, camera)
    assert abs(int(lit[46, 51, 0]) - 200) <= 2
    assert lit[0, 0].tolist() == [209] * 3
