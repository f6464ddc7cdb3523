"""Shapes made into what the network learns from, and kept on disk."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import active_children, get_context
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from workers.geometry.distance import signed_distance
from workers.reconstruct.methods.single_view.framing import framed
from workers.reconstruct.methods.single_view.network import PIXELS
from workers.simulate.parts.part import part
from workers.simulate.parts.picture import pictures
from workers.training.examples import Example, Examples, in_picture

HELD_OUT = 1_000_000_000
"""Seeds from here on are never trained on."""

RENDERED = 160  # pixels of the sides of a rendered picture, before it is cut to the object
SHARD = 64  # shapes in a file
_SPREADS = (0.01, 0.04)  # standard deviations of points about the surface, of the shape's longest side
_AROUND = 0.8  # half the side of the cube in which points are drawn evenly

Float = NDArray[np.float32]


class Kept(NamedTuple):
    """How much of each shape is kept: pictures, points near its surface, and points anywhere."""

    pictures: int = 4
    near: int = 8192
    even: int = 2048


def generated(seed: int, kept: Kept) -> Example:
    """The part of that seed (see `workers.simulate.parts`)."""
    made = part(seed)
    shown = pictures(made, kept.pictures, seed, RENDERED)
    return example(
        made.vertices,
        made.faces,
        [each.rgba for each in shown],
        [each.rotation for each in shown],
        kept,
        np.random.default_rng(seed),
    )


def example(
    vertices: Float, faces: NDArray[np.int32], shown: Sequence[NDArray[np.uint8]],
    turned: Sequence[NDArray[np.float64]], kept: Kept, rng: np.random.Generator,
) -> Example:  # fmt: skip
    """Of a closed mesh (V,3), (F,3), pictures (h,w,4) of it, and the rotations (3,3) to their cameras."""
    near, even = about(scattered(vertices, faces, kept.near, rng), kept, rng)
    distances = signed_distance(np.concatenate([near, even]), vertices, faces)
    return Example(
        pictures=np.stack([framed(each, PIXELS)[0] for each in shown]),
        frames=np.stack([in_picture(vertices, rotation) for rotation in turned]),
        near=near,
        near_distances=distances[: kept.near],
        even=even,
        even_distances=distances[kept.near :],
    )


def about(on: NDArray[np.floating], kept: Kept, rng: np.random.Generator) -> tuple[Float, Float]:
    """Points near the surface, one about each that lies on it (`kept.near`,3), and anywhere."""
    spread = np.where(np.arange(kept.near) % 2 == 0, *_SPREADS)[:, None]
    near = (on + spread * rng.standard_normal(on.shape)).astype(np.float32)
    return near, rng.uniform(-_AROUND, _AROUND, (kept.even, 3)).astype(np.float32)


def scattered(
    vertices: Float, faces: NDArray[np.int32], count: int, rng: np.random.Generator
) -> NDArray[np.float64]:
    """(count,3) points drawn evenly over a surface (V,3), (F,3)."""
    corner = vertices[faces].astype(np.float64)
    area = np.linalg.norm(np.cross(corner[:, 1] - corner[:, 0], corner[:, 2] - corner[:, 0]), axis=1)
    a, b, c = corner[rng.choice(len(faces), count, p=area / area.sum())].transpose(1, 0, 2)
    root, share = np.sqrt(rng.random((count, 1))), rng.random((count, 1))
    points: NDArray[np.float64] = (1 - root) * a + root * (1 - share) * b + root * share * c
    return points


def generate(folder: Path, seeds: range, kept: Kept, tell: Callable[[float], None]) -> Examples:
    """The parts of those seeds, from the folder, where those that are not there yet are made first, by as
    many processes as there are cores.
    """
    folder.mkdir(parents=True, exist_ok=True)
    shards = [seeds[start : start + SHARD] for start in range(0, len(seeds), SHARD)]
    name = "parts-{}-{}-{}-{}-{}.npz"
    paths = [folder / name.format(shard.start, len(shard), *kept) for shard in shards]
    missing = [(path, shard) for path, shard in zip(paths, shards, strict=True) if not path.exists()]
    in_processes(_write, [(path, shard, kept) for path, shard in missing], tell)
    return Examples.load(paths)


def in_processes(work: Callable[..., None], jobs: Sequence[Any], tell: Callable[[float], None]) -> None:
    """Call `work` with the arguments of each of the jobs, in as many processes as there are cores. When it is
    interrupted, or one fails, all are stopped where they are.
    """
    others = active_children()
    with ProcessPoolExecutor(os.cpu_count(), get_context("spawn"), initializer=_alone) as pool:
        try:
            # They inherit what is blocked: an interrupt from the keyboard is for this process alone.
            before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
            try:
                running = [pool.submit(work, *job) for job in jobs]
            finally:
                signal.pthread_sigmask(signal.SIG_SETMASK, before)
            for done, job in enumerate(running):
                job.result()
                tell((done + 1) / len(running))
        except BaseException:
            for child in set(active_children()) - set(others):
                child.terminate()  # the pool gives up what waits
            raise


def _alone() -> None:
    """One thread for each process."""
    import numba

    numba.set_num_threads(1)


def _write(path: Path, seeds: Iterable[int], kept: Kept) -> None:
    aside = path.with_name(f".{path.name}")
    Examples([generated(seed, kept) for seed in seeds]).save(aside)
    aside.replace(path)
