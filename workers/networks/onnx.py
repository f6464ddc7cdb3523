"""Any network in ONNX that looks at images, by OpenVINO where that is installed, else by onnxruntime.

It takes (B,3,h,w) float32. Beside `NAME.onnx` a `NAME.json` may say what the file itself does not:

    {"size": [h, w] or one number, "mean": [r, g, b], "std": [r, g, b], "output": index}

`size` is needed where the network takes any. The others default to ImageNet's and 0.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Protocol

import cv2
import numba
import numpy as np
from numpy.typing import NDArray

from workers.geometry.errors import NumericError
from workers.networks.weights import unusable

Images = NDArray[np.uint8]
Batch = NDArray[np.float32]
Shape = list[int | None]

_AT_ONCE = 420_000  # pixels, where the network takes as many images as one likes: 2 GB of memory for U²-Net
_LARGEST = 4096  # pixels of a side


def answers(images: Sequence[Images], paths: Iterable[Path], report: Callable[[float], None]) -> Batch:
    """What a network, of which `paths` are the files, says of each image (h,w,3): (N,...). report: called
    with the part done.

    Raises NumericError "weights_unusable".
    """
    files = {path.suffix: path for path in paths}
    path = files[".onnx"]
    recipe = _Recipe.read(files.get(".json"))
    with _readable(path):
        network = _runtime()(path, recipe.output)
    at_once, height, width = _shape(network.shape, len(images), recipe, path)
    with _readable(path):
        compute = network.prepared((at_once, 3, height, width))
    found = []
    for start in range(0, len(images), at_once):
        some = images[start : start + at_once]
        x = np.zeros((at_once, 3, height, width), np.float32)
        x[: len(some)] = [recipe.fed(image, (width, height)) for image in some]
        with _readable(path):
            y = compute(x)
        if y.ndim < 2 or len(y) != at_once or not np.isfinite(y).all():
            raise unusable(path, f"its output has the shape {y.shape} for {at_once} images, or is not finite")
        found.append(y[: len(some)].astype(np.float32))
        report((start + len(some)) / len(images))
    return np.concatenate(found)


def _shape(shape: Shape, images: int, recipe: _Recipe, path: Path) -> tuple[int, int, int]:
    """How many images at once, and their height and width, for a network that takes `shape`, where None is
    whatever one likes."""
    if len(shape) != 4 or shape[1] not in (3, None):
        raise unusable(path, f"its input has the shape {shape}, and (B,3,h,w) was expected")
    batch, _, height, width = shape
    wanted = recipe.size or (None, None)
    if (side := (height or wanted[0])) is None or (across := (width or wanted[1])) is None:
        described = path.with_suffix(".json").name
        raise unusable(
            path, f'it takes images of any size; say which in {described}, as {{"size": [320, 320]}}'
        )
    return batch or min(images, max(1, _AT_ONCE // (side * across))), side, across


def resized(values: NDArray[Any], size: tuple[int, int]) -> NDArray[Any]:
    """(h,w) or (h,w,3) to `size`, (w,h); what gets smaller is averaged."""
    shrinks = size[0] < values.shape[1]
    return cv2.resize(values, size, interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR)


@dataclass(frozen=True)
class _Recipe:
    """How to feed a network and which of its outputs to read."""

    size: tuple[int, int] | None
    mean: NDArray[np.float32]
    spread: NDArray[np.float32]
    output: int

    @staticmethod
    def read(path: Path | None) -> _Recipe:
        given: Any = {}
        try:
            given = {} if path is None else json.loads(path.read_text())
            size = given.get("size")
            size = (size, size) if isinstance(size, int) else size
            recipe = _Recipe(
                None if size is None else (int(size[0]), int(size[1])),
                np.array(given.get("mean", (0.485, 0.456, 0.406)), np.float32).reshape(3),
                np.array(given.get("std", (0.229, 0.224, 0.225)), np.float32).reshape(3),
                int(given.get("output", 0)),
            )
        except (ValueError, TypeError, LookupError, AttributeError) as error:
            raise unusable(path or Path(), error) from None
        if min(recipe.size or (1, 1)) < 1 or max(recipe.size or (1, 1)) > _LARGEST or not recipe.spread.all():
            raise unusable(path or Path(), "a size outside of 1 to 4096, or a std of 0")
        return recipe

    def fed(self, image: Images, size: tuple[int, int]) -> NDArray[np.float32]:
        """(h,w,3) -> (3,h,w) of `size`, (w,h)."""
        small = resized(image, size).astype(np.float32) / 255
        return ((small - self.mean) / self.spread).transpose(2, 0, 1).astype(np.float32)


class _Network(Protocol):
    shape: Shape
    """Of the input, with None for what is free."""

    def prepared(self, shape: tuple[int, int, int, int]) -> Callable[[Batch], NDArray[Any]]:
        """The function from an input of this shape to the output."""


def _runtime() -> Callable[[Path, int], _Network]:
    """For a model's file and the index of its output."""
    return _OpenVINO if find_spec("openvino") else _OnnxRuntime


@contextmanager
def _readable(path: Path) -> Iterator[None]:
    try:
        yield
    except NumericError:
        raise
    except Exception as error:  # each runtime has its own ways to say that it cannot do with a file
        raise unusable(path, error) from None


class _OpenVINO:
    def __init__(self, path: Path, output: int) -> None:
        import openvino
        from openvino.frontend import FrontEndManager

        self._core = openvino.Core()
        # Told which format it is: else all are tried on what is not ONNX, some of which start processes.
        reader = FrontEndManager().load_by_framework("onnx")
        self._model, self._output = reader.convert(reader.load(path)), output
        (only,) = self._model.inputs
        self._model.output(output)
        if only.element_type != openvino.Type.f32:
            raise TypeError(f"its input is {only.element_type}, not float32")
        self.shape: Shape = [None if each.is_dynamic else each.get_length() for each in only.partial_shape]

    def prepared(self, shape: tuple[int, int, int, int]) -> Callable[[Batch], NDArray[Any]]:
        self._model.reshape(list(shape))
        # Full precision: processors that know shorter numbers would otherwise give other masks.
        how = {"INFERENCE_NUM_THREADS": numba.get_num_threads(), "INFERENCE_PRECISION_HINT": "f32"}
        compiled = self._core.compile_model(self._model, "CPU", how)
        return lambda x: np.array(compiled(x)[self._output])


class _OnnxRuntime:
    def __init__(self, path: Path, output: int) -> None:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = numba.get_num_threads()
        options.log_severity_level = 3
        self._session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        (self._input,) = self._session.get_inputs()
        self._output = self._session.get_outputs()[output].name
        if self._input.type != "tensor(float)":
            raise TypeError(f"its input is {self._input.type}, not float32")
        self.shape: Shape = [each if isinstance(each, int) else None for each in self._input.shape]

    def prepared(self, shape: tuple[int, int, int, int]) -> Callable[[Batch], NDArray[Any]]:
        return lambda x: np.asarray(self._session.run([self._output], {self._input.name: x})[0])
