"""model.glb: valid by Khronos' judge, in its place in the world, its texture the right way up."""

import json
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import trimesh

from tests.unit.package_inputs import OFFSET, TEXTURE, package
from workers.package import glb


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
