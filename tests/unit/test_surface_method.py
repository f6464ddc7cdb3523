"""Method `surface` on balls and dimples."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.unit.scenes import ball, dimpled, pattern, scene
from workers.geometry.errors import NumericError
from workers.geometry.grid import Grid
from workers.geometry.mesh import volume
from workers.reconstruct.checkpoints import Checkpoints
from workers.reconstruct.methods.appearance import painting
from workers.reconstruct.methods.appearance.atlas import padded
from workers.reconstruct.methods.model import Scene, Settings
from workers.reconstruct.methods.surface import reconstruct, shape
from workers.reconstruct.methods.surface.aggregate import aggregate, decide
from workers.reconstruct.methods.surface.hull import hull_distance
from workers.reconstruct.methods.surface.masks import signed_distances
from workers.reconstruct.methods.surface.profiles import PROFILES
from workers.reconstruct.methods.surface.silhouettes import object_box


def _quiet(fraction: float, info: dict[str, Any]) -> None:
    pass


def test_the_hull_of_a_ball_is_the_ball() -> None:
    capture = scene(ball, count=40)
    grid = Grid.around(np.full(3, -1.1), np.full(3, 1.1), 48)
    field = hull_distance(signed_distances(capture.masks, capture.frames), capture.cameras, grid)
    truth = np.linalg.norm(grid.points(np.ones(grid.shape, bool)), axis=1).reshape(grid.shape) - 1
    assert not ((field > 0.02) & (truth < 0)).any()  # the hull holds the object
    assert ((field < 0) & (truth > 0.06)).sum() < 0.01 * (truth < 0).sum()


def test_the_box_is_found_wherever_the_object_is() -> None:
    low, high = object_box(scene(ball, offset=7.0))
    assert low == pytest.approx(6, abs=0.12)
    assert high == pytest.approx(8, abs=0.12)


def test_a_sphere_comes_back_closed_and_coloured() -> None:
    fractions: list[float] = []
    mesh = reconstruct(scene(ball), Settings("preview"), lambda part, info: fractions.append(part))
    radii = np.linalg.norm(mesh.vertices, axis=1)
    assert np.abs(radii - 1).mean() < 0.01
    assert volume(mesh.vertices, mesh.faces) == pytest.approx(4 / 3 * np.pi, rel=0.03)
    assert (mesh.normals * mesh.vertices).sum(1).mean() > 0.99
    assert mesh.uv.min() >= 0
    assert mesh.uv.max() <= 1
    texel = np.stack([(1 - mesh.uv[:, 1]), mesh.uv[:, 0]], axis=1) * len(mesh.kd)
    found = mesh.kd[tuple(np.clip(texel.astype(int), 0, len(mesh.kd) - 1).T)]
    assert np.abs(found - np.clip(pattern(mesh.vertices), 0, 255)).mean() < 12
    assert mesh.cloud is not None
    assert len(mesh.cloud.points) > 5000
    assert np.abs(np.linalg.norm(mesh.cloud.points, axis=1) - 1).mean() < 0.02
    assert (mesh.cloud.normals * mesh.cloud.points).sum(1).mean() > 0.97
    assert fractions == sorted(fractions)
    assert fractions[-1] == 1


def test_nothing_is_left_below_what_the_object_stands_on() -> None:
    """Given in a frame of its own: half a unit is one here, and up leans."""
    lean = np.array([[0.8, 0, 0.6, 1], [0, 1, 0, 2], [-0.6, 0, 0.8, 3], [0, 0, 0, 1]]) @ np.diag(
        [2.0, 2, 2, 1]
    )
    standing = replace(scene(ball), support=np.array([0, 0, 1, 0.3])).transformed(lean)
    mesh = reconstruct(standing, Settings("preview"), _quiet)
    vertices = mesh.vertices @ np.linalg.inv(lean)[:3, :3].T + np.linalg.inv(lean)[:3, 3]
    assert vertices[:, 2].min() == pytest.approx(-0.3, abs=0.03)
    assert vertices[:, 2].max() == pytest.approx(1, abs=0.03)


def test_a_hollow_no_silhouette_shows_is_dug_out() -> None:
    mesh = reconstruct(scene(dimpled, count=36, size=224), Settings("preview"), _quiet)
    directions = mesh.vertices / np.linalg.norm(mesh.vertices, axis=1, keepdims=True)
    bottom = np.linalg.norm(mesh.vertices[directions[:, 0] > 0.99], axis=1)
    assert np.median(bottom) == pytest.approx(0.755, abs=0.04)


def test_the_same_input_gives_the_same_bytes() -> None:
    capture = scene(ball, count=12, size=128)
    first, second = (reconstruct(capture, Settings("preview"), _quiet) for _ in range(2))
    assert first.vertices.tobytes() == second.vertices.tobytes()
    assert first.uv.tobytes() == second.uv.tobytes()
    assert first.kd.tobytes() == second.kd.tobytes()


class _Killed(Exception):
    pass


class _Deadly(Checkpoints):
    """Ends the job right after it has saved a step that it had not."""

    def save(self, step: str, arrays: Mapping[str, NDArray[Any]]) -> None:
        super().save(step, arrays)
        raise _Killed(step)


def test_a_job_killed_over_and_over_goes_on_from_where_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    small = replace(
        PROFILES["preview"], voxels=48, coarse=64, fine=128, triangles=2000, polish=128, rounds=24
    )
    monkeypatch.setitem(PROFILES, "preview", small)
    capture = scene(ball, count=12, size=128)
    whole = reconstruct(capture, Settings("preview"), _quiet)
    assert whole.light is not None
    assert whole.cloud is not None
    assert len(whole.cloud.points) > 0
    assert len(whole.losses) == 6
    done: list[str] = []
    steps = (shape, "_depths"), (shape, "refined"), (painting, "unwrapping"), (painting, "fit")
    for module, name in steps:
        monkeypatch.setattr(module, name, _noted(done, name, getattr(module, name)))
    settings, killed = Settings("preview", checkpoints=_Deadly(tmp_path)), []
    heard: list[tuple[float, str]] = []
    resumed = None
    while resumed is None:
        heard.clear()
        try:
            resumed = reconstruct(capture, settings, lambda share, info: heard.append((share, info["step"])))
        except _Killed as kill:
            killed.append(str(kill))
    # The charts may have been saved by then, beside the fit.
    assert killed in (states := ["rough", "field", "surface", "appearance"], [*states, "atlas"])
    assert heard == sorted(heard, key=lambda said: said[0])
    assert heard[0][0] > 0.3  # of what is left to do once the box is known
    # One look behind the hull, two wide ones, a narrow one: none of them twice.
    assert [name for name in done if name != "unwrapping"] == ["_depths"] * 4 + ["refined", "fit"]
    assert done.count("unwrapping") == 2 - (killed == states)
    for name in ("vertices", "faces", "uv", "kd", "ks", "normal_map", "light"):
        assert getattr(whole, name).tobytes() == getattr(resumed, name).tobytes()
    assert resumed.losses == whole.losses
    assert resumed.cloud is not None
    for name in ("points", "normals", "colours", "sightings"):
        assert getattr(whole.cloud, name).tobytes() == getattr(resumed.cloud, name).tobytes()
    assert whole.cloud.cameras.c2w.tobytes() == resumed.cloud.cameras.c2w.tobytes()
    assert whole.cloud.cameras.intrinsics.tobytes() == resumed.cloud.cameras.intrinsics.tobytes()


def _noted(done: list[str], name: str, function: Callable[..., Any]) -> Callable[..., Any]:
    def noted(*arguments: Any, **more: Any) -> Any:
        done.append(name)
        return function(*arguments, **more)

    return noted


def test_masks_that_do_not_meet_are_an_error() -> None:
    capture = scene(ball, count=8, size=96)
    masks = np.zeros_like(capture.masks)
    masks[::2, :20, :20] = True
    masks[1::2, -20:, -20:] = True
    with pytest.raises(NumericError, match="on every mask"):
        reconstruct(
            Scene(capture.images, masks, capture.cameras, capture.frames), Settings("preview"), _quiet
        )
    with pytest.raises(NumericError, match="0 of 8 masks"):
        reconstruct(
            Scene(capture.images, masks & False, capture.cameras, capture.frames), Settings("preview"), _quiet
        )


def test_aggregation_carries_an_answer_over_a_gap() -> None:
    cost = np.ones((9, 9, 12), np.float32)
    cost[:, :3, 5] = cost[:, 6:, 5] = 0  # the middle columns know nothing
    valid = np.ones((9, 9), bool)
    plane, confidence = np.empty((9, 9), np.float32), np.empty((9, 9), np.float32)
    decide(aggregate(cost, valid, 0.05, 0.3), valid, 0.02, plane, confidence)
    assert plane == pytest.approx(5, abs=0.01)
    decide(np.ones_like(cost), valid, 0.02, plane, confidence)
    assert confidence.max() < 0.5


def test_padding_repeats_the_nearest_colour() -> None:
    image, known = np.zeros((5, 5, 3), np.uint8), np.zeros((5, 5), bool)
    image[0, 0], image[4, 4] = 10, 200
    known[0, 0] = known[4, 4] = True
    full = padded(image, known)
    assert full[1, 0, 0] == 10
    assert full[3, 4, 0] == 200
