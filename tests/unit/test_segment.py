"""The segment stage as a whole, on folders: sharpening, hints, what is left out and what is told of masks."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from contracts.events import Hint, Options
from tests.unit.test_multiview import SIZE, Capture, around, overlaps, photographed
from tests.unit.test_networks_onnx import DISC, network
from workers.geometry.cameras import write_cameras
from workers.geometry.errors import NumericError
from workers.geometry.images import read_grey, write_png
from workers.segment import compute
from workers.segment.hints import SURE, marked
from workers.segment.sharpen import sharpen

PARAMETERS: dict[str, Any] = {"threshold": 0.5, "segmenter": "auto", "weights": {}, "hints": []}
Mask = NDArray[np.uint8]


@pytest.fixture(scope="module")
def capture() -> Capture:
    return photographed(around())


def inputs(capture: Capture, folder: Path, alphas: list[Mask] | None = None) -> Path:
    (folder / "dataset" / "images").mkdir(parents=True)
    (folder / "dataset" / "alpha").mkdir()
    for name, image in zip(capture.cameras.names, capture.images, strict=True):
        write_png(folder / "dataset" / "images" / name, image)
    for name, alpha in zip(capture.cameras.names, alphas or (), strict=alphas is not None):
        write_png(folder / "dataset" / "alpha" / name, alpha)
    world = {"up": None, "scale": None, "to_normalised": np.eye(4).tolist()}
    sizes, crops = [[SIZE, SIZE]] * len(capture.images), [[0, 0, SIZE, SIZE]] * len(capture.images)
    sources = [f"images/{name}" for name in capture.cameras.names]
    write_cameras(folder / "dataset" / "cameras.json", capture.cameras, sources, sizes, crops, world)
    (folder / "masks").mkdir()
    return folder


def alphas(capture: Capture) -> list[Mask]:
    return [np.where(mask, 255, 0).astype(np.uint8) for mask in capture.masks]


def run(folder: Path, **changes: Any) -> dict[str, Any]:
    return compute.run(folder, folder / "masks", PARAMETERS | changes, lambda *_: None)


def written(folder: Path) -> dict[str, Mask]:
    return {path.stem: read_grey(path) for path in (folder / "masks").glob("*.png")}


def test_masks_that_came_along_are_used_and_judged(capture: Capture, tmp_path: Path) -> None:
    done = run(inputs(capture, tmp_path, alphas(capture)))
    assert done["metrics"]["segmenter"] == "uploaded"
    assert {mask["verdict"] for mask in done["metrics"]["masks"].values()} == {"good"}
    assert done["warnings"] == []
    for n, mask in written(tmp_path).items():
        np.testing.assert_array_equal(mask > 127, capture.masks[int(n)])


def test_a_small_hole_in_a_mask_that_was_sent_is_meant(capture: Capture, tmp_path: Path) -> None:
    sent = alphas(capture)
    middle = tuple(np.argwhere(sent[0] > 0).mean(0).astype(int))
    sent[0][middle] = 0
    run(inputs(capture, tmp_path, sent))
    assert written(tmp_path)["0"][middle] < 128


def test_a_bad_mask_is_left_out_and_said_so(capture: Capture, tmp_path: Path) -> None:
    spoilt = alphas(capture)
    spoilt[3] = np.roll(spoilt[3], 30, axis=1)
    done = run(inputs(capture, tmp_path, spoilt))
    assert "3" not in written(tmp_path)
    assert done["metrics"]["images"] == len(spoilt) - 1 == len(written(tmp_path))
    told = done["metrics"]["masks"]["3"]
    assert told["verdict"] == "bad"
    assert done["warnings"] == [f"The photo 3 was left out. {' '.join(told['reasons'])}"]


def test_where_most_masks_are_bad_the_capture_fails(capture: Capture, tmp_path: Path) -> None:
    spoilt = [np.zeros_like(mask) if n % 3 else mask for n, mask in enumerate(alphas(capture))]
    with pytest.raises(NumericError) as failed:
        run(inputs(capture, tmp_path, spoilt))
    assert failed.value.code == "masks_bad"
    assert failed.value.params["bad"] == 9


def test_without_masks_they_are_made(capture: Capture, tmp_path: Path) -> None:
    done = run(inputs(capture, tmp_path))
    assert done["metrics"]["segmenter"] == "multiview"
    found = np.stack([written(tmp_path)[str(n)] for n in range(len(capture.masks))])
    assert overlaps(found > 127, capture.masks).min() > 0.9
    assert (tmp_path / "masks" / "outlines.jpg").exists()


def test_one_picture_without_a_camera_gets_a_mask_and_a_confidence(capture: Capture, tmp_path: Path) -> None:
    (tmp_path / "dataset" / "images").mkdir(parents=True)
    (tmp_path / "masks").mkdir()
    write_png(tmp_path / "dataset" / "images" / "one.png", capture.images[0])
    done = run(tmp_path)
    assert done["metrics"]["segmenter"] == "single"
    assert 0 <= done["metrics"]["masks"]["one"]["confidence"] <= 1
    assert overlaps(written(tmp_path)["one"][None] > 127, capture.masks[:1])[0] > 0.8


def test_a_network_is_loaded_checked_and_run(tmp_path: Path) -> None:
    folder = tmp_path / "weights"
    folder.mkdir()
    files = network(folder, ["n", 3, 64, 64], DISC)
    (tmp_path / "dataset" / "images").mkdir(parents=True)
    (tmp_path / "masks").mkdir()
    image = np.full((64, 64, 3), 40, np.uint8)
    image[20:44, 16:40] = 220
    write_png(tmp_path / "dataset" / "images" / "one.png", image)
    done = run(tmp_path, segmenter="onnx", weights=files)
    assert done["metrics"]["segmenter"] == "onnx"
    np.testing.assert_array_equal(written(tmp_path)["one"] > 127, image[..., 0] > 127)
    (folder / "net.onnx").write_bytes(b"other")
    with pytest.raises(NumericError) as failed:
        run(tmp_path, segmenter="onnx", weights=files)
    assert failed.value.code == "weights_damaged"


NOISE: dict[str, Callable[[Capture, int], Any]] = {
    "a piece is missing": lambda c, n: (
        c.masks[n] & (np.arange(SIZE) > np.flatnonzero(c.masks[n].any(0))[0] + 12)
    ),
    "a block is added": lambda c, n: c.masks[n] | _block(n),
    "some show nothing": lambda c, n: c.masks[n] & bool(n % 4),
}


def _block(n: int) -> NDArray[np.bool_]:
    block = np.zeros((SIZE, SIZE), bool)
    block[20 + 3 * n : 50 + 3 * n, 10:40] = True
    return block


@pytest.mark.parametrize("noise", NOISE.values(), ids=NOISE.keys())
def test_what_a_network_got_wrong_is_made_consistent(
    noise: Callable[[Capture, int], Any], capture: Capture, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = np.stack([noise(capture, n) for n in range(len(capture.masks))])
    network = type("Network", (), {"segment": staticmethod(lambda *_: given.astype(np.float32))})
    monkeypatch.setitem(sys.modules, "workers.segment.networks.onnx", network)
    run(inputs(capture, tmp_path), segmenter="onnx")
    found = np.stack([written(tmp_path)[str(n)] for n in range(len(capture.masks))])
    assert overlaps(given, capture.masks).min() < 0.9
    assert overlaps(found > 127, capture.masks).min() > 0.92


def test_a_box_has_the_last_word(capture: Capture, tmp_path: Path) -> None:
    """Only what is within the box is left of the ball, in all photos, since it is one thing."""
    _, columns = np.nonzero(capture.masks[0])
    middle = (columns.min() + columns.max()) / 2 / SIZE
    box = {"image": "0.png", "box": [0.0, 0.0, middle, 1.0], "taps": []}
    run(inputs(capture, tmp_path), hints=[box])
    mask = written(tmp_path)["0"] > 127
    assert not mask[:, round(middle * SIZE) + 1 :].any()
    assert mask[:, : round(middle * SIZE)].sum() > 0.8 * capture.masks[0][:, : round(middle * SIZE)].sum()
    others = sum(written(tmp_path)[str(n)].sum() // 255 for n in range(1, len(capture.masks)))
    assert others < 0.9 * capture.masks[1:].sum()


def busy(count: int, side: int) -> NDArray[np.uint8]:
    """Pictures in which nothing is like what is beside it."""
    return np.random.default_rng(0).integers(0, 256, (count, side, side, 3), np.uint8)


def test_a_tap_speaks_for_what_is_like_it() -> None:
    image = {"source": "a.jpg", "crop": [0, 0, 200, 200], "source_size": [200, 200], "w": 200, "h": 200}
    picture = np.full((1, 200, 200, 3), 30, np.uint8)
    picture[:, 90:106, 90:106] = 200
    hint = {"image": "a.jpg", "box": None, "taps": [{"x": 0.48, "y": 0.48, "object": False}]}
    told = marked([hint], [image], picture)[0]
    assert (told[92:104, 92:104] == -SURE).all()
    assert not told[:88].any()


def test_hints_that_contradict_the_photos_are_told(capture: Capture, tmp_path: Path) -> None:
    corner = {"image": "0.png", "box": None, "taps": [{"x": 0.02, "y": 0.02, "object": True}]}
    done = run(inputs(capture, tmp_path), hints=[corner])
    assert done["warnings"] == ["What was marked in 0 could not all be followed: look at its outline."]


def test_a_box_that_misses_the_object_is_named(capture: Capture, tmp_path: Path) -> None:
    boxes = [{"image": name, "box": [0, 0, 0.1, 0.1], "taps": []} for name in capture.cameras.names]
    with pytest.raises(NumericError) as failed:
        run(inputs(capture, tmp_path), hints=boxes)
    assert failed.value.code == "hint_misses_object"


def test_hints_are_placed_in_the_crop() -> None:
    image = {"source": "a/b.jpg", "crop": [100, 50, 200, 200], "source_size": [400, 300], "w": 100, "h": 100}
    tap = {"x": 0.5, "y": 0.5, "object": True}
    told = marked([{"image": "b.jpg", "box": [0.3, 0.25, 0.7, 0.9], "taps": [tap]}], [image], busy(1, 100))[0]
    assert told[50, 50] == SURE  # photo 200, 150; crop 100, 100
    assert (told[:, :10] == -SURE).all()  # photo 120 is the crop's 20
    assert (told[13:40, 12:88] == 0).all()  # photo 75 is the crop's 25
    assert (told[:12] == -SURE).all()
    assert (told[:, 91:] == -SURE).all()


@pytest.mark.parametrize("name", ["c.jpg", "b.jpg", "a"])
def test_a_hint_for_no_photo_or_several_is_refused(name: str) -> None:
    images = [
        {"source": f"{folder}/b.jpg", "crop": [0, 0, 9, 9], "source_size": [9, 9], "w": 9, "h": 9}
        for folder in "ac"
    ]
    with pytest.raises(NumericError) as failed:
        marked([{"image": name, "box": None, "taps": []}], images, busy(2, 9))
    assert failed.value.code == "hint_unknown_image"
    assert marked([{"image": "c/b.jpg", "box": None, "taps": []}], images, busy(2, 9)).shape == (2, 9, 9)


@pytest.mark.parametrize(
    "hint",
    [
        {"image": "a.jpg", "box": [0.5, 0, 0.5, 1]},
        {"image": "a.jpg", "box": [0, 0, 1.5, 1]},
        {"image": "../a.jpg"},
        {"image": "a.jpg", "taps": [{"x": 0.5}]},
        {"image": "a.jpg", "taps": [{"x": float("nan"), "y": 0}]},
    ],
)
def test_hints_that_make_no_sense_break_the_contract(hint: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="validation error"):
        Options(hints=(Hint.model_validate(hint),))


def test_sharpening_keeps_a_soft_edge_and_the_side_of_each_pixel() -> None:
    rows, columns = np.mgrid[:80, :80]
    soft = np.clip(20.3 - np.hypot(rows - 40, columns - 40) + 0.5, 0, 1).astype(np.float32)
    sharp = sharpen(soft, 0.5)
    np.testing.assert_array_equal(sharp > 127, soft >= 0.5)
    between = (sharp > 0) & (sharp < 255)
    assert 60 < between.sum() < 250  # about the circle's length
    np.testing.assert_allclose(sharp[between] / 255, soft[between], atol=0.01)


def test_sharpening_leaves_no_ambiguous_region_speck_or_small_hole() -> None:
    soft = np.zeros((160, 160), np.float32)
    soft[40:120, 40:120] = 1
    soft[80:82, 80] = 0  # two pixels
    soft[50:70, 50:70] = 0  # a hole that is one
    soft[10:12, 10:12] = 1
    soft[40:120, 122:150] = 0.3
    sharp = sharpen(soft, 0.5)
    assert (sharp[80:82, 80] == 255).all()
    assert not sharp[51:69, 51:69].any()
    assert not sharp[:20].any()
    assert not sharp[40:120, 122:150].any()
    assert not sharpen(np.zeros((5, 5), np.float32), 0.5).any()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--set", "foo=1"], "there is no parameter 'foo'; there are threshold"),
        (["--set", "segmenter=auto"], "segmenter wants JSON, as in --set 'segmenter=\"auto\"'"),
        (["--set", 'segmenter="bogus"'], "there is no segmenter 'bogus' (segmenter_unavailable)"),
        ([], "there is no image in"),
    ],
)
def test_the_stage_on_folders_refuses_in_a_sentence(arguments: list[str], said: str, tmp_path: Path) -> None:
    if "bogus" in said:
        (tmp_path / "dataset" / "images").mkdir(parents=True)
        write_png(tmp_path / "dataset" / "images" / "one.png", np.zeros((64, 64, 3), np.uint8))
    command = [sys.executable, "-m", "workers.segment", "--in", str(tmp_path), "--out", str(tmp_path / "out")]
    done = subprocess.run([*command, *arguments], capture_output=True, text=True, check=False)
    assert done.returncode != 0
    assert said in done.stderr
    assert "Traceback" not in done.stderr
