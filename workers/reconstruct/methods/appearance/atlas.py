"""A texture atlas: the surface cut into charts and laid out in the unit square."""

from __future__ import annotations

import math
import pickle
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from subprocess import PIPE, Popen
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from workers.reconstruct.methods.appearance import charts
from workers.render.rasterizer import interpolate, rasterize

Float = NDArray[np.float32]
Index = NDArray[np.int32]
Charts = dict[str, NDArray[Any]]  # source, faces and uv of an `Atlas`

_SMALLEST = 256
_DENSITY = 1.1  # texels for a pixel of the photos, at least
_USED = 0.6  # of an atlas, by charts


@dataclass(frozen=True)
class Atlas:
    """source: (W,) the mesh's vertex each atlas vertex copies. faces: (F,3) of atlas vertices, in the mesh's
    order. uv: (W,2) in [0,1], v up. size: texels of the texture's sides. rast: (1,size,size,4) the charts
    rasterised, top row first.
    """

    source: Index
    faces: Index
    uv: Float
    size: int
    rast: Float

    def spread(self, attributes: Float) -> Float:
        """Vertex attributes (V,C) at the centres of the texels `on_chart` (M,C)."""
        values: Float = interpolate(attributes[self.source], self.rast, self.faces)[0][self.on_chart]
        return values

    @property
    def on_chart(self) -> NDArray[np.bool_]:
        """(size,size) which texels lie on a chart."""
        covered: NDArray[np.bool_] = self.rast[0, :, :, 3] > 0
        return covered

    @property
    def triangles(self) -> Index:
        """(M,) the face under each texel `on_chart`."""
        return self.rast[0, :, :, 3][self.on_chart].astype(np.int32) - 1

    def image(self, values: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """(size,size,C) from values (M,C) of the texels `on_chart`; the others repeat the nearest."""
        on_chart = self.on_chart
        sheet = np.zeros((*on_chart.shape, values.shape[1]), np.uint8)
        sheet[on_chart] = values
        return padded(sheet, on_chart)


@contextmanager
def unwrapping(
    vertices: Float, faces: Index, size: int, keep: Callable[[Charts], None] = lambda charts: None
) -> Iterator[Callable[[], Atlas]]:
    """Start to unwrap the mesh (V,3), (F,3) for a texture of size x size texels; gives what waits for the
    atlas and returns it. Whoever leaves before ends it.

    keep: called in a thread as soon as the charts are there, with what `laid_out` takes. Raises, once waited
    for, what xatlas or `keep` does.
    """
    program = [sys.executable, "-P", charts.__file__]
    with Popen(program, stdin=PIPE, stdout=PIPE) as process, ThreadPoolExecutor(1) as pool:
        answer = pool.submit(_answered, process, pickle.dumps((vertices, faces, size)), keep)

        def atlas() -> Atlas:
            found = answer.result()
            process.wait()  # so that what it cost counts from here on
            return laid_out(**found, size=size)

        try:
            yield atlas
        finally:
            process.kill()


def _answered(process: Popen[bytes], question: bytes, keep: Callable[[Charts], None]) -> Charts:
    assert process.stdin is not None
    assert process.stdout is not None
    with suppress(BrokenPipeError), process.stdin as stdin:
        stdin.write(question)
    answer = process.stdout.read()
    try:
        found: Charts | Exception = pickle.loads(answer)
    except (EOFError, pickle.UnpicklingError):
        raise RuntimeError(f"the process that unwraps ended with status {process.wait()}") from None
    if isinstance(found, Exception):
        raise found
    keep(found)
    return found


def unwrap(vertices: Float, faces: Index, size: int) -> Atlas:
    """Atlas of the mesh (V,3), (F,3) for a texture of size x size texels."""
    with unwrapping(vertices, faces, size) as atlas:
        return atlas()


def laid_out(source: Index, faces: Index, uv: Float, size: int) -> Atlas:
    """The atlas with these charts."""
    flat = np.zeros((1, len(uv), 4), np.float32)
    flat[0, :, :2] = 2 * uv - 1
    flat[0, :, 3] = 1
    return Atlas(source, faces, uv, size, rasterize(flat, faces, (size, size)))


def texture_size(vertices: Float, faces: Index, pixels: float, largest: int) -> int:
    """The power of two that holds enough texels for the pixels of the photos, at most `largest`.

    pixels: that one unit of length covers in a photo.
    """
    wanted = _DENSITY * pixels * math.sqrt(area(vertices, faces) / _USED)
    return min(largest, max(_SMALLEST, 1 << math.ceil(math.log2(wanted))))


def area(vertices: Float, faces: Index) -> float:
    """Of the surface (V,3), (F,3)."""
    a, b, c = vertices[faces].transpose(1, 0, 2)
    return float(np.linalg.norm(np.cross(b - a, c - a), axis=1).sum()) / 2


def padded(image: NDArray[np.uint8], known: NDArray[np.bool_]) -> NDArray[np.uint8]:
    """The image (h,w,C) with every pixel not `known` (h,w) set to the nearest known one's colour."""
    _, label = cv2.distanceTransformWithLabels(
        (~known).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_5, labelType=cv2.DIST_LABEL_PIXEL
    )
    colour = np.zeros((int(label.max()) + 1, image.shape[2]), np.uint8)
    colour[label[known]] = image[known]
    filled: NDArray[np.uint8] = colour[label]
    return filled
