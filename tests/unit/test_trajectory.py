"""Trajectories matched, aligned, measured and drawn."""

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from tests.unit.test_similarity import a_similarity, cameras
from workers.evaluate.errors import CannotEvaluate
from workers.evaluate.trajectory import Trajectory, compare, figures, matches
from workers.evaluate.trajectory_plot import plot
from workers.geometry.similarity import moved

Array = NDArray[np.float64]


def named(c2w: Array, form: str = "images/photo_{}.jpg") -> Trajectory:
    return Trajectory(tuple(form.format(i) for i in range(len(c2w))), c2w)


def ring(count: int = 24) -> Array:
    """Cameras on a circle of radius 2 around the origin, looking at it, y up."""
    angle = np.linspace(0, 2 * np.pi, count, endpoint=False)
    c2w = np.tile(np.eye(4), (count, 1, 1))
    c2w[:, :3, :3] = Rotation.from_euler("y", angle[:, None]).as_matrix()
    c2w[:, :3, 3] = 2 * c2w[:, :3, 2]
    return c2w


@pytest.mark.parametrize(
    ("ours", "theirs", "pairs"),
    [
        (["images/1.jpg", "images/2.jpg"], ["2.png", "1"], [(0, 1), (1, 0)]),
        (["train/1.png", "test/1.png"], ["1.png"], []),
        (["train/1.png", "test/1.png"], ["x/test/1.jpg", "x/train/1.jpg"], [(0, 1), (1, 0)]),
        (["train/1.png", "test/1.png"], ["train/1.png", "other/1.png"], [(0, 0)]),
        (["a/frame.0001.png", "a/frame.0002.png"], ["frame.0002", "frame.0001"], [(0, 1), (1, 0)]),
        (["a\\1.JPG"], ["b/1.heic"], [(0, 0)]),
        (["1.jpg"], ["2.jpg"], []),
        ([], ["2.jpg"], []),
    ],
)
def test_images_match_by_the_tail_of_their_path(
    ours: list[str], theirs: list[str], pairs: list[tuple[int, int]]
) -> None:
    assert [tuple(pair) for pair in matches(tuple(ours), tuple(theirs)).tolist()] == pairs


def test_a_moved_turned_and_scaled_copy_is_the_same() -> None:
    reference = named(cameras(12))
    back = np.asarray(np.linalg.inv(a_similarity()), np.float64)
    other = named(moved(back, reference.c2w)[::-1])
    other = Trajectory(other.names[::-1], other.c2w)
    comparison = compare(reference, other)
    found = figures(comparison, reference)
    assert comparison.similarity == pytest.approx(a_similarity())
    assert comparison.difference == pytest.approx(np.tile(np.eye(4), (12, 1, 1)), abs=1e-9)
    assert found["scale"] == pytest.approx(2.5)
    assert found["matched"] == 12
    for part in (found["ate"], found["rotation_deg"], found["rpe"]["translation"]):
        assert part == pytest.approx(0, abs=1e-6)


def test_errors_that_were_put_in_are_measured() -> None:
    """Centres alternately 0.01 too far in and out along the axis of the ring: the alignment cannot take that
    away. And each camera turned by 3 degrees about its own line of sight."""
    reference = named(ring())
    c2w = reference.c2w.copy()
    c2w[:, 1, 3] += 0.01 * (-1) ** np.arange(24)
    c2w[:, :3, :3] @= Rotation.from_euler("z", 3, degrees=True).as_matrix()
    comparison = compare(reference, named(c2w))
    found = figures(comparison, reference)
    path = 23 * 2 * 2 * np.sin(np.pi / 24)
    assert found["path"] == pytest.approx(path)
    assert found["ate"] == pytest.approx(0.01, rel=1e-3)
    assert found["ate_percent"] == pytest.approx(100 * 0.01 / path, rel=1e-3)
    assert found["rotation_deg"] == pytest.approx(3, rel=1e-3)
    assert found["rpe"]["translation"] > 0.02, "0.02 from each to the next, and what the turn adds"
    assert found["outliers"] == []


def test_the_difference_is_inverse_a_times_aligned_b() -> None:
    reference = named(ring())
    c2w = reference.c2w.copy()
    step = np.eye(4)
    step[:3, :3] = Rotation.from_euler("x", 10, degrees=True).as_matrix()
    c2w[5] = c2w[5] @ step
    difference = compare(reference, named(c2w)).difference
    index = reference.ordered().names.index("images/photo_5.jpg")
    assert difference[index] == pytest.approx(step, abs=1e-9)
    assert np.delete(difference, index, 0) == pytest.approx(np.tile(np.eye(4), (23, 1, 1)), abs=1e-9)


def test_relative_error_is_of_neighbours_in_natural_order() -> None:
    """A jump between photo_9 and photo_10 is one bad motion of eleven, however the names sort as text."""
    reference = named(cameras(12))
    c2w = reference.c2w.copy()
    c2w[10:, :3, 3] += [0.02, 0, 0]
    comparison = compare(reference, named(c2w))
    assert comparison.names == reference.names
    step = figures(comparison, reference)["rpe"]["translation"]
    assert step == pytest.approx(0.02 / np.sqrt(11), rel=0.2)


def test_wild_cameras_are_named_and_count() -> None:
    reference = named(cameras(20))
    c2w = reference.c2w.copy()
    c2w[3, :3, 3] += [30, 0, 0]
    comparison = compare(reference, named(c2w))
    found = figures(comparison, reference)
    assert found["outliers"] == ["images/photo_3.jpg"]
    assert found["ate"] == pytest.approx(30 / np.sqrt(20))
    assert found["ate_median"] == pytest.approx(0, abs=1e-9)


def test_images_without_a_partner_are_left_out() -> None:
    reference = named(cameras(9))
    other = Trajectory(reference.names[2:8], reference.c2w[2:8])
    comparison = compare(reference, other)
    assert comparison.names == reference.names[2:8]
    assert comparison.pairs.tolist() == [[i, i - 2] for i in range(2, 8)]


@pytest.mark.parametrize(("common", "said"), [(0, "none of the 6 and 5"), (2, "only 2 of the 6 and 5")])
def test_too_few_common_names_are_one_sentence(common: int, said: str) -> None:
    reference = named(cameras(6))
    names = reference.names[:common] + tuple(f"other_{i}.jpg" for i in range(5 - common))
    with pytest.raises(CannotEvaluate, match=said):
        compare(reference, Trajectory(names, cameras(5)))


def test_standing_still_cannot_be_aligned() -> None:
    still = cameras(5)
    still[:, :3, 3] = 1.0
    with pytest.raises(CannotEvaluate, match="at one place"):
        compare(named(cameras(5)), named(still))


def test_the_picture_shows_both_from_above_and_from_the_side() -> None:
    """A ring is round from above and flat from the side; a line joins the camera that was lifted to where
    it belongs."""
    reference = named(ring())
    c2w = ring()
    c2w[0, :3, 3] += [0, 0.5, 0]
    picture = plot(compare(reference, named(c2w)))
    assert picture.shape == (796, 1440, 3)
    orange = (np.abs(picture.astype(int) - [36, 110, 222]) < 12).all(2)[80:, :]
    above, side = orange[:, :720], orange[:, 720:]
    tall = [np.ptp(np.flatnonzero(panel.any(1))) for panel in (above, side)]
    wide = [np.ptp(np.flatnonzero(panel.any(0))) for panel in (above, side)]
    assert tall[0] == pytest.approx(wide[0], abs=12)
    assert wide[1] == pytest.approx(wide[0], abs=12)
    assert tall[1] < 0.3 * wide[1]
    grey = (np.ptp(picture.astype(int), axis=2) < 4) & (picture[..., 0] > 100) & (picture[..., 0] < 215)
    joined = grey[140:740, 720:].sum(0).max()  # between the views' titles and rulers
    assert joined == pytest.approx(0.5 * tall[0] / 4, rel=0.2), "half a unit, where the ring is four wide"
