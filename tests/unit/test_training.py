"""What the network of method single-view is told, and how it learns."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from workers.reconstruct.methods.single_view.network import PIXELS, REACH, Design, Network
from workers.training.examples import Batch, Example, Examples, in_picture
from workers.training.judging import Inflated, MeanShape, by_network, calibrate, overlaps
from workers.training.labels import EVERY, FALLOFF, GRID, SHARPNESS, binary, f1, labels, sharpness
from workers.training.optimisation import Labels, Plan, State, train

pytestmark = pytest.mark.usefixtures("one_torch_thread")

Float = NDArray[np.float32]

some_s = st.floats(0.02, 0.98)


@given(some_s)
def test_labels_fall_from_inside_to_where_they_end(s: float) -> None:
    distances = np.linspace(-0.5, 2 * FALLOFF, 400, dtype=np.float32)
    found = labels(distances, s)
    assert (found[distances <= 0] == 1).all()
    assert (found[distances >= FALLOFF] == 0).all()
    between = found[(distances > 0) & (distances < FALLOFF)]
    assert (np.diff(between) < 0).all()
    assert ((between > 0) & (between < 1)).all()


@given(some_s)
def test_half_lies_s_of_the_way_out(s: float) -> None:
    assert labels(np.array([s * FALLOFF], np.float32), s)[0] == pytest.approx(0.5, abs=1e-4)


@given(st.floats(0.02, 0.9), st.floats(0.01, 0.99))
def test_the_smaller_s_the_nearer_to_binary(s: float, share: float) -> None:
    at = np.array([share * FALLOFF], np.float32)
    assert labels(at, s)[0] < labels(at, s + 0.05)[0]


def test_in_the_limits_labels_are_binary() -> None:
    distances = np.array([-0.1, 0, 0.01 * FALLOFF, 0.5 * FALLOFF, 0.99 * FALLOFF, FALLOFF], np.float32)
    assert labels(distances, 1e-6) == pytest.approx(binary(distances), abs=1e-3)
    assert labels(distances, 1 - 1e-6)[:5] == pytest.approx(np.ones(5), abs=1e-3)
    assert labels(distances, 0.5) == pytest.approx([1, 1, 0.99, 0.5, 0.01, 0], abs=1e-5)


def test_the_falloff_is_that_many_voxels() -> None:
    assert pytest.approx(5 * 3**0.5) == FALLOFF / (2 * REACH / GRID)


def test_the_better_the_network_the_sharper_the_labels() -> None:
    scores = np.linspace(0, 1, 50)
    found = [sharpness(score) for score in scores]
    assert found[0] == SHARPNESS[1]
    assert found[-1] == SHARPNESS[0]
    assert sharpness(0.4) == pytest.approx(0.4)
    assert all(b <= a for a, b in pairwise(found))


def test_f1_is_the_harmonic_mean() -> None:
    said = np.array([1, 1, 1, 0, 0], bool)
    so = np.array([1, 0, 0, 1, 0], bool)
    precision, recall = 1 / 3, 1 / 2
    assert f1(said, so) == pytest.approx(2 * precision * recall / (precision + recall))
    assert f1(so, so) == 1
    assert f1(~so, so) == 0
    assert f1(np.zeros(3, bool), np.zeros(3, bool)) == 0


def ellipsoid(seed: int) -> Example:
    """Half as deep as it is wide or more, seen from the front and from the side."""
    rng = np.random.default_rng(seed)
    radii = np.array([0.5, rng.uniform(0.2, 0.5), rng.uniform(0.25, 0.5)])

    def distance(points: Float) -> Float:
        found: Float = ((np.linalg.norm(points / radii, axis=1) - 1) * radii.min()).astype(np.float32)
        return found

    turns = [np.eye(3), np.array([[0, 0, -1], [0, 1, 0], [1, 0, 0]])]
    corners = np.array([[x, y, z] for x in (-1, 1) for y in (-1, 1) for z in (-1, 1)]) * radii
    frames = np.stack([in_picture(corners, turn) for turn in turns])
    pictures = []
    for turn, frame in zip(turns, frames, strict=True):
        a, b, _ = np.abs(turn @ radii) * np.linalg.norm(frame[0, :3])
        rows, columns = ((np.mgrid[:PIXELS, :PIXELS] + 0.5) / PIXELS * 2 - 1) * REACH
        alpha = ((columns / a) ** 2 + (rows / b) ** 2 <= 1) * 255
        pictures.append(np.dstack([np.full((PIXELS, PIXELS, 3), 128), alpha]).astype(np.uint8))
    on = rng.standard_normal((400, 3))
    on = on / np.linalg.norm(on, axis=1, keepdims=True) * radii
    near = (on + 0.03 * rng.standard_normal((400, 3))).astype(np.float32)
    even = rng.uniform(-0.8, 0.8, (3000, 3)).astype(np.float32)
    return Example(np.stack(pictures), frames, near, distance(near), even, distance(even))


@pytest.fixture(scope="module")
def ellipsoids() -> Examples:
    return Examples([ellipsoid(seed) for seed in range(24)])


def test_a_shape_is_centred_in_its_picture() -> None:
    rng = np.random.default_rng(1)
    points = rng.uniform(-1, 3, (200, 3)) * [1, 2, 0.5]
    turn = np.linalg.qr(rng.standard_normal((3, 3)))[0]
    frame = in_picture(points, turn)
    seen = points @ frame[:3, :3].T + frame[:3, 3]
    assert seen.min(0) + seen.max(0) == pytest.approx(np.zeros(3), abs=1e-5)
    assert max(np.ptp(seen[:, 0]), np.ptp(seen[:, 1])) == pytest.approx(1, abs=1e-5)


def test_examples_come_back_from_disk(tmp_path: Path, ellipsoids: Examples) -> None:
    ellipsoids.save(tmp_path / "a.npz")
    twice = Examples.load([tmp_path / "a.npz", tmp_path / "a.npz"])
    assert len(twice) == 2 * len(ellipsoids)
    a, b = next(ellipsoids.judged(24)), list(twice.judged(24))[1]
    assert np.array_equal(a.pictures, b.pictures)
    assert np.abs(a.points - b.points).max() < 1e-3
    assert np.abs(a.distances - b.distances).max() < 1e-3


def test_kept_examples_that_are_damaged_are_named(tmp_path: Path, ellipsoids: Examples) -> None:
    few, path = ellipsoids.first(2), tmp_path / "a.npz"

    def refuse() -> None:
        with pytest.raises(ValueError, match=r"a\.npz is damaged; remove it to have it made anew$"):
            Examples.load([path])

    few.save(path)
    whole = path.read_bytes()
    for damaged in (whole[:-100], whole[:100], b"", b"other"):
        path.write_bytes(damaged)
        refuse()
    np.savez(path, pictures=np.zeros(3))
    refuse()
    columns = next(few.judged())
    np.savez(path, *6 * [columns.points])
    refuse()
    np.save(path.open("wb"), columns.points)
    refuse()


def test_a_batch_moves_points_into_its_pictures(ellipsoids: Examples) -> None:
    """Whatever is inside of the shape is seen within its outline."""
    batch = next(ellipsoids.batches(24, 300, 100, np.random.default_rng(0)))
    assert batch.points.shape == (24, 400, 3)
    for picture, points, distances in zip(batch.pictures, batch.points, batch.distances, strict=True):
        inside = points[distances < -0.02]
        column, row = ((inside[:, :2] * [1, -1] / REACH + 1) * PIXELS / 2).astype(int).T
        assert (picture[row, column, 3] > 0).all()
    rest = list(ellipsoids.batches(7, 10, 10, np.random.default_rng(0)))
    assert [len(each.pictures) for each in rest] == [7, 7, 7, 3]


def test_a_mirrored_picture_has_mirrored_points() -> None:
    """Of what is bright on its left and solid there."""
    picture = np.zeros((1, PIXELS, PIXELS, 4), np.uint8)
    picture[:, :, : PIXELS // 2] = 255
    points = np.random.default_rng(0).uniform(-0.5, 0.5, (200, 3)).astype(np.float32)
    sides = np.where(points[:, 0] < 0, np.float32(-1), np.float32(1))
    one = Example(picture, np.eye(4, dtype=np.float32)[None], points, sides, points, sides)
    batch = next(Examples([one] * 32).batches(32, 50, 5, np.random.default_rng(0)))
    bright_left = batch.pictures[:, 0, 0, 0] == 255
    assert 8 < bright_left.sum() < 24
    assert ((batch.points[..., 0] < 0) == (batch.distances < 0))[bright_left].all()
    assert ((batch.points[..., 0] > 0) == (batch.distances < 0))[~bright_left].all()


def test_overlap_is_one_for_the_truth_and_falls_with_what_is_missing(ellipsoids: Examples) -> None:
    assert overlaps(lambda batch: batch.distances <= 0, ellipsoids).min() == 1
    half = overlaps(lambda batch: (batch.distances <= 0) & (batch.points[..., 0] > 0), ellipsoids)
    assert half == pytest.approx(np.full(24, 0.5), abs=0.12)
    assert half.mean() == pytest.approx(0.5, abs=0.02)
    assert overlaps(lambda batch: batch.distances > 0, ellipsoids).max() == 0


def test_the_mean_shape_knows_nothing_of_the_picture(ellipsoids: Examples) -> None:
    mean = MeanShape.of(ellipsoids)
    batch = next(ellipsoids.judged())
    moved = replace(batch, pictures=batch.pictures[::-1])
    assert np.array_equal(mean(batch), mean(moved))
    assert overlaps(mean, ellipsoids).mean() > 0.6


def test_a_network_that_says_too_much_is_calibrated(ellipsoids: Examples) -> None:
    network, _ = trained(replace(SMALL, labels="binary", epochs=8, batch=4), ellipsoids)

    def overlap() -> float:
        return float(overlaps(lambda batch: by_network(network, batch), ellipsoids).mean())

    calibrate(network, ellipsoids)
    best = overlap()
    network.shift(1.5)
    assert overlap() < best
    assert calibrate(network, ellipsoids.first(24)) == pytest.approx(1.5, abs=0.11)
    assert overlap() == pytest.approx(best, abs=0.01)
    assert len(ellipsoids.first(5)) == 5


def test_an_inflated_mask_is_the_ellipsoid_that_it_is_of() -> None:
    """A ball's outline, as deep as it is wide, is a ball again."""
    rows, columns = ((np.mgrid[:PIXELS, :PIXELS] + 0.5) / PIXELS * 2 - 1) * REACH
    alpha = (np.hypot(rows, columns) <= 0.5) * 255
    picture = np.dstack([np.zeros((PIXELS, PIXELS, 3)), alpha]).astype(np.uint8)
    points = np.random.default_rng(0).uniform(-0.6, 0.6, (1, 5000, 3)).astype(np.float32)
    distances = (np.linalg.norm(points, axis=2) - 0.5).astype(np.float32)
    batch = Batch(picture[None], points, distances)
    said, so = Inflated(0.5)(batch), distances <= 0
    assert (said & so).sum() / (said | so).sum() > 0.93


SMALL = Plan(Design(0.1), epochs=4, batch=8, near=150, even=50, rate=3e-3)


def trained(
    plan: Plan, examples: Examples, checkpoint: Path | None = None, stop: int | None = None
) -> tuple[Network, State]:
    def judge(network: Network) -> float:
        return float(overlaps(lambda batch: by_network(network, batch), examples).mean())

    def tell(epoch: int, state: State) -> None:
        if epoch == stop:
            raise KeyboardInterrupt

    return train(plan, examples, judge, checkpoint, tell)


def same(a: Network, b: Network) -> bool:
    return all(
        torch.equal(x, y) for x, y in zip(a.state_dict().values(), b.state_dict().values(), strict=True)
    )


def test_it_learns(ellipsoids: Examples) -> None:
    _, state = trained(replace(SMALL, labels="binary", epochs=20, batch=4), ellipsoids)
    assert state.losses[-1] < 0.8 * state.losses[0]
    assert state.held_out[-1] > 0.65


def test_labels_grow_sharper_by_what_it_has_learned(ellipsoids: Examples) -> None:
    _, state = trained(replace(SMALL, epochs=EVERY + 1), ellipsoids)
    assert state.sharpness[:EVERY] == [0.5] * EVERY
    assert state.sharpness[EVERY] == sharpness(state.scores[EVERY - 1])
    assert state.sharpness[EVERY] < 0.5


@pytest.mark.parametrize(("kind", "s"), [("binary", 0.5), ("fixed", 0.5)])
def test_other_labels_do_not_adapt(ellipsoids: Examples, kind: Labels, s: float) -> None:
    plan = replace(SMALL, labels=kind, epochs=EVERY + 1)
    assert set(trained(plan, ellipsoids)[1].sharpness) == {s}


def test_binary_labels_and_soft_ones_teach_differently(ellipsoids: Examples) -> None:
    a, b = (trained(replace(SMALL, labels=kind, epochs=1), ellipsoids)[1] for kind in ("binary", "fixed"))
    assert a.losses != b.losses


def test_the_same_seed_gives_the_same_network(ellipsoids: Examples) -> None:
    (a, _), (b, _) = (trained(replace(SMALL, epochs=2), ellipsoids) for _ in range(2))
    c, _ = trained(replace(SMALL, epochs=2, seed=1), ellipsoids)
    assert same(a, b)
    assert not same(a, c)


def test_a_stopped_training_goes_on_as_if_it_had_not_been(tmp_path: Path, ellipsoids: Examples) -> None:
    whole, state = trained(SMALL, ellipsoids)
    with pytest.raises(KeyboardInterrupt):
        trained(SMALL, ellipsoids, tmp_path / "c.pt", stop=2)
    again, resumed = trained(SMALL, ellipsoids, tmp_path / "c.pt")
    assert same(whole, again)
    assert resumed == state


def test_another_plan_does_not_go_on(tmp_path: Path, ellipsoids: Examples) -> None:
    plan, path = replace(SMALL, epochs=1), tmp_path / "c.pt"
    trained(plan, ellipsoids, path)
    with pytest.raises(ValueError, match=r"another plan \(points 201, was 200; seed 3, was 0\)"):
        trained(replace(plan, seed=3, near=151), ellipsoids, path)
    with pytest.raises(ValueError, match=r"another plan \(width 0\.2, was 0\.1\)"):
        trained(replace(plan, design=Design(0.2)), ellipsoids, path)
    as_many = Examples([ellipsoid(seed) for seed in range(1, 25)])
    for others in (ellipsoids.first(16), as_many):
        with pytest.raises(ValueError, match=r"another plan \(other shapes\)"):
            trained(plan, others, path)


def test_a_checkpoint_that_does_not_fit_is_told(tmp_path: Path, ellipsoids: Examples) -> None:
    plan, path = replace(SMALL, epochs=1), tmp_path / "c.pt"
    trained(plan, ellipsoids, path)
    whole = path.read_bytes()
    good = torch.load(path, weights_only=True)
    longer = {name: [*values, 0.5] for name, values in good["state"].items()}
    changes: list[dict[str, Any]] = [
        {"parts": good["parts"][:2]},
        {"parts": good["parts"][::-1]},
        {"parts": None},
        {"state": {}},
        {"state": longer},
        {"epoch": 7},
        {"made_by": "{}"},
        {"made_by": None},
    ]
    for change in changes:
        torch.save({**good, **change}, path)
        with pytest.raises(ValueError, match=r"c\.pt cannot be read; remove it to begin anew \(\w+\)$"):
            trained(plan, ellipsoids, path)
    for damaged in (whole[:2000], b"", b"other"):
        path.write_bytes(damaged)
        with pytest.raises(ValueError, match=r"c\.pt cannot be read; remove it to begin anew \(\w+\)$"):
            trained(plan, ellipsoids, path)


def test_a_loss_that_is_not_finite_ends_it(tmp_path: Path, ellipsoids: Examples) -> None:
    with pytest.raises(ValueError, match="not finite after epoch 1: take a lower --rate"):
        trained(replace(SMALL, rate=1e30), ellipsoids, tmp_path / "c.pt")
    assert not (tmp_path / "c.pt").exists()
