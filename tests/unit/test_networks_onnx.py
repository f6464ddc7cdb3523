"""Networks in ONNX: the real runtimes, on networks made here whose masks are known to the pixel."""

import hashlib
import json
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from workers.geometry.errors import NumericError
from workers.networks import onnx as runtimes
from workers.networks.weights import of_onnx
from workers.segment.networks import onnx as networks
from workers.segment.networks import weights

SIDE = 64
Step = tuple[str, list[str], str]

BRIGHTNESS: Step = ("ReduceMean", ["x"], "mean")
OVER: Step = ("Sub", ["mean", "c0.5"], "over")
DISC: list[Step] = [BRIGHTNESS, OVER, ("Ceil", ["over"], "y")]
LOGITS: list[Step] = [BRIGHTNESS, OVER, ("Mul", ["over", "c9"], "y")]


def network(
    folder: Path, shape: list[int | str], steps: list[Step], *, channels: int = 1, **described: Any
) -> dict[str, str]:
    """`net.onnx` of operations (kind, inputs, output) on "x", where cNUMBER is a constant and names that
    begin with y are outputs."""
    along: dict[str, Any] = {"axes": [1]}
    constants = sorted({name for _, inputs, _ in steps for name in inputs if name.startswith("c")})
    nodes = [
        helper.make_node(kind, inputs, [output], **(along if kind == "ReduceMean" else {}))
        for kind, inputs, output in steps
    ]
    made = [shape[0], channels, *shape[2:]]
    graph = helper.make_graph(
        nodes,
        "net",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [
            helper.make_tensor_value_info(output, TensorProto.FLOAT, made)
            for _, _, output in steps
            if output.startswith("y")
        ],
        [numpy_helper.from_array(np.array(float(name[1:]), np.float32), name) for name in constants],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    onnx.save(model, folder / "net.onnx")
    (folder / "net.json").write_text(json.dumps({"mean": [0, 0, 0], "std": [1, 1, 1]} | described))
    return of_onnx(folder, "net.onnx", hashlib.sha256((folder / "net.onnx").read_bytes()).hexdigest())


def _segment(images: NDArray[np.uint8], folder: Path, files: dict[str, str]) -> NDArray[np.float32]:
    return networks.segment(images, folder, files, lambda _part, _what: None)


def _flat(*levels: int) -> NDArray[np.uint8]:
    return np.stack([np.full((SIDE, SIDE, 3), level, np.uint8) for level in levels])


@pytest.fixture
def photos() -> NDArray[np.uint8]:
    """(6,64,64,3): a bright disc on dark noise, of another place and size in each."""
    images = np.random.default_rng(4).integers(0, 60, (6, SIDE, SIDE, 3)).astype(np.uint8)
    for number, image in enumerate(images):
        cv2.circle(image, (20 + 4 * number, 40 - 3 * number), 8 + number, (200, 230, 255), -1)
    return images


@pytest.fixture(params=["openvino", "onnxruntime"])
def runtime(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each of the two, as if the other were not installed."""
    for module in (runtimes, weights):
        monkeypatch.setattr(
            module, "find_spec", lambda name: find_spec(name) if name == request.param else None
        )
    for name in {"openvino", "onnxruntime"} - {request.param}:
        monkeypatch.setitem(sys.modules, name, None)  # importing it fails


@pytest.mark.usefixtures("runtime")
@pytest.mark.parametrize("batch", ["any", 1, 4, 8])
def test_a_network_gives_its_mask_to_the_pixel(
    photos: NDArray[np.uint8], tmp_path: Path, batch: int | str
) -> None:
    files = network(tmp_path, [batch, 3, SIDE, SIDE], DISC)
    parts: list[float] = []
    masks = networks.segment(photos, tmp_path, files, lambda part, _: parts.append(part))
    assert masks.dtype == np.float32
    np.testing.assert_array_equal(masks, photos.min(axis=3) > 100)
    assert parts == sorted(parts)
    assert parts[-1] == 1


@pytest.mark.usefixtures("runtime")
def test_logits_of_all_images_are_squashed_alike(tmp_path: Path) -> None:
    masks = _segment(_flat(140, 250, 10), tmp_path, network(tmp_path, ["any", 3, SIDE, SIDE], LOGITS))
    logits = 9 * (np.array([140, 250, 10]) / 255 - 0.5)
    assert 0 < logits[0] < 1  # alone it could be taken for a probability
    np.testing.assert_allclose(masks[:, 5, 5], 1 / (1 + np.exp(-logits)), atol=1e-5)


@pytest.mark.usefixtures("runtime")
def test_probabilities_stay_as_they_are(tmp_path: Path) -> None:
    steps: list[Step] = [("ReduceMean", ["x"], "y")]
    masks = _segment(_flat(140, 250, 10), tmp_path, network(tmp_path, ["any", 3, SIDE, SIDE], steps))
    np.testing.assert_allclose(masks[:, 5, 5], np.array([140, 250, 10]) / 255, atol=1e-5)


@pytest.mark.usefixtures("runtime")
def test_what_lies_beside_a_network_says_size_colours_and_output(tmp_path: Path) -> None:
    steps: list[Step] = [BRIGHTNESS, ("Sub", ["mean", "mean"], "y0"), ("Mul", ["mean", "c0.5"], "y1")]
    described: dict[str, Any] = {"size": 32, "mean": [0.1, 0.2, 0.3], "std": [0.5, 0.5, 1.0], "output": 1}
    files = network(tmp_path, ["any", 3, "h", "w"], steps, **described)
    images = np.full((1, SIDE, SIDE, 3), (102, 153, 204), np.uint8)  # 0.4, 0.6, 0.8
    masks = _segment(images, tmp_path, files)
    assert masks.shape == (1, SIDE, SIDE)
    np.testing.assert_allclose(masks, ((0.3 + 0.4) / 0.5 + 0.5) / 3 / 2, atol=1e-5)


def test_a_mask_is_made_as_large_as_the_photo_and_stays_in_its_place(tmp_path: Path) -> None:
    photo = _flat(0)
    photo[:, 16:40, 8:60] = 255
    masks = _segment(photo, tmp_path, network(tmp_path, ["any", 3, 32, 32], DISC))
    np.testing.assert_array_equal(masks > 0.5, photo[..., 0] > 0)


def test_a_photo_made_smaller_is_averaged(tmp_path: Path) -> None:
    photo = _flat(0)
    photo[:, ::2, ::2] = photo[:, 1::2, 1::2] = 255
    steps: list[Step] = [("ReduceMean", ["x"], "y")]
    masks = _segment(photo, tmp_path, network(tmp_path, ["any", 3, 32, 32], steps))
    np.testing.assert_allclose(masks, 0.5, atol=0.003)


@pytest.mark.usefixtures("runtime")
@pytest.mark.parametrize(
    ("shape", "steps", "described", "why"),
    [
        (["any", 1, SIDE, SIDE], DISC, {}, r"\(B,3,h,w\)"),
        (["any", 3, "h", "w"], DISC, {}, "any size"),
        (
            ["any", 3, SIDE, SIDE],
            [("Sub", ["x", "c0.5"], "y")],
            {"channels": 3},
            r"\(1, 3, 64, 64\)",
        ),
        (["any", 3, SIDE, SIDE], [BRIGHTNESS, ("Log", ["mean"], "y")], {}, "finite"),
        (["any", 3, SIDE, SIDE], DISC, {"std": [1, 0, 1]}, "std"),
        (["any", 3, SIDE, SIDE], DISC, {"mean": "grey"}, "net.json"),
        (["any", 3, SIDE, SIDE], DISC, {"output": 7}, "net.onnx"),
    ],
)
def test_a_network_of_another_kind_is_refused(
    tmp_path: Path, shape: list[int | str], steps: list[Step], described: dict[str, Any], why: str
) -> None:
    files = network(tmp_path, shape, steps, **described)
    with pytest.raises(NumericError, match=why) as error:
        _segment(_flat(0), tmp_path, files)
    assert error.value.code == "weights_unusable"


@pytest.mark.usefixtures("runtime")
def test_a_file_that_is_no_network_is_refused(tmp_path: Path) -> None:
    (tmp_path / "net.onnx").write_bytes(b"not a network")
    digest = hashlib.sha256(b"not a network").hexdigest()
    with pytest.raises(NumericError, match=r"net\.onnx cannot be used") as error:
        _segment(_flat(0), tmp_path, of_onnx(tmp_path, "net.onnx", digest))
    assert error.value.code == "weights_unusable"


@pytest.mark.parametrize("file", ["net.onnx", "net.json"])
def test_a_network_that_has_changed_is_refused(tmp_path: Path, file: str) -> None:
    files = network(tmp_path, ["any", 3, SIDE, SIDE], DISC)
    (tmp_path / file).write_bytes((tmp_path / file).read_bytes()[:-1])
    with pytest.raises(NumericError) as error:
        _segment(_flat(0), tmp_path, files)
    assert error.value.code == "weights_damaged"
    assert error.value.params["expected"] == files[file]


def test_without_a_runtime_or_a_network_it_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(NumericError, match="no weights are named") as error:
        _segment(_flat(0), tmp_path, {})
    assert error.value.code == "segmenter_unavailable"
    monkeypatch.setattr(weights, "find_spec", lambda name: None)
    with pytest.raises(NumericError, match=r"pip install 'phototwin\[onnx\]'") as error:
        _segment(_flat(0), tmp_path, network(tmp_path, ["any", 3, SIDE, SIDE], DISC))
    assert error.value.code == "segmenter_unavailable"
