"""What cannot be reconstructed is rejected with a code of the table, and never delivered as a model."""

import ast
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import trimesh
from PIL import Image

from contracts import errors
from tests import captures
from tests.captures import Rig
from workers.geometry.errors import NumericError
from workers.prepare import compute as prepare
from workers.reconstruct import compute
from workers.reconstruct.memory import available, needed

PARAMETERS = {"profile": "preview", "method": "auto", "seed": 0, "holdout": 0}
RIG = Rig()


def inputs(tmp_path: Path, spoil: Callable[[Path], None]) -> Path:
    """A reconstruct job's inputs from a spoilt capture: its masks as they are, as after a person's review."""
    capture = captures.write(tmp_path / "capture", RIG)
    spoil(capture)
    shutil.copytree(capture, tmp_path / "prepare" / "upload")
    folder = tmp_path / "reconstruct"
    (folder / "dataset").mkdir(parents=True)
    said = prepare.DEFAULTS
    prepare.run(tmp_path / "prepare", folder / "dataset", said, lambda *_: None)
    shutil.copytree(folder / "dataset" / "alpha", folder / "masks")
    return folder


def change_masks(change: Callable[[int, np.ndarray], np.ndarray]) -> Callable[[Path], None]:
    def spoil(capture: Path) -> None:
        for index, path in enumerate(sorted((capture / "masks").iterdir())):
            changed = change(index, np.asarray(Image.open(path)))
            Image.fromarray(changed.astype(np.uint8)).save(path)

    return spoil


def a_strip_here_and_there(index: int, mask: np.ndarray) -> np.ndarray:
    strip = np.zeros_like(mask)
    strip[:, : 12 if index % 2 else None] = 0
    strip[: 10 if index % 2 else None, -10:] = 255
    return strip


SPOILT = {
    "strips": change_masks(a_strip_here_and_there),
    "far apart": change_masks(lambda i, m: np.roll(m, ((i % 2) * 60 - 30, (i % 3) * 60 - 60), (0, 1))),
}


@pytest.mark.parametrize("spoil", SPOILT.values(), ids=SPOILT.keys())
def test_masks_of_no_object(spoil: Callable[[Path], None], tmp_path: Path) -> None:
    with pytest.raises(NumericError) as caught:
        compute.run(inputs(tmp_path, spoil), tmp_path / "out", PARAMETERS, lambda *_: None)
    assert caught.value.code == "masks_inconsistent"


def test_a_method_that_is_not_installed(tmp_path: Path) -> None:
    with pytest.raises(NumericError) as caught:
        compute.run(tmp_path, tmp_path / "out", PARAMETERS | {"method": "magic"}, lambda *_: None)
    error = errors.from_code(caught.value.code, str(caught.value), **caught.value.params)
    assert isinstance(error, errors.MethodUnavailable)
    assert "magic" in error.sentence
    assert "surface" in error.action


def test_every_code_of_the_numeric_code_is_in_the_table() -> None:
    found = {
        node.args[0].value
        for path in (Path(__file__).parents[2] / "workers").rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Name)
        and node.func.id == "NumericError"
        and isinstance(node.args[0], ast.Constant)
    }
    assert "masks_inconsistent" in found
    assert found <= set(errors.table())


def test_what_does_not_fit_into_memory_is_told_before_it_starts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = inputs(tmp_path, lambda capture: None)
    monkeypatch.setattr("workers.reconstruct.memory.available", lambda: 100e6)
    with pytest.raises(NumericError) as caught:
        compute.run(folder, tmp_path / "out", PARAMETERS, lambda *_: None)
    assert caught.value.code == "too_much_memory"
    error = errors.from_code(caught.value.code, str(caught.value), **caught.value.params)
    assert "100 MB" in error.sentence


def test_more_photos_need_more_memory_and_sixty_at_most_three_gigabytes() -> None:
    assert needed(60 * 512 * 512, "standard") <= 3e9
    for profile in ("preview", "standard", "high"):
        assert 1e8 < needed(20 * 512 * 512, profile) < needed(60 * 512 * 512, profile)


def test_memory_that_is_free_is_counted() -> None:
    assert 50e6 < available() < 1e15


def test_sketches_come_by_on_the_way(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("workers.reconstruct.previews._PAUSE", 0)
    folder, scratch = inputs(tmp_path, lambda capture: None), tmp_path / "scratch"
    for name in ("previews", "checkpoints"):
        (scratch / name).mkdir(parents=True)
    heard: list[dict[str, Any]] = []
    compute.run(folder, tmp_path / "out", PARAMETERS, lambda _, info: heard.append(info), scratch)
    names = [info["preview"] for info in heard if "preview" in info]
    assert len(names) >= 2
    assert not any("sketch" in info for info in heard)
    for name in names:
        picture = np.asarray(Image.open(scratch / "previews" / f"{name}.png"))
        assert picture.shape[1] == 2 * picture.shape[0]
        half = picture.shape[0]
        assert picture[:, half:].max() > 40
        loaded: Any = trimesh.load(scratch / "previews" / f"{name}.glb", force="mesh")
        assert len(loaded.faces) > 500
        assert np.ptp(loaded.visual.vertex_colors[:, :3].astype(int), axis=0).max() > 30
