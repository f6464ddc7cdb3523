"""Shapes of a user's own: a folder of meshes, or ShapeNet as others laid it out."""

from __future__ import annotations

import json
import warnings
import zlib
from collections.abc import Callable, Iterable
from hashlib import sha256
from pathlib import Path
from typing import NamedTuple

import numpy as np

from workers.training import occnet as of_occnet
from workers.training import r2n2 as of_r2n2
from workers.training.examples import Example, Examples
from workers.training.r2n2 import RENDERING, VOXELS
from workers.training.shapes import SHARD, Kept, in_processes
from workers.training.solids import SUFFIXES, from_mesh

LEFT_OUT = "left-out.txt"
"""In the folder of what is kept: a line for each shape that could not be used, with the reason."""
KNOWN = (
    f"a folder of closed meshes ({', '.join(SUFFIXES)}), ShapeNet as Occupancy Networks lay it out "
    "(CATEGORY/MODEL/points.npz, pointcloud.npz, img_choy2016), or as 3D-R2N2 do "
    f"({RENDERING} beside {VOXELS})"
)
"""The layouts there are."""

_TENTH = 10  # where no list says what is held out, it is one shape of so many


class NoShapes(ValueError):
    """There is nothing to learn from; its text, a plain sentence, says why."""


class Shape(NamedTuple):
    """name: its path below the data. path: what its reader wants. stamp: sizes of its files and when they
    were written, to see that it has changed.
    """

    name: str
    path: Path
    stamp: tuple[tuple[int, int], ...]


class Layout(NamedTuple):
    """Shapes in the order of their names: to learn from, and held out. kind: of `_READERS`."""

    kind: str
    learned: list[Shape]
    held_out: list[Shape]


_READERS: dict[str, Callable[[Path, Kept, np.random.Generator], Example]] = {
    "mesh": from_mesh,
    "occnet": of_occnet.from_occnet,
    "r2n2": of_r2n2.from_r2n2,
}


def loaded(data: Path, folder: Path, kept: Kept, tell: Callable[[float], None]) -> tuple[Examples, Examples]:
    """The shapes in `data` to learn from, and those held out.

    From `folder`, where those that are not there yet, or have changed, are made first, by as many processes
    as there are cores. Shapes that cannot be used are left out: a warning counts them, and `LEFT_OUT` in the
    folder names each. Pictures and points are drawn by the shape's name: always the same.

    NoShapes where the layout is not known, or no shape is left to learn from or to hold out. ValueError where
    a file in `folder` is damaged.
    """
    layout = recognised(data)
    folder.mkdir(parents=True, exist_ok=True)
    learned, held_out = (_shards(data, layout.kind, part, folder, kept) for part in layout[1:])
    shards = {**learned, **held_out}
    missing = [(path, layout.kind, part, kept) for path, part in shards.items() if not _done(path)]
    in_processes(_write, missing, tell)
    _report(folder / LEFT_OUT, shards)
    return _usable(data, learned, "learn from"), _usable(data, held_out, "hold out")


def recognised(data: Path) -> Layout:
    """What is in a folder. NoShapes where it is none of `KNOWN`."""
    if not data.is_dir():
        raise NoShapes(f"there is no folder {data}")
    if (data / RENDERING).is_dir() or (data / VOXELS).is_dir():
        layout = r2n2(data)
    elif next(data.glob("*/*/points.npz"), None):
        layout = occnet(data)
    else:
        layout = meshes(data)
    if not layout.learned and not layout.held_out:
        raise NoShapes(f"{data} holds no shapes in a layout that is known: {KNOWN}")
    return layout


def meshes(folder: Path) -> Layout:
    """All meshes below a folder, but for what is hidden, each a shape."""
    paths = (path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES and path.is_file())
    found = [_shape(folder, path, [path]) for path in paths]
    return Layout("mesh", *_tenth([each for each in found if "/." not in f"/{each.name}"]))


def occnet(folder: Path) -> Layout:
    """ShapeNet as Occupancy Networks lay it out."""
    return Layout("occnet", *_by_lists(folder, of_occnet.files))


def r2n2(folder: Path) -> Layout:
    """ShapeNet as 3D-R2N2 lay it out. NoShapes where either half is missing."""
    for half in (RENDERING, VOXELS):
        if not (folder / half).is_dir():
            raise NoShapes(f"{folder} has no {half}; 3D-R2N2 has {RENDERING} beside {VOXELS}")
    return Layout("r2n2", *_by_lists(folder / RENDERING, of_r2n2.files))


def _by_lists(root: Path, files: Callable[[Path], list[Path]]) -> tuple[list[Shape], list[Shape]]:
    """Models by the lists in each CATEGORY: those of train.lst are learned from, those of val.lst held out,
    or, without one, of test.lst; neither is learned from. Where there is neither, a tenth is held out.
    """
    learned: list[Shape] = []
    held_out: list[Shape] = []
    rest: list[Shape] = []
    for category in sorted(path for path in root.iterdir() if path.is_dir()):
        lists = {name: _lines(category / f"{name}.lst") for name in ("train", "val", "test")}
        tests = lists["val"] + lists["test"]
        there = {path.name for path in category.iterdir() if path.is_dir()}
        learned_from = lists["train"] or sorted(there - set(tests))
        shapes = {
            name: _shape(root, category / name, files(category / name)) for name in learned_from + tests
        }
        (learned if tests else rest).extend(shapes[name] for name in learned_from)
        held_out += [shapes[name] for name in lists["val"] or lists["test"]]
    more, others = _tenth(rest)
    return learned + more, held_out + others


def _tenth(shapes: list[Shape]) -> tuple[list[Shape], list[Shape]]:
    """All but the first of each ten, and these."""
    shapes = sorted(shapes)
    return [each for i, each in enumerate(shapes) if i % _TENTH], shapes[::_TENTH]


def _shape(root: Path, path: Path, files: list[Path]) -> Shape:
    stats = [file.stat() for file in files if file.exists()]
    stamp = tuple((stat.st_size, stat.st_mtime_ns) for stat in stats)
    return Shape(path.relative_to(root).as_posix(), path, stamp)


def _lines(path: Path) -> list[str]:
    """Names of models; none where there is no such list."""
    if not path.is_file():
        return []
    names = [line.strip() for line in path.read_text(errors="replace").splitlines() if line.strip()]
    return sorted({name for name in names if Path(name).name == name})


def _shards(data: Path, kind: str, shapes: list[Shape], folder: Path, kept: Kept) -> dict[Path, list[Shape]]:
    """The files that so many shapes each are kept in, named by all that is in them."""
    found = {}
    for start in range(0, len(shapes), SHARD):
        part = shapes[start : start + SHARD]
        said = json.dumps([kind, str(data.resolve()), kept, [(each.name, each.stamp) for each in part]])
        found[folder / f"{kind}-{sha256(said.encode()).hexdigest()[:20]}.npz"] = part
    return found


def _done(shard: Path) -> bool:
    """Not where it holds nothing: that is soon tried again."""
    return shard.exists() and _notes(shard).exists()


def _notes(shard: Path) -> Path:
    """Written last: what was left out of a shard, and why."""
    return shard.with_suffix(".json")


def _write(path: Path, kind: str, shapes: list[Shape], kept: Kept) -> None:
    made, bad = [], {}
    for shape in shapes:
        try:
            rng = np.random.default_rng(zlib.crc32(shape.name.encode()))
            made.append(_READERS[kind](shape.path, kept, rng))
        except (ValueError, OSError) as error:
            bad[shape.name] = " ".join(str(error).split())
    aside = path.with_name(f".{path.name}")
    if made:
        Examples(made).save(aside)
        aside.replace(path)
    aside.write_text(json.dumps(bad))
    aside.replace(_notes(path))


def _usable(data: Path, shards: dict[Path, list[Shape]], purpose: str) -> Examples:
    paths = [path for path in shards if path.exists()]
    if not paths:
        bad = "; ".join(f"{name}: {why}" for name, why in list(_left_out(shards).items())[:3])
        reasons = f" ({bad})" if bad else ", and two are the least that it takes"
        raise NoShapes(f"{data} has no shape to {purpose} that can be used{reasons}")
    return Examples.load(paths)


def _left_out(shards: Iterable[Path]) -> dict[str, str]:
    found: dict[str, str] = {}
    for path in map(_notes, shards):
        try:
            found |= json.loads(path.read_text())
        except (ValueError, TypeError) as error:
            raise ValueError(f"{path} is damaged; remove it to have it made anew") from error
    return found


def _report(path: Path, shards: dict[Path, list[Shape]]) -> None:
    bad = _left_out(shards)
    path.write_text("".join(f"{name}: {why}\n" for name, why in bad.items()))
    if bad:
        count = sum(len(part) for part in shards.values())
        warnings.warn(f"{len(bad)} of {count} shapes are left out; {path} says why", stacklevel=3)
