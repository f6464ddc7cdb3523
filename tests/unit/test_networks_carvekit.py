"""CarveKit's networks: the real loading code, on weights made here whose masks are known."""

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import cv2
import numba
import numpy as np
import pytest
import torch
from carvekit.ml.arch.fba_matting.models import FBA
from carvekit.ml.arch.tracerb7.efficientnet import EfficientEncoderB7
from carvekit.ml.arch.tracerb7.tracer import TracerDecoder
from carvekit.ml.arch.u2net.u2net import U2NETArchitecture
from numpy.typing import NDArray

from workers.geometry.errors import NumericError
from workers.networks import weights as files
from workers.segment.networks import carvekit, weights

SIDE = 64
Tensors = dict[str, torch.Tensor]
Put = Callable[[str, object], None]


@pytest.fixture
def photos() -> NDArray[np.uint8]:
    """(3,64,64,3): a bright disc on dark noise, of another place and size in each."""
    images = np.random.default_rng(4).integers(0, 40, (3, SIDE, SIDE, 3)).astype(np.uint8)
    for number, image in enumerate(images):
        cv2.circle(image, (24 + 6 * number, 40 - 6 * number), 9 + number, (255, 255, 255), -1)
    return images


@pytest.fixture
def put(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Put]:
    """Saves something as the weights of a name, and has its digest be the one expected."""
    known = dict(files.KNOWN)
    for module in (files, weights, carvekit):
        monkeypatch.setattr(module, "KNOWN", known)
    monkeypatch.setattr(carvekit, "_SIDES", {"tracer_b7": SIDE, "u2net": SIDE})

    def save(name: str, something: object) -> None:
        path = tmp_path / known[name].file
        torch.save(something, path)
        digest = f"sha512:{hashlib.sha512(path.read_bytes()).hexdigest()}"
        known[name] = replace(known[name], digest=digest)

    yield save
    for path in tmp_path.glob("*.pth"):  # up to a quarter of a gigabyte, which pytest would keep
        path.unlink()


def _blank(network: torch.nn.Module) -> Tensors:
    """Weights that make nothing of anything; small on disk, since each tensor is one number repeated."""
    return {
        name: torch.full((), float(name.endswith("running_var")), dtype=tensor.dtype).expand(tensor.shape)
        for name, tensor in network.state_dict().items()
    }


def _set(tensors: Tensors, name: str, at: tuple[int, ...], value: float) -> None:
    tensors[name] = tensors[name].clone()
    tensors[name][at] = value


def _brightness() -> Tensors:
    """U²-Net weights that hand the red channel from the first layer to the last."""
    tensors = _blank(U2NETArchitecture())
    for stage, channel in (("stage1", 0), ("stage1d", 64)):  # of the decoder's input, 64 come from below
        _set(tensors, f"{stage}.rebnconvin.conv_s1.weight", (0, channel, 1, 1), 1.0)
        _set(tensors, f"{stage}.rebnconvin.bn_s1.weight", (0,), 1.0)
    _set(tensors, "side1.weight", (0, 0, 1, 1), 1.0)
    _set(tensors, "outconv.weight", (0, 0, 0, 0), 1.0)
    return tensors


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """On small images threads wait for each other more than they compute."""
    before = numba.get_num_threads()
    numba.set_num_threads(1)
    yield
    numba.set_num_threads(before)


def _segment(photos: NDArray[np.uint8], folder: Path) -> NDArray[np.float32]:
    return carvekit.segment(photos, folder, weights.of_carvekit(folder), lambda _part, _what: None)


def test_u2net_gives_its_mask(photos: NDArray[np.uint8], tmp_path: Path, put: Put) -> None:
    put("u2net", _brightness())
    files = weights.of_carvekit(tmp_path)
    parts: list[float] = []
    masks = carvekit.segment(photos, tmp_path, files, lambda part, _: parts.append(part))
    assert masks.dtype == np.float32
    assert (masks.min(), masks.max()) == (0.0, 1.0)
    np.testing.assert_array_equal(masks > 0.5, photos[..., 0] > 100)
    np.testing.assert_allclose(parts, [1 / 3, 2 / 3, 1])


def test_matting_draws_the_edge_of_what_was_found(
    photos: NDArray[np.uint8], tmp_path: Path, put: Put
) -> None:
    put("u2net", _brightness())
    tensors = _blank(FBA(encoder="resnet50_GN_WS"))
    _set(tensors, "decoder.conv_up4.4.bias", (0,), 1.0)
    put("fba_matting", tensors)
    masks = _segment(photos, tmp_path)
    unsure = np.ones((61, 61), np.uint8)  # CarveKit looks for an edge within 30 pixels
    around = np.stack([cv2.dilate(mask, unsure) for mask in (photos[..., 0] > 100).astype(np.uint8)])
    np.testing.assert_allclose(masks, around, atol=1e-3)
    assert (around == 0).any()


def test_tracer_is_fed_with_each_photo_as_it_was_taught(
    photos: NDArray[np.uint8], tmp_path: Path, put: Put
) -> None:
    torch.manual_seed(5)
    network = TracerDecoder(encoder=EfficientEncoderB7()).eval()
    with torch.no_grad():
        network.ObjectAttention1.conv1.conv.weight *= 1e5  # untaught it tells hardly one pixel from another
    put("tracer_b7", network.state_dict() | {"edge_detector.weight": torch.zeros(1)})
    masks = _segment(photos, tmp_path)
    fed = (photos / 255 - (0.485, 0.456, 0.406)) / (0.229, 0.224, 0.225)
    with torch.inference_mode():
        expected = network(torch.from_numpy(fed).float().permute(0, 3, 1, 2))[:, 0].numpy()
    assert expected.std(axis=(1, 2)).min() > 0.01
    np.testing.assert_allclose(masks, expected, atol=1e-4)


def test_weights_are_chosen_by_what_lies_in_the_folder(tmp_path: Path) -> None:
    def chosen() -> list[str]:
        return list(weights.of_carvekit(tmp_path))

    assert chosen() == ["tracer_b7.pth"]
    (tmp_path / "u2net.pth").touch()
    assert chosen() == ["u2net.pth"]
    (tmp_path / "fba_matting.pth").touch()
    assert chosen() == ["u2net.pth", "fba_matting.pth"]
    (tmp_path / "tracer_b7.pth").touch()
    assert chosen() == ["tracer_b7.pth", "fba_matting.pth"]


class Code:
    """What a hostile file of weights would hold."""

    def __init__(self, witness: Path) -> None:
        self.witness = witness

    def __reduce__(self) -> tuple[object, ...]:
        return Path.touch, (self.witness,)


def test_code_among_weights_is_not_run(photos: NDArray[np.uint8], tmp_path: Path, put: Put) -> None:
    put("u2net", {"stage1.rebnconvin.conv_s1.weight": Code(tmp_path / "witness")})
    with pytest.raises(NumericError, match=r"u2net\.pth cannot be used") as error:
        _segment(photos, tmp_path)
    assert error.value.code == "weights_unusable"
    assert not (tmp_path / "witness").exists()


def test_weights_of_another_network_are_refused(photos: NDArray[np.uint8], tmp_path: Path, put: Put) -> None:
    tensors = _brightness()
    del tensors["side3.weight"]
    put("u2net", tensors)
    with pytest.raises(NumericError, match=r"side3\.weight") as error:
        _segment(photos, tmp_path)
    assert error.value.code == "weights_unusable"
    put("u2net", tensors | {"side3.weight": torch.zeros(1, 1, 3, 3)})
    with pytest.raises(NumericError, match=r"side3\.weight") as error:
        _segment(photos, tmp_path)
    assert error.value.code == "weights_unusable"


def test_weights_that_are_cut_short_are_refused_and_kept(
    photos: NDArray[np.uint8], tmp_path: Path, put: Put
) -> None:
    put("u2net", _brightness())
    path = tmp_path / "u2net.pth"
    path.write_bytes(path.read_bytes()[:-1])
    left = path.read_bytes()
    with pytest.raises(NumericError, match="damaged") as error:
        _segment(photos, tmp_path)
    assert error.value.code == "weights_damaged"
    assert path.read_bytes() == left


def test_missing_weights_or_package_say_what_to_do(
    photos: NDArray[np.uint8], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(NumericError, match="run `phototwin weights fetch tracer_b7`") as error:
        _segment(photos, tmp_path)
    assert error.value.code == "weights_missing"
    monkeypatch.setattr(weights, "find_spec", lambda name: None)
    with pytest.raises(NumericError, match=r"pip install 'phototwin\[carvekit\]'") as error:
        _segment(photos, tmp_path)
    assert error.value.code == "segmenter_unavailable"
