"""model.glb: valid by Khronos' judge, in its place in the world, its texture the right way up."""

import json
import subprocess
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import trimesh

from workers.geometry.cameras import Cameras, write_cameras
from workers.package import compute, glb

TEXTURE = 64
OFFSET = np.array([120.0, 3.0, -45.0])


def mesh_folder(folder: Path, scale: float = 0.3) -> Path:
    """A job's inputs: a cube whose six sides show the same picture, red in its lower left quarter."""
    (folder / "mesh").mkdir(parents=True)
    (folder / "dataset").mkdir()
    box = trimesh.creation.box()
    lines, texture = ["mtllib mesh.mtl", "usemtl material"], np.full((TEXTURE, TEXTURE, 3), 200, np.uint8)
    lines += [f"v {x} {y} {z}" for x, y, z in box.vertices * scale + OFFSET]
    corners = [(0.02, 0.02), (0.98, 0.02), (0.02, 0.98)]
    lines += [f"vt {u} {v}" for u, v in corners]
    lines += [f"vn {x} {y} {z}" for x, y, z in box.face_normals]
    for index, (a, b, c) in enumerate(box.faces + 1):
        lines.append(f"f {a}/1/{index + 1} {b}/2/{index + 1} {c}/3/{index + 1}")
    (folder / "mesh" / "mesh.obj").write_text("\n".join(lines) + "\n")
    (folder / "mesh" / "mesh.mtl").write_text("newmtl material\nmap_Kd texture_kd.png\n")
    texture[TEXTURE // 2 :, : TEXTURE // 2] = (0, 0, 255)  # BGR; rows go down, v goes up
    cv2.imwrite(str(folder / "mesh" / "texture_kd.png"), texture)
    cv2.imwrite(str(folder / "mesh" / "texture_ks.png"), np.full_like(texture, (0, 150, 255)))
    cv2.imwrite(str(folder / "mesh" / "texture_n.png"), np.full_like(texture, (255, 128, 128)))
    pose = np.eye(4)
    pose[:3, 3] = OFFSET + np.array([0, 0, 2.0])
    cameras = Cameras(("a.png",), np.array([[500.0, 500, 256, 256]]), 512, 512, pose[None])
    world = {"up": None, "scale": None, "to_normalised": np.eye(4)}
    write_cameras(
        folder / "dataset" / "cameras.json", cameras, ["a"], [[512, 512]], [[0, 0, 512, 512]], world
    )
    return folder


def package(tmp_path: Path, **parameters: Any) -> tuple[Path, dict[str, Any]]:
    out = tmp_path / "out"
    out.mkdir()
    given = {"up": None, "scale": None, **parameters}
    result = compute.run(mesh_folder(tmp_path / "in"), out, given, lambda *_: None)
    return out, result["metrics"]


def issues(path: Path) -> dict[str, Any]:
    ran = subprocess.run(
        ["node", "validate.mjs", path], cwd=Path(__file__).parents[1], capture_output=True, text=True
    )
    assert ran.returncode == 0, ran.stderr
    found: dict[str, Any] = json.loads(ran.stdout)
    return found


@pytest.mark.parametrize("placed", [{}, {"up": [0, 0, 1], "scale": 0.01}])
def test_khronos_validator_finds_no_fault(tmp_path: Path, placed: dict[str, Any]) -> None:
    out, _ = package(tmp_path, **placed)
    verdict = issues(out / "model.glb")
    assert (verdict["numErrors"], verdict["numWarnings"]) == (0, 0), verdict["messages"]


def test_the_validator_can_find_fault(tmp_path: Path) -> None:
    out, _ = package(tmp_path)
    body = (out / "model.glb").read_bytes()
    (out / "bad.glb").write_bytes(body.replace(b'"VEC3"', b'"VEC4"'))
    assert issues(out / "bad.glb")["numErrors"] > 0


def test_the_object_keeps_its_place_in_the_world(tmp_path: Path) -> None:
    out, metrics = package(tmp_path)
    scene = trimesh.load(out / "model.glb")
    np.testing.assert_allclose(scene.bounds.mean(axis=0), OFFSET, atol=1e-5)
    np.testing.assert_allclose(scene.extents, 0.3, atol=1e-5)
    assert (metrics["up"], metrics["scale"]) == ("unknown", "unknown")


def test_a_known_world_becomes_y_up_and_metres(tmp_path: Path) -> None:
    out, metrics = package(tmp_path, up=[0, 0, 1], scale=0.01)
    scene = trimesh.load(out / "model.glb")
    x, y, z = OFFSET
    np.testing.assert_allclose(scene.bounds.mean(axis=0), np.array([x, z, -y]) * 0.01, atol=1e-6)
    assert metrics["scale"] == 0.01


@pytest.mark.parametrize("up", [[0, 1, 0], [0, -1, 0], [1, 0, 0], [0.6, 0.48, 0.64]])
def test_up_is_turned_to_y_without_mirroring(up: list[float]) -> None:
    matrix = glb.y_up_metres((up[0], up[1], up[2]), 2.0)[:3, :3]
    np.testing.assert_allclose(matrix @ up, [0, 2, 0], atol=1e-12)
    assert np.linalg.det(matrix) == pytest.approx(8)


def test_a_known_texel_is_where_it_was_in_the_obj(tmp_path: Path) -> None:
    out, _ = package(tmp_path)
    for path in (tmp_path / "in" / "mesh" / "mesh.obj", out / "model.glb"):
        mesh: Any = trimesh.load(path, force="mesh")
        material = mesh.visual.material
        image = material.image if hasattr(material, "image") else material.baseColorTexture
        lower_left = mesh.visual.uv[np.abs(mesh.visual.uv - 0.02).max(axis=1) < 0.01][0]
        column, row = int(lower_left[0] * TEXTURE), int((1 - lower_left[1]) * TEXTURE)
        red, green, _ = image.convert("RGB").getpixel((column, row))
        assert red > 200 > 60 > green, path.name


def test_tangents_follow_u_and_the_bitangent_follows_the_pictures_up() -> None:
    positions = np.array([[0.0, 0, 0], [1, 0, 0], [0, 1, 0], [1, 1, 0]])
    normals = np.tile([0.0, 0, 1], (4, 1))
    uv = np.array([[0.0, 1], [1, 1], [0, 0], [1, 0]])  # v down: the picture stands upright in x, y
    faces = np.array([[0, 1, 2], [1, 3, 2]])
    np.testing.assert_allclose(glb.tangents(positions, normals, uv, faces), [[1, 0, 0, 1]] * 4)
    uv[:, 0] = 1 - uv[:, 0]  # mirrored: tangent turned, bitangent still up
    np.testing.assert_allclose(glb.tangents(positions, normals, uv, faces), [[-1, 0, 0, -1]] * 4)


def test_the_poster_shows_the_object_whole(tmp_path: Path) -> None:
    out, _ = package(tmp_path)
    poster = cv2.imread(str(out / "poster.png"))
    assert poster is not None
    assert poster.shape == (1024, 1024, 3)
    ground = np.abs(poster.astype(int) - poster[0, 0]).max(axis=2) < 8
    assert ground[0].all()
    assert ground[-1].all()
    assert ground[:, 0].all()
    assert ground[:, -1].all()
    rows, columns = np.nonzero(~ground)
    assert 0.8 < max(np.ptp(rows), np.ptp(columns)) / 1024 < 0.88
