"""From matches to cameras, without any picture: points made up, seen by cameras that are known."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.captures import Rig
from workers.geometry.errors import NumericError
from workers.geometry.similarity import align_cameras, moved
from workers.prepare.sfm import estimate as sfm
from workers.prepare.sfm import mapping
from workers.prepare.sfm.estimate import Photos, estimate
from workers.prepare.sfm.features import Features
from workers.prepare.sfm.mapping import Camera, Map, Matched, Question, mapped
from workers.prepare.sfm.matches_file import NOTHING, Known
from workers.prepare.sfm.plugs import Plugs

Array = NDArray[np.float64]

RIG = Rig(views=12, width=640, height=480, fx=560, fy=560, cx=320, cy=240)
TRUE = Camera((RIG.width, RIG.height), (RIG.fx, RIG.fy, RIG.cx, RIG.cy, 0.0, 0.0, 0.0, 0.0), known=True)
GUESS = replace(TRUE, lens=(640.0, 640.0, 320.0, 240.0, 0.0, 0.0, 0.0, 0.0), known=False)
POINTS = np.random.default_rng(0).uniform(-0.6, 0.6, (500, 3))
TILES = 20
"""On a side of a table whose pattern repeats, a twentieth of 2.4 units on."""
TABLE = np.stack(np.meshgrid(*[np.linspace(-1.2, 1.2, TILES, endpoint=False)] * 2), axis=-1).reshape(-1, 2)


def keypoints(noise: float = 0.0, points: Array = POINTS) -> list[NDArray[np.float32]]:
    """Each point in each photo, in the points' order."""
    rng = np.random.default_rng(1)
    seen = [RIG.project(index, points) for index in range(RIG.views)]
    return [(xy + noise * rng.standard_normal(xy.shape)).astype(np.float32) for xy in seen]


def ahead(steps: int) -> Matched:
    """Each photo with so many that follow it around the ring; they share what is near to where they are."""
    pairs: Matched = {}
    for one in range(RIG.views):
        for step in range(1, steps + 1):
            other = (one + step) % RIG.views
            pair = (one, other) if one < other else (other, one)
            rows = np.flatnonzero((np.arange(len(POINTS)) + 37 * one) % 500 < 500 - 90 * step)
            pairs[pair] = np.stack([rows, rows], axis=1).astype(np.uint32)
    return pairs


def question(trusted: Matched, /, **more: Any) -> Question:
    plain: dict[str, Any] = {
        "cameras": [TRUE], "camera_of": [0] * RIG.views, "keypoints": keypoints(), "trusted": [trusted],
        "verified": trusted, "matches": trusted, "method": "incremental", "poses": None, "pixel": 1.0,
        "threads": 1,
    }  # fmt: skip
    return Question(**(plain | more))


def off(found: Map) -> tuple[float, float]:
    """How far the cameras are from the truth, in its units, and how much turned, as the sine."""
    assert found.registered.all()
    aligned = moved(align_cameras(found.c2w, RIG.c2w).similarity, found.c2w)
    return float(np.abs((aligned - RIG.c2w)[:, :3, 3]).max()), float(np.abs(aligned - RIG.c2w).max())


@pytest.mark.parametrize("method", ["incremental", "global"])
def test_exact_matches_give_exact_cameras(method: str) -> None:
    found = mapped(question(ahead(3), method=method))
    assert max(off(found)) < 1e-3
    assert found.error < 0.01
    assert found.misfit is None
    assert found.others == []
    np.testing.assert_allclose(found.lenses[0], TRUE.lens, atol=1e-5)
    assert len(found.points) == len(POINTS)


def test_a_lens_is_found_too_and_points_lie_where_they_were_seen() -> None:
    found = mapped(question(ahead(3), cameras=[GUESS], keypoints=keypoints(0.3)))
    assert max(off(found)) < 5e-3
    assert found.lenses[0, :2] == pytest.approx([RIG.fx, RIG.fx], rel=0.005)
    similarity = align_cameras(found.c2w, RIG.c2w).similarity
    points = found.points @ similarity[:3, :3].T + similarity[:3, 3]
    point, _, keypoint = found.seen.T
    assert np.median(np.linalg.norm(points[point] - POINTS[keypoint], axis=1)) < 0.005


def test_matches_of_a_pattern_that_repeats_do_not_pull_the_cameras() -> None:
    """Photos farther apart agree on what is one tile off, and on more than neighbours agree on rightly."""
    table = np.insert(TABLE, 1, -0.6, axis=1)
    seen = keypoints(0.3, np.concatenate([table, POINTS[len(table) :]]))
    rows = np.arange(len(table)).reshape(TILES, TILES)
    shifted = np.stack([rows[:, :-1].ravel(), rows[:, 1:].ravel()], axis=1).astype(np.uint32)
    right = ahead(2)
    both = right | {pair: shifted for pair in ahead(5) if pair not in right}
    found = mapped(question(right, keypoints=seen, verified=both, matches=both))
    assert off(found)[0] < 0.01
    assert found.error < 0.6
    pulled = mapped(question(both, keypoints=seen))  # what would be, were all of them trusted
    assert not pulled.registered.all() or off(pulled)[0] > 0.05


def test_poses_that_were_given_move_to_where_the_matches_fit() -> None:
    rng = np.random.default_rng(2)
    given = RIG.c2w.copy()
    given[:, :3, 3] += 0.02 * rng.standard_normal((RIG.views, 3))
    found = mapped(question(ahead(3), trusted=[], poses=given))
    assert max(off(found)) < 1e-3
    assert found.misfit is not None
    before, after = found.misfit
    assert before > 1
    assert after < 0.05


def test_nothing_is_left_behind(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    assert mapped(question(ahead(3))).registered.all()
    assert list(tmp_path.iterdir()) == []


def test_how_much_of_what_photos_share_agrees_is_told() -> None:
    right = ahead(3)
    assert mapped(question(right)).agreement > 0.99
    shuffled = {pair: np.stack([rows[:, 0], np.roll(rows[:, 1], 1)], 1) for pair, rows in ahead(6).items()}
    both = {pair: rows for pair, rows in shuffled.items() if pair not in right} | right
    found = mapped(question(right, trusted=[right, both], verified=both, matches=right))
    assert 0.4 < found.agreement < 0.9


def test_a_photo_that_matches_none_has_no_place() -> None:
    matches = {pair: rows for pair, rows in ahead(3).items() if 5 not in pair}
    found = mapped(question(matches))
    assert not found.registered[5]
    assert found.registered.sum() == RIG.views - 1


def test_photos_in_two_groups_give_the_larger_and_say_so() -> None:
    matches = {(one, other): rows for (one, other), rows in ahead(3).items() if (one < 4) == (other < 4)}
    found = mapped(question(matches))
    assert np.flatnonzero(found.registered).tolist() == list(range(4, RIG.views))
    assert found.others == [4]


@pytest.mark.parametrize(
    "bad",
    [
        {"camera_of": [7] * RIG.views},
        {"cameras": [replace(TRUE, lens=TRUE.lens[:3])]},
        {"keypoints": [xy[:5] for xy in keypoints()]},
    ],
)
def test_a_question_without_an_answer_is_told_as_poses_not_found(bad: dict[str, Any]) -> None:
    with pytest.raises(NumericError) as caught:
        mapped(question(ahead(2), **bad))
    assert caught.value.code == "poses_not_found"


@pytest.mark.parametrize("end", ["os.abort()", "os._exit(0)", "os._exit(3)"])
def test_a_program_that_dies_is_told_as_poses_not_found(
    end: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = tmp_path / "mapper.py"
    program.write_text(f"import os, sys\nsys.stdin.buffer.read()\n{end}\n")
    monkeypatch.setattr(mapping, "_MAPPER", program)
    with pytest.raises(NumericError) as caught:
        mapped(question(ahead(2)))
    assert caught.value.code == "poses_not_found"


def test_a_global_map_that_fits_badly_is_made_again_by_the_other_method(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked: list[str] = []

    def spoilt(question: Question) -> Map:
        asked.append(question.method)
        found = mapping.mapped(question)
        return replace(found, error=5.0) if question.method == "global" else found

    monkeypatch.setattr(sfm, "mapped", spoilt)
    found = estimated("global")
    assert asked == ["global", "incremental"]
    assert found.error < 0.01


def test_a_global_map_that_fits_is_believed(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def heard(question: Question) -> Map:
        asked.append(question.method)
        return mapping.mapped(question)

    monkeypatch.setattr(sfm, "mapped", heard)
    assert estimated("global").registered.all()
    assert asked == ["global"]


def test_the_global_method_is_not_asked_where_a_lens_is_not_known(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def heard(question: Question) -> Map:
        asked.append(question.method)
        return mapping.mapped(question)

    monkeypatch.setattr(sfm, "mapped", heard)
    estimated("global", replace(TRUE, known=False))
    assert asked == ["incremental"]


def test_where_what_was_matched_before_leads_to_nothing_all_is_matched_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    tried = 0

    def failing_once(question: Question) -> Map:
        nonlocal tried
        tried += 1
        if tried == 1:
            raise NumericError("poses_not_found", "matches that lie", found=0)
        return mapping.mapped(question)

    monkeypatch.setattr(sfm, "mapped", failing_once)
    assert estimated("incremental", known=replace(NOTHING)).registered.all()
    assert tried == 2


def estimated(method: mapping.Method, camera: mapping.Camera = TRUE, known: Known = NOTHING) -> Map:
    """By features that are told apart by their numbers."""

    def find(grey: NDArray[np.uint8], size: tuple[int, int]) -> Features:
        xy = RIG.project(int(grey[0, 0]), POINTS)
        codes = np.random.default_rng(3).standard_normal((len(POINTS), 64))
        codes /= np.linalg.norm(codes, axis=1, keepdims=True)
        return Features(xy, codes.astype(np.float32), np.zeros(len(xy), np.float32), size)

    greys = [np.full((48, 64), index, np.uint8) for index in range(RIG.views)]
    photos = Photos(greys, [TRUE.size] * RIG.views, [camera], [0] * RIG.views)
    return estimate(photos, method, Plugs(find=find), 1, lambda part, step: None, known).map
