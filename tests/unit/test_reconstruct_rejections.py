"""What cannot be reconstructed is rejected with a code of the table, and never delivered as a model."""

import ast
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from contracts import errors
from tests import captures
from tests.captures import Rig
from workers.geometry.errors import NumericError
from workers.prepare import compute as prepare
from workers.reconstruct import compute
from workers.segment import compute as segment

PARAMETERS = {"profile": "preview", "method": "auto", "seed": 0, "holdout": 0}
RIG = Rig()


def inputs(tmp_path: Path, spoil: Callable[[Path], None]) -> Path:
    """A reconstruct job's inputs, made by the stages before it from a spoilt capture."""
    capture = captures.write(tmp_path / "capture", RIG)
    spoil(capture)
    shutil.copytree(capture, tmp_path / "prepare" / "upload")
    folder = tmp_path / "reconstruct"
    for name in ("dataset", "masks"):
        (folder / name).mkdir(parents=True)
    said: dict[str, Any] = {"kind": "auto", "ignore_masks": False, "ignore_poses": False}
    prepare.run(tmp_path / "prepare", folder / "dataset", said, lambda *_: None)
    segment.run(folder, folder / "masks", {"threshold": 0.5}, lambda *_: None)
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
