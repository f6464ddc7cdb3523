"""mAA as the Image Matching Challenge 2023 defines it, on cases worked out by hand."""

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from workers.evaluate.errors import CannotEvaluate
from workers.evaluate.maa import (
    HAIPER,
    THRESHOLDS,
    Thresholds,
    mean_average_accuracy,
    overall,
    pair_errors,
    read_labels,
)

Array = NDArray[np.float64]


def cameras(count: int = 7) -> Array:
    rng = np.random.default_rng(2)
    c2w = np.tile(np.eye(4), (count, 1, 1))
    c2w[:, :3, :3] = Rotation.random(count, rng=rng).as_matrix()
    c2w[:, :3, 3] = 3 * rng.normal(size=(count, 3))
    return c2w


def as_published(reference: Array, found: Array, thresholds: Thresholds) -> float:
    """The challenge's own steps, one pair at a time, written from its definition: world-to-camera matrices,
    quaternions' angle, the translation at the true length and of either sign."""
    errors = []
    for i in range(len(reference)):
        for j in range(i + 1, len(reference)):
            (turn, step), (found_turn, found_step) = (
                (lambda m: (m[:3, :3], m[:3, 3]))(np.linalg.inv(c2w[j]) @ c2w[i])
                for c2w in (reference, found)
            )
            p, q = (Rotation.from_matrix(each).as_quat() for each in (turn, found_turn))
            angle = np.degrees(np.arccos(np.clip(2 * (p @ q) ** 2 - 1, -1, 1)))
            scaled = found_step * np.linalg.norm(step) / np.linalg.norm(found_step)
            errors.append((angle, min(np.linalg.norm(step - scaled), np.linalg.norm(step + scaled))))
    steps = zip(np.linspace(*thresholds.rotation, 10), np.geomspace(*thresholds.translation, 10), strict=True)
    return float(np.mean([[a <= degrees and t <= metres for a, t in errors] for degrees, metres in steps]))


def turned(c2w: Array, index: int, degrees: float) -> Array:
    result = c2w.copy()
    result[index, :3, :3] @= Rotation.from_euler("z", degrees, degrees=True).as_matrix()
    return result


def test_identity_is_one() -> None:
    assert mean_average_accuracy(cameras(), cameras()) == 1.0


def test_scale_and_world_frame_do_not_matter() -> None:
    reference = cameras()
    found = reference.copy()
    rng = np.random.default_rng(0)
    found[:, :3, 3] += 0.1 * rng.normal(size=(7, 3))
    score = mean_average_accuracy(reference, found)
    assert 0.1 < score < 0.9
    world = np.eye(4)
    world[:3, :3] = Rotation.from_rotvec([1, 2, 3]).as_matrix()
    world[:3, 3] = [10, -20, 5]
    elsewhere: Array = world @ found
    elsewhere[:, :3, 3] *= 123.0
    assert mean_average_accuracy(reference, elsewhere) == pytest.approx(score)


def test_camera_to_world_taken_for_world_to_camera_is_punished() -> None:
    inverse = np.asarray(np.linalg.inv(cameras()), np.float64)
    assert mean_average_accuracy(cameras(), inverse) < 0.01


@pytest.mark.parametrize(("degrees", "steps"), [(0.5, 10), (1.5, 9), (9.5, 1), (10.5, 0)])
def test_a_turned_camera_loses_the_steps_below_its_angle(degrees: float, steps: int) -> None:
    """The bases are so short that what the turn does to the translations stays below all thresholds."""
    reference = cameras(3)
    reference[:, :3, 3] *= 1e-3
    score = mean_average_accuracy(reference, turned(reference, 0, degrees))
    assert score == pytest.approx((2 * steps / 10 + 1) / 3), "two pairs of three have that camera"


def test_a_translation_counts_at_the_true_length_and_of_either_sign() -> None:
    reference = np.tile(np.eye(4), (2, 1, 1))
    reference[1, :3, 3] = [2, 0, 0]
    angle = np.radians(5)
    for sign in (1, -1):
        found = reference.copy()
        found[1, :3, 3] = sign * 7 * np.array([np.cos(angle), np.sin(angle), 0])
        rotation, translation = pair_errors(reference, found)
        assert rotation == pytest.approx([0])
        assert translation == pytest.approx([2 * 2 * np.sin(angle / 2)])
        limits = np.geomspace(0.05, 0.5, 10)
        assert mean_average_accuracy(reference, found) == pytest.approx((limits >= translation[0]).mean())


def test_a_missing_image_is_wrong_in_all_of_its_pairs() -> None:
    found = cameras(5)
    found[2] = np.nan
    assert mean_average_accuracy(cameras(5), found) == pytest.approx(6 / 10)
    assert np.isinf(pair_errors(cameras(5), found)[1]).sum() == 4
    found[:] = np.nan
    assert mean_average_accuracy(cameras(5), found) == 0.0


@pytest.mark.parametrize("thresholds", set(THRESHOLDS.values()))
def test_all_pairs_at_once_equal_the_published_steps(thresholds: Thresholds) -> None:
    reference = cameras(12)
    rng = np.random.default_rng(8)
    found = reference.copy()
    found[:, :3, 3] += rng.normal(size=(12, 3)) * np.geomspace(1e-3, 1, 12)[:, None]
    found[:, :3, :3] @= Rotation.from_rotvec(rng.normal(size=(12, 3)) * 0.03).as_matrix()
    score = mean_average_accuracy(reference, found, thresholds)
    assert 0 < score < 1
    assert score == pytest.approx(as_published(reference, found, thresholds))


def test_the_steps_of_haiper() -> None:
    assert HAIPER.pairs[0] == pytest.approx((1, 0.05))
    assert HAIPER.pairs[1] == pytest.approx((2, 0.05 * 10 ** (1 / 9)))
    assert HAIPER.pairs[9] == pytest.approx((10, 0.5))


def test_scenes_are_averaged_within_their_data_set_first() -> None:
    scores = {("a", "x"): 1.0, ("a", "y"): 0.0, ("b", "z"): 0.8}
    assert overall(scores) == pytest.approx((0.5 + 0.8) / 2)


def test_labels_are_read_as_world_to_camera(tmp_path: Path) -> None:
    turn = Rotation.from_euler("xyz", [10, 20, 30], degrees=True).as_matrix()
    centre = np.array([1.0, 2, 3])
    numbers = ";".join(map(str, turn.ravel())), ";".join(map(str, -turn @ centre))
    path = tmp_path / "train_labels.csv"
    path.write_text(
        "dataset,scene,image_path,rotation_matrix,translation_vector\n"
        f"haiper,bike,haiper/bike/images/1.jpeg,{numbers[0]},{numbers[1]}\n"
        "urban,square,urban/square/images/2.png,1;0;0;0;1;0;0;0;1,0;0;-4\n"
    )
    labels = read_labels(path)
    assert list(labels) == [("haiper", "bike"), ("urban", "square")]
    bike = labels["haiper", "bike"]
    assert bike.names == ("haiper/bike/images/1.jpeg",)
    assert bike.c2w[0, :3, 3] == pytest.approx(centre)
    assert bike.c2w[0, :3, 2] == pytest.approx(-turn[2]), "OpenCV looks along +z, ours along -z"
    assert labels["urban", "square"].c2w[0] == pytest.approx(
        np.array([[1, 0, 0, 0], [0, -1, 0, 0], [0, 0, -1, 4], [0, 0, 0, 1]])
    )


@pytest.mark.parametrize("row", ["a,b,c,1;2,3", "a,b,c,1;0;0;0;1;0;0;0;1,0;nan;0", "a,b", "a,b,c,x;y,1;2;3"])
def test_a_broken_label_is_named_by_its_line(tmp_path: Path, row: str) -> None:
    path = tmp_path / "train_labels.csv"
    path.write_text(f"dataset,scene,image_path,rotation_matrix,translation_vector\n{row}\n")
    with pytest.raises(CannotEvaluate, match="line 2 of"):
        read_labels(path)
