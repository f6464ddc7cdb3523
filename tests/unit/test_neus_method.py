"""Method `neus` on a dimpled ball."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.unit import scenes
from tests.unit.scenes import dimpled
from workers.geometry.errors import NumericError
from workers.reconstruct import memory
from workers.reconstruct.checkpoints import Checkpoints
from workers.reconstruct.memory import needed
from workers.reconstruct.methods import neus, training
from workers.reconstruct.methods.appearance.painting import Effort
from workers.reconstruct.methods.hash_grid import HashGrid
from workers.reconstruct.methods.model import Scene, Settings, TexturedMesh
from workers.reconstruct.methods.neus import reconstruct
from workers.reconstruct.methods.neus.profiles import Profile, profile
from workers.reconstruct.methods.surface.hollows import Hull
from workers.reconstruct.methods.surface.shape import Float, dug_hull
from workers.reconstruct.quality import compare, renderer

TINY = Profile(
    views="preview",
    size=96,
    grid=HashGrid(levels=6, features=2, coarsest=8, finest=64, rows=1 << 12),
    iterations=150,
    rays=256,
    samples=16,
    voxels=64,
    triangles=6000,
    polish=96,
    effort=Effort(256, 0),
)


@pytest.fixture(scope="module")
def capture() -> Scene:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(scenes, "pattern", lambda points: 127 + 60 * np.sin(9 * points))
        return scenes.scene(dimpled, count=30, size=112, offset=2.0)


@pytest.fixture(autouse=True)
def _tiny(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(neus, "profile", lambda name, device: TINY)


def _quiet(fraction: float, info: dict[str, Any]) -> None:
    pass


def _same(a: TexturedMesh, b: TexturedMesh) -> bool:
    names = ("vertices", "faces", "normals", "uv", "kd", "ks", "normal_map")
    return all(getattr(a, name).tobytes() == getattr(b, name).tobytes() for name in names)


def test_a_surface_is_learned_from_one_that_is_off(capture: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    def swollen(*given: Any) -> tuple[Hull, Float]:
        """By 3 % of the longest side."""
        hull, dug = dug_hull(*given)
        return hull, dug - np.float32(0.03)

    monkeypatch.setattr(neus, "dug_hull", swollen)
    told: list[tuple[float, dict[str, Any]]] = []
    mesh = reconstruct(capture, Settings("preview"), lambda part, info: told.append((part, info)))
    away = mesh.vertices - 2
    radii = np.linalg.norm(away, axis=1)
    off = radii - dimpled((away / radii[:, None]).astype(np.float32))
    assert np.abs(off).mean() < 0.015
    hollow = away[:, 0] / radii > 0.99
    assert np.median(radii[hollow]) == pytest.approx(0.76, abs=0.05)
    assert (mesh.normals * away).sum(1).mean() > 0.9
    found = compare(renderer(mesh), capture)
    assert found.silhouette_iou > 0.97
    assert found.psnr > 20
    fractions = [fraction for fraction, _ in told]
    assert fractions == sorted(fractions)
    assert fractions[-1] == 1
    first, last = mesh.losses[0], mesh.losses[-1]
    assert last["colour"] < 0.4 * first["colour"]
    assert last["mask"] < first["mask"]
    sketches = [info["sketch"] for _, info in told if info["step"] == "field"]
    assert np.linalg.norm(sketches[-1]().vertices - 2, axis=1).mean() == pytest.approx(1, abs=0.05)


def test_the_seed_decides_and_a_killed_job_goes_on(
    capture: Scene, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    short = replace(TINY, iterations=40, rays=64, triangles=1000)
    monkeypatch.setattr(neus, "profile", lambda name, device: short)
    first = reconstruct(capture, Settings("preview", seed=1), _quiet)
    assert not _same(first, reconstruct(capture, Settings("preview", seed=2), _quiet))
    monkeypatch.setattr(training, "_SAVED_EVERY", 0)

    class Killed(Exception):
        pass

    steps: list[str] = []
    for last in ("field", "mesh"):

        def report(fraction: float, info: dict[str, Any], last: str = last) -> None:
            steps.append(info["step"])
            if info["step"] == last and fraction > 0.4:
                raise Killed

        with pytest.raises(Killed):
            reconstruct(capture, Settings("preview", 1, Checkpoints(tmp_path)), report)
    steps.clear()
    resumed = reconstruct(
        capture, Settings("preview", 1, Checkpoints(tmp_path)), lambda _, info: steps.append(info["step"])
    )
    assert _same(first, resumed)
    assert "field" not in steps  # nothing of it was done again


def test_masks_that_show_nothing_are_an_error(capture: Scene) -> None:
    empty = replace(capture, masks=capture.masks & False)
    with pytest.raises(NumericError, match="0 of 30 masks"):
        reconstruct(empty, Settings("preview"), _quiet)


def test_it_needs_more_memory_than_the_photos_alone(capture: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    enough = needed(capture.masks.size, "preview")
    monkeypatch.setattr(memory, "available", lambda: enough + 1e6)
    memory.check_memory(capture.masks.size, "preview")
    with pytest.raises(NumericError, match="of memory"):
        reconstruct(capture, Settings("preview"), _quiet)


def test_profiles() -> None:
    assert profile("standard", "cuda").iterations > profile("standard", "cpu").iterations
    with pytest.raises(KeyError):
        profile("none", "cpu")
