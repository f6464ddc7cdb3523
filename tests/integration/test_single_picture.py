"""One picture, through all stages."""

import json
from pathlib import Path

import numpy as np
import pytest
import trimesh
from PIL import Image
from typer.testing import CliRunner

from workers.cli import app
from workers.simulate.parts.part import part
from workers.simulate.parts.picture import pictures


@pytest.fixture(scope="module")
def photo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A pump before a plain wall, no mask, no pose."""
    rgba = pictures(part(4), 1, 0, 512)[0].rgba
    wall = np.random.default_rng(0).normal(200, 2, (768, 1024, 3)).clip(0, 255)
    alpha = rgba[..., 3:] / 255
    wall[128:640, 256:768] = alpha * rgba[..., :3] + (1 - alpha) * wall[128:640, 256:768]
    path = tmp_path_factory.mktemp("single") / "pump.png"
    Image.fromarray(wall.astype(np.uint8)).save(path)
    return path


def test_one_photo_gives_a_model_that_says_it_is_a_guess(photo: Path, tmp_path: Path) -> None:
    ran = CliRunner().invoke(
        app, ["run", str(photo), "--out", str(tmp_path / "twin"), "--profile", "preview"]
    )
    assert ran.exit_code == 0, ran.output
    result = json.loads((tmp_path / "twin" / "result.json").read_text())
    made = result["stages"]["reconstruct"]["metrics"]
    assert made["method"] == "single-view"
    assert made["training_silhouette_iou"] > 0.97
    assert any("generated from one photo, not measured" in warning for warning in result["warnings"])
    model = trimesh.load_scene(tmp_path / "twin" / "model.glb")
    mesh = next(iter(model.geometry.values()))
    assert len(mesh.faces) > 1000
    extent = model.extents
    assert extent.min() > 0.2 * extent.max()  # no paper-thin relief
    assert "generated from one photo, not measured" in (tmp_path / "twin" / "report.html").read_text()
    package = result["stages"]["package"]["metrics"]
    assert package["surface"] == {"measured": 0.0, "generated": 1.0}
    assert package["advice"].startswith("Take twenty photos")
    sheet = Image.open(tmp_path / "twin" / "poster.png")
    assert np.ptp(np.asarray(sheet.convert("L"))) > 50


def test_methods_that_need_several_photos_say_so(photo: Path, tmp_path: Path) -> None:
    asked = ["run", str(photo), "--out", str(tmp_path / "twin"), "--method", "surface", "--json"]
    ran = CliRunner().invoke(app, asked)
    assert ran.exit_code == 1
    assert json.loads(ran.stdout.splitlines()[-1])["error"]["code"] == "too_few_images"
