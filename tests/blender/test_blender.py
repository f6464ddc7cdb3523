"""Blender opens what we hand out and shows what we show. In the long suite: `make long`."""

import asyncio
import json
import os
import re
import subprocess
import zipfile
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from typer.testing import CliRunner

from contracts.events import Options
from workers import local
from workers.cli import app
from workers.evaluate.images import on_black, psnr
from workers.geometry.cameras import Cameras
from workers.package.model import read_model
from workers.render.environment import from_equirectangular
from workers.render.lit import Lit
from workers.render.preview import unlit
from workers.runtime import logs
from workers.simulate.capture import simulate

pytestmark = pytest.mark.long
SIDE, FOCAL = 256, 1.6
LEAST = 30.0
"""dB, of the whole pictures."""
DIRECTIONS = ((0.5, 0.4, 0.8), (-0.9, 0.2, -0.3))
Image = NDArray[np.uint8]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model of a made-up object, with materials and light."""
    folder = tmp_path_factory.mktemp("blender")
    logs.configure("ERROR")
    simulate(folder, views=24)
    local.claim(folder / "out")
    asyncio.run(local.run(folder / "capture", folder / "out", Options(), lambda _: None))
    return folder / "out"


def pose(run: Path, direction: tuple[float, float, float]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """(4,4) a camera in the capture's world that holds the object, and (4,4) to a frame about the object."""
    vertices = read_model(run).vertices
    low, high = vertices.min(axis=0), vertices.max(axis=0)
    size, middle = float(np.linalg.norm(high - low)), (low + high) / 2
    back = np.array(direction) / np.linalg.norm(direction)
    right = np.cross([0, 1, 0], back) / np.linalg.norm(np.cross([0, 1, 0], back))
    c2w, near = np.eye(4), np.eye(4)
    c2w[:3] = np.column_stack([right, np.cross(back, right), back, middle + back * 1.9 * size])
    near[:3] = np.column_stack([np.eye(3), -middle]) / size
    return c2w, near


def in_blender(
    tmp_path: Path, model: Path, light: Path | None, c2w: NDArray[np.float64], samples: int
) -> Image:
    """(h,w,4) sRGB and alpha."""
    job = {"model": str(model), "light": light and str(light), "camera": c2w.tolist(), "focal": FOCAL}
    job |= {"side": SIDE, "samples": samples, "out": str(tmp_path / "blender.png")}
    (tmp_path / "job.json").write_text(json.dumps(job))
    script = Path(__file__).with_name("render.py")
    options = ["--background", "--factory-startup", "--python-exit-code", "1", "--python", str(script)]
    ran = subprocess.run(
        ["blender", *options, "--", str(tmp_path / "job.json")],
        env={"HOME": os.environ["HOME"], "PATH": "/usr/bin:/bin"},  # its own Python, not ours
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert ran.returncode == 0, ran.stdout[-2000:] + ran.stderr[-2000:]
    picture: Any = cv2.imread(str(tmp_path / "blender.png"), cv2.IMREAD_UNCHANGED)
    return np.concatenate([picture[..., 2::-1], picture[..., 3:]], axis=2)


def ours(run: Path, light: Path | None, c2w: NDArray[np.float64], near: NDArray[np.float64]) -> Image:
    mesh = read_model(run).placed(near).single
    intrinsics = np.array([[FOCAL * SIDE, FOCAL * SIDE, SIDE / 2, SIDE / 2]])
    camera = Cameras(("blender",), intrinsics, SIDE, SIDE, c2w[None]).transformed(near)
    if light is None:
        return unlit(mesh, camera)
    around: Any = cv2.imread(str(light), cv2.IMREAD_UNCHANGED)
    return Lit(mesh, from_equirectangular(around[..., ::-1].astype(np.float32), 32))(camera)


def likeness(a: Image, b: Image) -> float:
    return psnr((on_black(a[..., :3], a[..., 3]) - on_black(b[..., :3], b[..., 3])) ** 2)


@pytest.mark.parametrize("direction", DIRECTIONS)
@pytest.mark.parametrize("name", ["model.glb", "model_8k.glb", "model_ar.glb"])
def test_a_glb_looks_as_it_does_here(
    run: Path, tmp_path: Path, name: str, direction: tuple[float, float, float]
) -> None:
    c2w, near = pose(run, direction)
    light = run / "light.hdr"
    moved = c2w.copy()
    if name == "model_ar.glb":  # it stands on its base
        vertices = read_model(run).vertices
        low, high = vertices.min(axis=0), vertices.max(axis=0)
        moved[:3, 3] -= [(low[0] + high[0]) / 2, low[1], (low[2] + high[2]) / 2]
    found = likeness(in_blender(tmp_path, run / name, light, moved, 64), ours(run, light, c2w, near))
    print(f"{name} {found:.1f} dB")
    assert found > LEAST


@pytest.mark.parametrize("direction", DIRECTIONS)
def test_the_obj_set_shows_its_base_colour(
    run: Path, tmp_path: Path, direction: tuple[float, float, float]
) -> None:
    with zipfile.ZipFile(run / "model_obj.zip") as archive:
        archive.extractall(tmp_path / "obj")
    c2w, near = pose(run, direction)
    found = likeness(
        in_blender(tmp_path, tmp_path / "obj" / "mesh.obj", None, c2w, 16), ours(run, None, c2w, near)
    )
    print(f"mesh.obj {found:.1f} dB")
    assert found > LEAST


def test_fbx_has_the_same_triangles_and_its_texture(run: Path, tmp_path: Path) -> None:
    out = tmp_path / "model.fbx"
    result = CliRunner().invoke(app, ["fbx", str(run), "--out", str(out)])
    assert (result.exit_code, result.stdout.strip()) == (0, str(out)), result.stderr
    told = subprocess.run(["assimp", "info", out], capture_output=True, text=True, check=True).stdout
    counts = dict(re.findall(r"^(\w+):\s+(\d+)", told, re.MULTILINE))
    assert int(counts["Faces"]) == len(read_model(run).faces)
    assert int(counts["Materials"]) == 1
    assert out.stat().st_size > 1_000_000


def test_a_wrong_light_is_noticed(run: Path, tmp_path: Path) -> None:
    c2w, near = pose(run, DIRECTIONS[0])
    light = run / "light.hdr"
    true = likeness(in_blender(tmp_path, run / "model.glb", light, c2w, 64), ours(run, light, c2w, near))
    wrong = tmp_path / "light.hdr"
    picture: Any = cv2.imread(str(light), cv2.IMREAD_UNCHANGED)
    cv2.imwrite(str(wrong), np.roll(picture, picture.shape[1] // 2, axis=1))
    assert (
        likeness(in_blender(tmp_path, run / "model.glb", wrong, c2w, 64), ours(run, light, c2w, near))
        < true - 3
    )
