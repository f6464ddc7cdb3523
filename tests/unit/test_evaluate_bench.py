"""What the quality benchmark does to captures, and how it adds up."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.bench.cases import Case, found, noisy
from tests.bench.pictures import views_of, write_losses
from tests.bench.quality import table
from tests.unit.test_evaluate_files import ball, write_case, write_model
from workers.evaluate.views import read_views
from workers.geometry.images import read_rgb


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A rendered case, a real capture with masks and one without."""
    folder = tmp_path_factory.mktemp("data")
    case = write_case(folder / "ball", ball())
    document = json.loads((case / "clean/transforms_train.json").read_text())
    for name, more in (("masked", {"mask_path": "000.png"}), ("unmasked", {})):
        (folder / name).mkdir()
        frames = [{**document["frames"][i % 3], **more} for i in range(17)]
        frames = [{**frame, "near": i} for i, frame in enumerate(frames)]
        (folder / name / "transforms.json").write_text(json.dumps({**document, "frames": frames}))
        for path in (case / "clean").glob("*.png"):
            (folder / name / path.name).write_bytes(path.read_bytes())
    return folder


def test_which_cases_there_are(data: Path, tmp_path: Path) -> None:
    cases = {case.name: case for case in found(data, tmp_path, lambda _: True)}
    assert set(cases) == {"ball", "masked"}
    assert cases["ball"].capture == data / "ball/clean/transforms_train.json"
    train, test = (
        [
            frame["near"]
            for frame in json.loads((tmp_path / f"masked/transforms_{part}.json").read_text())["frames"]
        ]
        for part in ("train", "test")
    )
    assert test == [4, 12]
    assert sorted(train + test) == list(range(17))
    assert [case.name for case in found(data, tmp_path, "ball".__eq__)] == ["ball"]


def test_noise_is_a_pixel_and_two_of_mask(data: Path, tmp_path: Path) -> None:
    case = Case("ball", data / "ball/clean/transforms_train.json", data / "ball")
    point = np.array([0.0, 0, 0, 1])
    moved, widths = [], set()
    for seed in range(40):
        changed = noisy(case, tmp_path / str(seed), seed)
        assert changed.truth == case.truth
        for before, after in zip(read_views(case.capture), read_views(changed.capture), strict=True):
            places = [view.camera.projection()[0] @ point for view in (before, after)]
            moved.append(places[0][:2] / places[0][2] - places[1][:2] / places[1][2])
            middle = [np.flatnonzero(view.read()[2][80] > 127) for view in (before, after)]
            widths.add(len(middle[1]) - len(middle[0]))
    assert np.sqrt((np.array(moved) ** 2).sum(1).mean()) == pytest.approx(1, abs=0.15)
    assert {-4, 4} <= widths <= {-4, -3, 3, 4}
    again = noisy(case, tmp_path / "again", 39).capture.read_text()
    assert again == (tmp_path / "39/ball_noisy/transforms_train.json").read_text()


def test_masks_in_files_are_changed_too(data: Path, tmp_path: Path) -> None:
    masked = next(case for case in found(data, tmp_path, "masked".__eq__))
    folder = noisy(masked, tmp_path, 0).capture.parent
    before, after = (
        np.array(Image.open(path / "000.png").convert("L")) > 127 for path in (data / "masked", folder)
    )
    assert abs(int(after.sum()) - int(before.sum())) > 100


def test_the_table_has_a_row_of_means() -> None:
    def result(score: float | None, steps: dict[str, float]) -> dict[str, object]:
        geometry = {} if score is None else {"f_score_1": score}
        stages = {"reconstruct": {"cpu_seconds": 2.0, "metrics": {"cpu_seconds": steps}}}
        return {"evaluation": {"geometry": geometry}, "stages": stages}

    failed = {"error": "no"}
    lines = table({"a": result(0.5, {"hull": 1.5}), "b": result(1.0, {}), "c": result(None, {}), "d": failed})
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines.splitlines()]
    assert [row[:2] for row in rows[2:]] == [
        ["a", "0.5000"], ["b", "1.0000"], ["c", ""], ["d", ""], ["mean", "0.7500"],
    ]  # fmt: skip
    assert rows[2][-1] == "hull 1.5"
    assert {len(row) for row in rows} == {len(rows[0])}


def test_pictures(data: Path, tmp_path: Path) -> None:
    model = write_model(tmp_path / "model", ball())
    row = views_of(model, data / "ball", "ball")
    assert row.shape == (264, 1920, 3)
    photo, render = row[24:, :240].astype(int), row[24:, 240:480].astype(int)
    assert photo.max() > 50
    assert np.abs(photo - render).mean() < 0.5
    assert not row[24:, 960:].any()  # two views are all there are
    write_losses(tmp_path / "none.png", {"a": None, "b": []})
    assert not (tmp_path / "none.png").exists()
    losses = [{"round": i, "colour": 1 / (i + 1), "outline": 2.0} for i in range(20)]
    write_losses(tmp_path / "losses.png", {"a": losses, "b": None})
    assert read_rgb(tmp_path / "losses.png").std() > 5
