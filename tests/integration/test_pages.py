"""The viewer and the report in a real browser."""

import json
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from typer.testing import CliRunner

from tests.unit.package_inputs import package
from workers.cli import app
from workers.geometry.images import read_rgb

NODE = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out, _ = package(tmp_path_factory.mktemp("pages"), up=[0, 1, 0], scale=1.0)
    return out


def opened(page: Path, tmp_path: Path, *steps: str) -> tuple[dict[str, Any], list[NDArray[np.uint8]]]:
    """What the browser says, and its pictures, one at first and one after each step."""
    ran = subprocess.run(
        ["node", "browser.mjs", f"{page.as_uri()}?still", str(tmp_path / "shot.png"), *steps],
        cwd=NODE,
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert ran.returncode == 0, ran.stderr
    told = json.loads(ran.stdout)
    return told, [read_rgb(Path(picture)) for picture in told["taken"]]


def viewed(model: Path, tmp_path: Path) -> Path:
    page = tmp_path / "view.html"
    result = CliRunner().invoke(app, ["view", str(model), "--out", str(page), "--no-open"])
    assert (result.exit_code, result.stdout.strip()) == (0, str(page))
    return page


def object_in(picture: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Where the cube is red."""
    red, green, blue = picture.astype(int).transpose(2, 0, 1)
    return np.asarray((red - np.maximum(green, blue)) > 60)


def test_the_viewer_shows_the_model_and_can_be_steered(model: Path, tmp_path: Path) -> None:
    told, pictures = opened(
        viewed(model, tmp_path), tmp_path, "drag", "wheel", "key:ArrowLeft", "select:shown=2"
    )
    assert (told["state"], told["errors"], told["requests"]) == ("ready", [], [])
    assert "12 triangles, 30.0 x 30.0 x 30.0 cm" in told["text"]
    first, dragged, closer, turned, roughness = pictures
    assert 0.01 < object_in(first).mean() < 0.3
    for before, after in ((first, dragged), (closer, turned)):
        assert np.abs(before.astype(int) - after).mean() > 1
    assert object_in(closer).mean() > 1.2 * object_in(dragged).mean()
    assert object_in(roughness).sum() == 0
    middle = roughness[240, 240].astype(int)
    np.testing.assert_allclose(middle, 150, atol=3)  # as texture_ks.png says


def test_a_file_the_viewer_cannot_read_is_named(model: Path, tmp_path: Path) -> None:
    page = viewed(model / "model_web.glb", tmp_path)
    told, _ = opened(page, tmp_path)
    assert told["state"] == "failed"
    assert "needs EXT_meshopt_compression; open model.glb instead" in told["text"]


def test_fbx_without_blender_says_what_is_missing(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    result = CliRunner().invoke(app, ["fbx", str(model), "--out", str(tmp_path / "model.fbx")])
    assert result.exit_code == 1
    assert "apt-get install blender" in result.stderr


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [("nothing.glb", None, "there is no model"), ("text.glb", b"hello", "is no GLB file")],
)
def test_what_is_no_model_is_refused(tmp_path: Path, name: str, content: bytes | None, said: str) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content)
    result = CliRunner().invoke(app, ["view", str(tmp_path / name), "--no-open"])
    assert result.exit_code == 1
    assert said in result.stderr


def test_a_title_cannot_write_into_the_page(model: Path, tmp_path: Path) -> None:
    path = tmp_path / "<b>x.glb"
    path.write_bytes((model / "model.glb").read_bytes())
    assert "&lt;b&gt;x" in viewed(path, tmp_path).read_text()


def test_the_report_opens_without_a_word_of_complaint(model: Path, tmp_path: Path) -> None:
    told, (picture,) = opened(model / "report.html", tmp_path)
    assert (told["errors"], told["requests"], told["wide"]) == ([], [], 480)
    assert "What is weak" in told["text"]
    assert object_in(picture).any()
