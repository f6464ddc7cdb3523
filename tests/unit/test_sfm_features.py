"""Features, matches and global descriptors by networks: the real loading code, on weights made here whose
answers are known; and how the settings name them."""

import hashlib
import json
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from kornia.feature import ALIKED, LightGlue
from numpy.typing import NDArray
from onnx import TensorProto, helper

from contracts.events import DatasetUploaded
from contracts.fields import Sha256
from workers.geometry.errors import NumericError
from workers.networks import weights
from workers.prepare.sfm import learned
from workers.prepare.sfm.features import Features, sift
from workers.prepare.sfm.plugs import Plugs, plugged
from workers.prepare.worker import Prepare
from workers.runtime.settings import Settings, SettingsError

Grey = NDArray[np.uint8]
Put = Callable[[object], None]
ALIKED_FILE = weights.KNOWN["aliked"].file


@pytest.fixture(scope="module")
def picture() -> Grey:
    """(96,160)"""
    rng = np.random.default_rng(2)
    coarse = np.kron(rng.integers(0, 255, (12, 20)), np.ones((8, 8)))
    return (coarse * 0.8 + rng.integers(0, 50, coarse.shape)).astype(np.uint8)


@pytest.fixture
def put(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Put:
    """Saves something as ALIKED's weights, and has its digest be the one expected."""

    def save(something: object) -> None:
        torch.save(something, tmp_path / ALIKED_FILE)
        known = replace(weights.KNOWN["aliked"], digest=weights.digest_of(tmp_path / ALIKED_FILE, "sha256"))
        for module in ("networks.weights", "prepare.sfm.weights"):
            monkeypatch.setattr(f"workers.{module}.KNOWN", {**weights.KNOWN, "aliked": known})

    return save


def some_aliked(seed: int = 0) -> ALIKED:
    torch.manual_seed(seed)
    return ALIKED("aliked-n16rot", max_num_keypoints=2000, detection_threshold=0).eval()


def files(folder: Path, **more: str) -> dict[str, dict[str, str]]:
    named = {"aliked": ALIKED_FILE, **more}
    return {name: {file: weights.digest_of(folder / file, "sha256")} for name, file in named.items()}


def test_aliked_is_what_its_weights_make_it(picture: Grey, tmp_path: Path, put: Put) -> None:
    network = some_aliked()
    put(network.state_dict())
    plugs = plugged(files(tmp_path), tmp_path)
    found = plugs.find(picture, (480, 288))
    with torch.inference_mode():
        (expected,) = network(torch.from_numpy(picture)[None, None].float() / 255)
    assert plugs.upright
    assert len(found) > 50
    np.testing.assert_allclose(found.xy, 3 * (expected.keypoints.double() + 0.5), atol=1e-4)
    np.testing.assert_allclose(found.descriptors, expected.descriptors, atol=1e-5)
    np.testing.assert_allclose(np.linalg.norm(found.descriptors, axis=1), 1, atol=1e-5)
    assert found.size == (480, 288)
    assert not found.angles.any()


def test_aliked_finds_the_same_in_a_photo_that_is_moved(picture: Grey, tmp_path: Path, put: Put) -> None:
    """By as many pixels as the network's coarsest ones have: then even one that learnt nothing does."""
    put(some_aliked().state_dict())
    plugs = plugged(files(tmp_path), tmp_path)
    wide = np.pad(picture, 160, mode="wrap")
    one, other = (
        plugs.find(np.ascontiguousarray(wide[y : y + 256, x : x + 256]), (256, 256))
        for x, y in ((96, 64), (128, 96))
    )
    matches = plugs.match(one, other)
    apart = one.xy[matches[:, 0]] - other.xy[matches[:, 1]]
    assert len(matches) > 20
    np.testing.assert_allclose(np.median(apart, axis=0), [32, 32], atol=0.01)


class Planted:
    """What a hostile file of weights would hold."""

    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> tuple[object, ...]:
        return os.mkdir, (str(self.target),)


def test_code_among_weights_is_not_run(tmp_path: Path, put: Put) -> None:
    put({"block1.conv1.weight": Planted(tmp_path / "planted")})
    with pytest.raises(NumericError, match="cannot be used") as error:
        plugged(files(tmp_path), tmp_path)
    assert error.value.code == "weights_unusable"
    assert not (tmp_path / "planted").exists()


@pytest.mark.parametrize("lacking", ["score_head.6.weight", "block1.bn1.running_mean"])
def test_weights_that_lack_something_are_refused(tmp_path: Path, put: Put, lacking: str) -> None:
    tensors = dict(some_aliked().state_dict())
    del tensors[lacking]
    put(tensors)
    with pytest.raises(NumericError, match=f"1 tensors are missing, {lacking}") as error:
        plugged(files(tmp_path), tmp_path)
    assert error.value.code == "weights_unusable"


def test_missing_or_damaged_weights_say_what_to_do(tmp_path: Path, put: Put) -> None:
    put(some_aliked().state_dict())
    named = files(tmp_path)
    path = tmp_path / ALIKED_FILE
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(NumericError) as error:
        plugged(named, tmp_path)
    assert error.value.code == "weights_damaged"
    path.unlink()
    with pytest.raises(NumericError, match="phototwin weights fetch aliked") as error:
        plugged(named, tmp_path)
    assert error.value.code == "weights_missing"


def nearest_lightglue(sharp: float = 60.0) -> dict[str, torch.Tensor]:
    """A small LightGlue whose layers pass on what they get, and that believes in the nearest descriptors."""
    torch.manual_seed(0)
    network = LightGlue(None, input_dim=128, descriptor_dim=64, num_heads=1, n_layers=2)  # type: ignore[arg-type]
    tensors = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    for name, tensor in tensors.items():
        if ".ffn.3." in name:
            tensor.zero_()
        if name.endswith("matchability.bias"):
            tensor.fill_(10.0)
        if name.endswith("final_proj.weight"):
            tensor.copy_(sharp * torch.eye(64))
    return tensors


def shuffled(count: int) -> tuple[Features, Features, NDArray[np.int64]]:
    """Features, the same in another order, and that."""
    rng = np.random.default_rng(3)
    vectors = rng.standard_normal((count, 128)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    xy = rng.uniform(0, 1, (count, 2)) * (640, 480)
    order = rng.permutation(count)
    angles = np.zeros(count, np.float32)
    size = 640, 480
    return Features(xy, vectors, angles, size), Features(xy[order], vectors[order], angles, size), order


@pytest.mark.parametrize("published", [False, True])
def test_lightglue_matches_as_its_weights_say(tmp_path: Path, put: Put, published: bool) -> None:
    """Also by the names that its parts had when it was published."""
    put(some_aliked().state_dict())
    tensors = nearest_lightglue()
    if published:
        tensors = {
            f"{part[2]}.{part[1]}.{'.'.join(part[3:])}" if part[0] == "transformers" else name: tensor
            for name, tensor in tensors.items()
            if (part := name.split("."))
        }
        assert "self_attn.0.Wqkv.weight" in tensors
    torch.save(tensors, tmp_path / "lightglue.pth")
    plugs = plugged(files(tmp_path, lightglue="lightglue.pth"), tmp_path)
    one, other, order = shuffled(40)
    matches = plugs.match(one, other)
    assert matches.dtype == np.uint32
    assert sorted(map(tuple, matches.tolist())) == sorted((int(i), row) for row, i in enumerate(order))
    assert plugs.match(one, replace_rows(other, 0)).shape == (0, 2)


def replace_rows(features: Features, count: int) -> Features:
    return Features(features.xy[:count], features.descriptors[:count], features.angles[:count], features.size)


@pytest.mark.parametrize("spoilt", ["other network", "other features", "a layer"])
def test_weights_that_are_not_lightglues_are_refused(tmp_path: Path, spoilt: str) -> None:
    tensors = nearest_lightglue()
    if spoilt == "other network":
        tensors = dict(some_aliked().state_dict())
    elif spoilt == "other features":
        tensors["posenc.Wr.weight"] = torch.zeros(32, 4)
    else:
        del tensors["transformers.1.cross_attn.to_v.weight"]
    torch.save(tensors, tmp_path / "lightglue.pth")
    with pytest.raises(NumericError, match=r"lightglue\.pth") as error:
        learned.lightglue(tmp_path / "lightglue.pth")
    assert error.value.code == "weights_unusable"


def mean_colours(folder: Path, rows: int = 1) -> Sha256:
    """`places.onnx`: of an image, the means of its left and right halves; where `rows` is 2, many vectors."""
    nodes = [
        helper.make_node("AveragePool", ["x"], ["halves"], kernel_shape=[8, 4], strides=[8, 4]),
        helper.make_node("Flatten" if rows == 1 else "Identity", ["halves"], ["y"]),
    ]
    taken = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["any", 3, 8, 8])
    shape: list[str | int | None] = ["any", 6] if rows == 1 else ["any", 3, 1, 2]
    given = helper.make_tensor_value_info("y", TensorProto.FLOAT, shape)
    graph = helper.make_graph(nodes, "places", [taken], [given])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    onnx.save(model, folder / "places.onnx")
    (folder / "places.json").write_text(json.dumps({"mean": [0, 0, 0], "std": [1, 1, 1]}))
    return hashlib.sha256((folder / "places.onnx").read_bytes()).hexdigest()


def halves(left: int, right: int) -> Grey:
    return np.repeat(np.array([[left] * 16 + [right] * 16], np.uint8), 24, axis=0)


def test_a_network_describes_photos(tmp_path: Path) -> None:
    named = {"retrieval": weights.of_onnx(tmp_path, "places.onnx", mean_colours(tmp_path))}
    assert named["retrieval"].keys() == {"places.onnx"} | {"places.json"}
    plugs = plugged(named, tmp_path)
    found = plugs.describe([halves(30, 40), halves(200, 0), np.vstack([halves(60, 80)] * 2)], [])
    expected = np.repeat([[[3, 4], [5, 0], [3, 4]]], 3, axis=0).transpose(1, 0, 2).reshape(3, 6) / 5 / 3**0.5
    np.testing.assert_allclose(found, expected, atol=2e-3)
    assert (plugs.find, plugs.upright) == (sift, False)


def test_a_network_that_gives_no_vector_is_refused(tmp_path: Path) -> None:
    named = {"retrieval": weights.of_onnx(tmp_path, "places.onnx", mean_colours(tmp_path, rows=2))}
    with pytest.raises(NumericError, match=r"\(B,D\)") as error:
        plugged(named, tmp_path).describe([halves(30, 40)], [])
    assert error.value.code == "weights_unusable"


def event() -> DatasetUploaded:
    file = {"key": "captures/default/c/upload/a.jpg", "bytes": 1, "etag": "0"}
    return DatasetUploaded.model_validate({"capture_id": "c", "kind": "auto", "files": [file]})


def test_settings_decide_which_job_it_is(tmp_path: Path, put: Put) -> None:
    assert Prepare(Settings(weights=str(tmp_path))).parameters(event())["networks"] == {}
    assert not Prepare.networks(Settings())
    put(some_aliked().state_dict())
    digest = mean_colours(tmp_path)
    settings = Settings(
        weights=str(tmp_path), features="aliked", retrieval_model="places.onnx", retrieval_sha256=digest
    )
    assert Prepare.networks(settings)
    named = Prepare(settings).parameters(event())["networks"]
    assert named["aliked"] == files(tmp_path)["aliked"]
    assert named["retrieval"]["places.onnx"] == f"sha256:{digest}"
    assert json.loads(json.dumps(named)) == named
    assert plugged(named, tmp_path).upright


@pytest.mark.parametrize(
    ("settings", "why"),
    [
        ({"features": "aliked"}, "phototwin weights fetch aliked"),
        ({"lightglue_model": "l.pth"}, "PHOTOTWIN_LIGHTGLUE_SHA256 one is set"),
        ({"lightglue_model": "l.pth", "lightglue_sha256": "0" * 64}, "set PHOTOTWIN_FEATURES=aliked"),
        ({"retrieval_model": "r.onnx", "retrieval_sha256": "0" * 64}, "put r.onnx there"),
    ],
)
def test_a_worker_that_lacks_what_its_settings_name_does_not_start(
    tmp_path: Path, settings: dict[str, str], why: str
) -> None:
    with pytest.raises(SettingsError, match=why):
        Prepare(Settings.model_validate({"weights": str(tmp_path), **settings}))


def test_without_a_network_nothing_is_read(tmp_path: Path) -> None:
    assert plugged({}, tmp_path / "nowhere") == Plugs()
