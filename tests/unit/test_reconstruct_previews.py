"""How a reconstruction looks on its way: what is drawn, when, and where."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import trimesh
from PIL import Image

from tests.unit.scenes import ball, pattern, scene
from workers.geometry.mesh import icosphere
from workers.reconstruct.methods.appearance.sketch import draft
from workers.reconstruct.methods.model import Settings, Sketch
from workers.reconstruct.methods.surface import reconstruct
from workers.reconstruct.methods.surface.profiles import PROFILES
from workers.reconstruct.previews import Previews
from workers.reconstruct.smaller import smaller


class Drawn:
    """Draws a red ball, and counts."""

    def __init__(self) -> None:
        self.times = 0

    def __call__(self) -> Sketch:
        self.times += 1
        vertices, faces = icosphere(3)
        return Sketch(vertices, faces, np.tile(np.array([200, 20, 20], np.uint8), (len(vertices), 1)))


def test_a_preview_is_drawn_when_the_last_is_five_seconds_old(tmp_path: Path) -> None:
    now, draw = [100.0], Drawn()
    previews = Previews(tmp_path, scene(ball, count=2, size=96), np.eye(4), lambda: now[0])
    names = []
    for tick in range(60):
        now[0] = 100 + tick / 4
        names.append(previews.write(draw))
    assert [tick / 4 for tick, name in enumerate(names) if name] == [0, 5, 10]
    assert draw.times == 3
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        f"00{number}.{kind}" for number in (1, 2, 3) for kind in ("glb", "png")
    ]


def test_nobody_waits_so_nothing_is_drawn() -> None:
    draw = Drawn()
    assert Previews(None, scene(ball, count=2, size=96), np.eye(4)).write(draw) is None
    assert draw.times == 0


def test_the_sketch_stands_beside_the_photo_and_in_the_captures_world(tmp_path: Path) -> None:
    capture, to_world = scene(ball, count=2, size=96), np.diag([2.0, 2, 2, 1])
    to_world[:3, 3] = 5
    Previews(tmp_path, capture, to_world).write(Drawn())
    picture = np.asarray(Image.open(tmp_path / "001.png"))
    photo, drawn = np.split(picture, 2, axis=1)
    on_photo, on_drawn = photo.max(2) > 0, drawn.max(2) > 0
    assert (on_photo & on_drawn).sum() > 0.95 * (on_photo | on_drawn).sum()
    assert np.median(drawn[on_drawn], axis=0).tolist() == [200, 20, 20]
    loaded: Any = trimesh.load(tmp_path / "001.glb", force="mesh")
    assert loaded.bounds == pytest.approx(np.array([[3.0] * 3, [7.0] * 3]), abs=0.05)


def test_every_step_has_something_to_show(monkeypatch: pytest.MonkeyPatch) -> None:
    small = replace(PROFILES["preview"], voxels=64, fine=128, triangles=9000, rounds=24)
    monkeypatch.setitem(PROFILES, "preview", small)
    capture, found = scene(ball, count=16, size=128, offset=3.0), {}
    shares = []

    def report(share: float, info: dict[str, Any]) -> None:
        shares.append(share)
        if "sketch" in info:
            found[info["step"]] = info["sketch"]()

    reconstruct(capture, Settings("preview"), report)
    assert {"hull", "sweep", "refine", "mesh", "materials", "bake"} <= set(found)
    assert shares == sorted(shares)
    assert shares[-1] == 1
    for step, sketch in found.items():
        radii = np.linalg.norm(sketch.vertices - 3, axis=1)
        assert np.median(radii) == pytest.approx(1, abs=0.05), step
        assert sketch.faces.max() < len(sketch.vertices)
        truth = np.clip(pattern((sketch.vertices - 3).astype(np.float32)), 0, 255)
        lit = (sketch.colours.astype(float) / sketch.colours.mean(0) * truth.mean(0) - truth) / truth.std()
        assert np.abs(lit).mean() < 0.75, step


def test_what_no_photo_shows_is_painted_as_what_is_next_to_it() -> None:
    vertices, faces = icosphere(4)
    linear = np.where(vertices[:, :1] > 0, [[1.0, 0, 0]], [[0, 0, 1.0]]).astype(np.float32)
    known = np.abs(vertices[:, 0]) > 0.5
    linear[~known] = 0.5
    painted = draft(vertices, faces, known).painted(linear)
    right = painted.vertices[:, 0] > 0.1
    assert (painted.colours[right] == [255, 0, 0]).all()
    assert (painted.colours[painted.vertices[:, 0] < -0.1] == [0, 0, 255]).all()


def test_smaller_photos_show_the_same_from_the_same_place() -> None:
    capture = scene(ball, count=2, size=96)
    small = smaller(capture, 24)
    assert small.images.shape == (2, 24, 24, 3)
    assert small.masks.mean() == pytest.approx(capture.masks.mean(), rel=0.03)
    assert small.frames.tolist() == [[0, 0, 24, 24]] * 2
    assert small.images.mean() == pytest.approx(capture.images.mean(), rel=0.02)
    pole = np.array([0.3, -0.2, 0.9, 1])
    u, v = (
        (c.projection() @ pole)[:, :2] / (c.projection() @ pole)[:, 2:]
        for c in (capture.cameras, small.cameras)
    )
    assert v == pytest.approx(u / 4)
    assert smaller(capture, 96) is capture
