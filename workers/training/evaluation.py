"""A network's meshes beside the true ones, and beside what needs no network."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from workers.evaluate.keyviews import key_view_similarity
from workers.evaluate.shapes import Surface, compare_shapes
from workers.reconstruct.methods.single_view.extraction import refined, seen, surface
from workers.reconstruct.methods.single_view.framing import Framing, framed, outside
from workers.reconstruct.methods.single_view.network import PIXELS, REACH, Network
from workers.simulate.parts.part import part
from workers.simulate.parts.picture import pictures
from workers.training.examples import Batch, Examples, in_picture
from workers.training.judging import Inflated, MeanShape
from workers.training.shapes import RENDERED

Float = NDArray[np.float32]
Image = NDArray[np.uint8]
Field = Callable[[Image], Callable[[Float], Float]]
"""Of a picture, as `framed` cuts it: what tells of points (P,3) whether they are inside, negative."""

CELLS = 128
_FRAMING = Framing(PIXELS / (2 * REACH), (PIXELS / 2, PIXELS / 2))  # of a picture that `framed` has cut
FIGURES = ("iou", "chamfer_l1", "edge_chamfer", "key_views")


class Task(NamedTuple):
    """A picture (S,S,4) and the surface, in the picture's frame, that it shows."""

    name: str
    picture: Image
    truth: Surface


def parts(seeds: Iterable[int]) -> Iterable[Task]:
    """Generated parts, one picture each."""
    for seed in seeds:
        made = part(seed)
        shown = pictures(made, 1, seed, RENDERED)[0]
        frame = in_picture(made.vertices, shown.rotation)
        truth = (made.vertices @ frame[:3, :3].T + frame[:3, 3], made.faces)
        yield Task(f"{made.kind} {seed}", framed(shown.rgba, PIXELS)[0], truth)


def rivals(network: Network, learned: Examples) -> dict[str, Field]:
    """The network, as the method asks it, and what it has to beat, fitted to the shapes `learned`."""

    def of_network(picture: Image) -> Callable[[Float], Float]:
        return seen(network, picture, outside(picture[..., 3] > 127, _FRAMING))

    def of(inside: Callable[[Batch], NDArray[np.bool_]]) -> Field:
        def field(picture: Image) -> Callable[[Float], Float]:
            def ask(points: Float) -> Float:
                none = np.zeros((1, len(points)), np.float32)
                batch = Batch(picture[None], points[None], none)
                return np.where(inside(batch)[0], np.float32(-1), np.float32(1))

            return ask

        return field

    return {
        "network": of_network,
        "mean shape": of(MeanShape.of(learned)),
        "inflated mask": of(Inflated.of(learned)),
    }


def compared(rival: Field, task: Task) -> dict[str, float | None]:
    """FIGURES of one mesh by marching cubes, CELLS on a side; none but an overlap of 0 where it is empty."""
    field = refined(rival(task.picture), CELLS).field
    if not (field < 0).any():
        return {**dict.fromkeys(FIGURES), "iou": 0.0}
    found = surface(field)
    return {**compare_shapes(found, task.truth), "key_views": key_view_similarity(found, task.truth)}


def means(rows: list[dict[str, float | None]]) -> dict[str, float | None]:
    """Of each figure, over the shapes that have it."""
    known = {name: [row[name] for row in rows if row[name] is not None] for name in FIGURES}
    return {name: float(np.mean(values)) if values else None for name, values in known.items()}  # type: ignore[arg-type]
