"""Method `dmtet` on a small ball."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.unit import scenes
from workers.geometry.errors import NumericError
from workers.geometry.mesh import compacted, volume
from workers.reconstruct.checkpoints import Checkpoints
from workers.reconstruct.methods import dmtet, training
from workers.reconstruct.methods.dmtet import reconstruct
from workers.reconstruct.methods.dmtet.encoding import Planes
from workers.reconstruct.methods.dmtet.profiles import Profile, Stage, profile
from workers.reconstruct.methods.dmtet.shape import Shape
from workers.reconstruct.methods.model import Scene, Settings, TexturedMesh
from workers.reconstruct.quality import compare, renderer
from workers.render.ops import backend

TINY = Profile(
    cells=8,
    start=0.03,
    quiet=0.1,
    encoding=Planes((16, 48), 4),
    light=16,
    shape=(Stage(50, 24, 8), Stage(20, 48, 4)),
    texture=256,
    finish=Stage(40, 64, 4),
    warmup=5,
)


@pytest.fixture(scope="module")
def capture() -> Scene:
    """Its colours change slowly: one alone for all of it would be right to 14 dB."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(scenes, "pattern", lambda points: 127 + 90 * points)
        return scenes.scene(scenes.ball, count=16, size=72, offset=2.0)


@pytest.fixture(autouse=True)
def _tiny(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dmtet, "profile", lambda name, device: TINY)


def _quiet(fraction: float, info: dict[str, Any]) -> None:
    pass


def _same(a: TexturedMesh, b: TexturedMesh) -> bool:
    names = ("vertices", "faces", "normals", "uv", "kd", "ks", "normal_map", "light")
    return all(getattr(a, name).tobytes() == getattr(b, name).tobytes() for name in names)


def test_a_ball_comes_out_of_nothing(capture: Scene) -> None:
    told: list[tuple[float, dict[str, Any]]] = []
    mesh = reconstruct(capture, Settings("preview"), lambda part, info: told.append((part, info)))
    found = compare(renderer(mesh), capture)
    overlap, noise = found.silhouette_iou, found.psnr
    assert overlap > 0.96
    assert noise > 24
    radii = np.linalg.norm(mesh.vertices - 2, axis=1)
    assert radii.mean() == pytest.approx(1, abs=0.03)
    assert volume(*compacted(mesh.vertices, mesh.faces)) == pytest.approx(4 / 3 * np.pi, rel=0.06)
    assert (mesh.normals * (mesh.vertices - 2)).sum(1).mean() > 0.93
    assert mesh.light is not None
    assert mesh.light.min() >= 0
    assert mesh.ks[..., 0].min() == 255
    fractions = [fraction for fraction, _ in told]
    assert fractions == sorted(fractions)
    assert fractions[-1] == 1
    first, last = mesh.losses[0], mesh.losses[-1]
    assert last["image"] < first["image"]
    assert last["mask"] < 0.1 * first["mask"]
    assert {"image", "mask"} <= set(told[-1][1]["losses"])


def test_the_seed_decides_and_a_killed_job_goes_on(
    capture: Scene, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    short = replace(TINY, shape=(Stage(20, 24, 4),), finish=Stage(12, 32, 2))
    monkeypatch.setattr(dmtet, "profile", lambda name, device: short)
    first = reconstruct(capture, Settings("preview", seed=1), _quiet)
    assert not _same(first, reconstruct(capture, Settings("preview", seed=2), _quiet))
    monkeypatch.setattr(training, "_SAVED_EVERY", 0)

    class Killed(Exception):
        pass

    for kill in (0.4, 0.9):  # in either pass

        def report(fraction: float, info: dict[str, Any], kill: float = kill) -> None:
            if fraction > kill:
                raise Killed

        with pytest.raises(Killed):
            reconstruct(capture, Settings("preview", 1, Checkpoints(tmp_path)), report)
    assert (tmp_path / "finish.npz").exists()
    steps: list[str] = []
    resumed = reconstruct(
        capture, Settings("preview", 1, Checkpoints(tmp_path)), lambda _, info: steps.append(info["step"])
    )
    assert _same(first, resumed)
    assert "shape" not in steps  # nothing of it was done again


def test_masks_that_show_nothing_are_an_error(capture: Scene) -> None:
    empty = Scene(capture.images, capture.masks & False, capture.cameras, capture.frames)
    with pytest.raises(NumericError, match="0 of 16 masks"):
        reconstruct(empty, Settings("preview"), _quiet)


def test_a_shape_that_is_carved_away_is_an_error() -> None:
    shape = Shape(np.full(3, 0.5), TINY, 0, backend("cpu"))
    shape.surface()
    shape.field = shape.field.abs()
    with pytest.raises(NumericError, match="leave nothing"):
        shape.surface()


def test_what_is_published_is_done_on_cuda() -> None:
    work = profile("standard", "cuda")
    assert work.shape == (Stage(5000, 512, 8),)
    assert work.texture == 1024
    with pytest.raises(KeyError):
        profile("none", "cpu")
