"""Sessions as phones write them: the contract, and that cameras see what the pictures show."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from contracts.errors import ImageMissing, PoseInvalid, PosesUnreadable, TooFewImages
from contracts.session import SessionFrame, parse_line, schema
from tests.captures import DOT, Rig
from workers.geometry.cameras import from_llff
from workers.prepare.capture import Capture, Shot, Upload, checked_shots
from workers.prepare.readers.arcore import session
from workers.prepare.readers.arcore.session import gather, read
from workers.simulate.capture import simulate

SCHEMAS = Path(__file__).parents[2] / "contracts/schemas"
HEADER: dict[str, Any] = {"type": "session"}


def frame(rig: Rig, index: int, **more: Any) -> dict[str, Any]:
    return {
        "type": "frame",
        "frame_index": index,
        "image": f"images/photo_{index:02d}.png",
        "camera": {"pose_matrix": rig.c2w[index].T.ravel().tolist(), "tracking_state": "TRACKING"},
        "intrinsics": {
            "width": rig.width, "height": rig.height, "fx": rig.fx, "fy": rig.fy, "cx": rig.cx, "cy": rig.cy
        },
        "min_depth": 1.5,
        "max_depth": 3.0,
        "anchors": [],
        **more,
    }  # fmt: skip


def anchor(shift: float, state: str = "TRACKING", **more: Any) -> dict[str, Any]:
    """One whose world has been shifted along x since it was created."""
    still = [0.0, 0.0, 0.0, 1.0]
    return {
        "id": "anchor-0",
        "tracking_state": state,
        "initial_pose": {"position": [0.0, 0.0, 0.0], "quaternion_xyzw": still},
        "current_pose": {"position": [shift, 0.0, 0.0], "quaternion_xyzw": still},
        **more,
    }


def written(folder: Path, *lines: dict[str, Any] | str) -> Path:
    path = folder / "session.jsonl"
    path.write_text("\n".join(line if isinstance(line, str) else json.dumps(line) for line in lines) + "\n")
    return path


def photos(folder: Path, rig: Rig, turns: int = 0) -> None:
    """The rig's pictures, turned by so many quarters clockwise before they are stored."""
    (folder / "images").mkdir(parents=True)
    for k in range(rig.views):
        Image.fromarray(np.rot90(rig.photo(k), -turns)).save(folder / f"images/photo_{k:02d}.png")


def captured(folder: Path, *lines: dict[str, Any] | str) -> Capture:
    path = written(folder, *lines)
    capture = read(Upload(folder), path)
    checked_shots(capture.shots)
    return capture


def brightness_at_the_dot(shot: Shot) -> int:
    """Of the picture, where its camera sees the bright dot; written out from the pinhole's definition."""
    assert shot.c2w is not None
    assert shot.lens is not None
    assert shot.lens.centre is not None
    x, y, z = shot.c2w[:3, :3].T @ (DOT - shot.c2w[:3, 3])
    column = shot.lens.centre[0] + shot.lens.focal[0] * x / -z
    row = shot.lens.centre[1] - shot.lens.focal[1] * y / -z
    picture = np.array(Image.open(shot.image))
    assert shot.lens.size == (picture.shape[1], picture.shape[0])
    return int(picture[int(row), int(column), 0])


@pytest.fixture
def rig() -> Rig:
    return Rig(cx=84.0, cy=55.0)


def test_cameras_see_what_the_pictures_show(rig: Rig, tmp_path: Path) -> None:
    photos(tmp_path, rig)
    capture = captured(tmp_path, HEADER, *(frame(rig, k) for k in range(rig.views)))
    assert min(map(brightness_at_the_dot, capture.shots)) > 180
    assert [shot.name for shot in capture.shots] == [f"images/photo_{k:02d}.png" for k in range(rig.views)]
    assert capture.shots[3].depth == (1.5, 3.0)
    assert capture.world.up == (0, 1, 0)
    assert capture.world.scale == 1
    assert capture.ordered
    assert capture.tracked


@pytest.mark.parametrize("turns", [1, 2, 3])
def test_poses_of_the_sensor_go_with_pictures_that_were_turned(rig: Rig, turns: int, tmp_path: Path) -> None:
    photos(tmp_path, rig, turns)
    w, h, cx, cy = rig.width, rig.height, rig.cx, rig.cy
    centre = {1: (h - cy, cx), 2: (w - cx, h - cy), 3: (cy, w - cx)}[turns]
    size = (h, w) if turns % 2 else (w, h)
    lens = dict(
        zip(("width", "height", "fx", "fy", "cx", "cy"), (*size, rig.fx, rig.fy, *centre), strict=True)
    )
    header = {**HEADER, "pose_axes": "sensor", "image_rotation": 90 * turns}
    capture = captured(tmp_path, header, *(frame(rig, k, intrinsics=lens) for k in range(rig.views)))
    assert min(map(brightness_at_the_dot, capture.shots)) > 180
    unturned = captured(tmp_path, HEADER, *(frame(rig, k, intrinsics=lens) for k in range(rig.views)))
    assert min(map(brightness_at_the_dot, unturned.shots)) < 60


def test_drift_is_taken_out_and_the_matrix_is_that_of_the_shots(rig: Rig, tmp_path: Path) -> None:
    photos(tmp_path, rig)
    lines = []
    for k in range(rig.views):
        shift = 0.2 * (k >= 4)
        moved = rig.c2w[k].copy()
        moved[0, 3] += shift
        camera = {"pose_matrix": moved.T.ravel().tolist(), "tracking_state": "TRACKING"}
        lines.append(frame(rig, k, camera=camera, anchors=[anchor(shift)]))
    capture = captured(tmp_path, HEADER, *lines)
    assert min(map(brightness_at_the_dot, capture.shots)) > 180
    jump = {"frame": 4, "metres": pytest.approx(0.2, abs=1e-3), "degrees": pytest.approx(0, abs=0.01)}
    assert capture.metrics["session"]["jumps"] == [jump]
    rows = capture.arrays["compensation_matrix"]
    c2w, height, width, focal, near, far = from_llff(rows)
    assert c2w == pytest.approx(np.array([shot.c2w for shot in capture.shots]))
    assert {*height, *width, *focal, *near, *far} == {rig.height, rig.width, rig.fx, 1.5, 3.0}


def test_frames_that_were_not_tracked_are_left_out(rig: Rig, tmp_path: Path) -> None:
    photos(tmp_path, rig)
    lines = [frame(rig, k, anchors=[anchor(0)]) for k in range(rig.views)]
    lines[2]["camera"] = {"pose_matrix": [0.0] * 16, "tracking_state": "PAUSED"}
    capture = captured(tmp_path, HEADER, *lines)
    assert len(capture.shots) == rig.views - 1
    assert capture.warnings == ["1 of 8 photos were left out: the phone did not know where it was."]
    for line in lines:
        line["camera"]["tracking_state"] = "STOPPED"
    with pytest.raises(TooFewImages):
        captured(tmp_path, HEADER, *lines)


def test_what_anchors_cannot_tell_is_said(rig: Rig, tmp_path: Path) -> None:
    photos(tmp_path, rig)
    assert captured(tmp_path, HEADER, *(frame(rig, k) for k in range(8))).warnings == [
        "The session has no anchors, so the drift of the phone's poses could not be corrected."
    ]
    lines = [frame(rig, k, anchors=[anchor(0, "PAUSED" if k in (3, 4) else "TRACKING")]) for k in range(8)]
    capture = captured(tmp_path, HEADER, *lines)
    assert capture.warnings == ["No anchor was tracked at 2 of 8 photos; the last correction was kept."]
    assert capture.metrics["session"]["without_anchors"] == [3, 4]


def test_anchors_are_gathered_by_their_names_over_frames(rig: Rig) -> None:
    late = {**anchor(0.5), "id": "late"}
    lines = [frame(rig, 3, anchors=[anchor(0.1, "PAUSED")]), frame(rig, 5, anchors=[late, anchor(0.2)])]
    found = gather([SessionFrame.model_validate_json(json.dumps(line)) for line in lines])
    assert found.names == ("anchor-0", "late")
    assert found.created.tolist() == [0, 1]
    assert found.tracked.tolist() == [[False, False], [True, True]]
    assert found.current[1, :, 0].tolist() == [0.2, 0.5]
    assert found.initial[:, :3].tolist() == [[0, 0, 0]] * 2
    assert found.valid.tolist() == [[False, False], [False, True]]


def broken(rig: Rig) -> Iterator[tuple[int, str, list[dict[str, Any] | str]]]:
    """(line, part of the reason, lines)"""
    good = frame(rig, 0)
    yield 2, "EOF", [HEADER, '{"type": "frame"']
    yield 2, "frame_index", [HEADER, {**good, "frame_index": "0"}]
    yield 2, "fx", [HEADER, {**good, "intrinsics": {**good["intrinsics"], "fx": 0.0}}]
    yield 2, "pose_matrix", [HEADER, {**good, "camera": {**good["camera"], "pose_matrix": [1.0] * 12}}]
    yield 2, "finite", [HEADER, json.dumps({**good, "min_depth": float("nan")})]
    yield 2, "length 1", [HEADER, frame(rig, 0, anchors=[anchor(0, current_pose={"position": [0.0, 0, 0], "quaternion_xyzw": [0.0, 0, 0, 2]})])]  # fmt: skip  # noqa: E501
    yield 2, "each id once", [HEADER, frame(rig, 0, anchors=[anchor(0), anchor(1)])]
    yield 2, "either image or video_time", [HEADER, {**good, "video_time": 1.0}]
    yield 2, "video in the header", [HEADER, {**good, "image": None, "video_time": 1.0}]
    yield 2, "video in the header", [{**HEADER, "video": "walk.mp4"}, good]
    yield 4, "count up", [HEADER, good, "", good]
    yield 2, "first line", [HEADER, HEADER]
    yield 1, "first line", [good]
    yield 1, "expected tags", [{"type": "scene"}]
    yield 2, "'..'", [HEADER, {**good, "image": "../photo.png"}]


@pytest.mark.parametrize(("line", "reason", "lines"), [*broken(Rig())])
def test_a_broken_line_is_named(
    line: int, reason: str, lines: list[dict[str, Any] | str], tmp_path: Path
) -> None:
    with pytest.raises(PosesUnreadable, match=f"session.jsonl, line {line}: ") as caught:
        captured(tmp_path, *lines)
    assert reason in str(caught.value)


def test_poses_in_rows_and_missing_pictures_are_refused(rig: Rig, tmp_path: Path) -> None:
    photos(tmp_path, rig)
    lines = [frame(rig, k) for k in range(8)]
    with pytest.raises(ImageMissing):
        captured(tmp_path, HEADER, *lines[:7], {**lines[7], "image": "images/other.png"})
    lines[5]["camera"]["pose_matrix"] = rig.c2w[5].ravel().tolist()
    with pytest.raises(PoseInvalid, match=r"frame 5 .* column-major"):
        captured(tmp_path, HEADER, *lines)
    with pytest.raises(PosesUnreadable, match="empty"):
        captured(tmp_path, "")


def test_frames_of_a_video_are_chosen_along_the_way_each_picture_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rig = Rig(views=300)
    rig.c2w[:100] = rig.c2w[100]  # stands still for a third of the time
    asked: list[float] = []

    def frames_at(path: Path, times: list[float], folder: Path) -> list[Path]:
        assert path.name == "walk.mp4"
        asked.extend(times)
        folder.mkdir()
        return [folder / f"{int(5 * time)}.jpg" for time in times]  # five pictures a second

    monkeypatch.setattr(session, "frames_at", frames_at)
    (tmp_path / "walk.mp4").write_bytes(b"not looked at here")
    lines = [frame(rig, k, image=None, video_time=k / 30) for k in range(300)]
    path = written(tmp_path, {**HEADER, "video": "walk.mp4"}, *lines)
    capture = read(Upload(tmp_path), path)
    assert 90 <= len(asked) <= 100
    assert sum(time < 99 / 30 for time in asked) <= 1
    names = [shot.name for shot in capture.shots]
    assert names == [f"walk/{k}.jpg" for k in sorted({int(5 * time) for time in asked})]
    assert len(capture.arrays["compensation_matrix"]) == len(names)
    first = next(k for k in range(300) if int(5 * k / 30) == int(names[5][5:-4]) and k / 30 in asked)
    assert capture.shots[5].c2w == pytest.approx(rig.c2w[first])


def test_the_schema_and_its_example_are_those_of_the_models() -> None:
    """python -m contracts.session > contracts/schemas/session.schema.json"""
    assert json.loads((SCHEMAS / "session.schema.json").read_text()) == schema()
    lines = (SCHEMAS / "session.example.jsonl").read_bytes().splitlines()
    assert [parse_line(line).type for line in lines] == ["session", "frame", "frame", "frame"]


def test_every_field_is_described() -> None:
    for model in schema()["$defs"].values():
        for name, field in model["properties"].items():
            assert name in ("type", "camera", "intrinsics", "anchors") or field["description"]


def test_fields_that_nobody_knows_are_kept() -> None:
    line = parse_line(json.dumps({**HEADER, "phone": {"maker": "any"}}).encode())
    assert line.model_extra == {"phone": {"maker": "any"}}


def test_a_simulated_session_drifts_and_comes_back_as_it_truly_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("workers.simulate.capture.write_ply", lambda *_: None)
    simulate(tmp_path, views=24, seed=2, size=(60, 80), session=True, masks=False)
    assert sorted(path.name for path in (tmp_path / "capture").iterdir()) == ["images", "session.jsonl"]
    truth = json.loads((tmp_path / "truth/transforms.json").read_text())["frames"]
    facts = json.loads((tmp_path / "truth/truth.json").read_text())["session"]
    poses = np.array([entry["transform_matrix"] for entry in truth])

    capture = read(Upload(tmp_path / "capture"), tmp_path / "capture/session.jsonl")
    found = np.array([shot.c2w for shot in capture.shots])
    raw = np.array(facts["drift"]) @ poses

    def off(c2w: NDArray[np.float64]) -> float:
        return float(np.sqrt(((c2w - poses)[:, :3, 3] ** 2).sum(axis=1).mean()))

    assert off(raw) > 0.02
    assert off(found) < 0.1 * off(raw)
    report = capture.metrics["session"]
    assert {jump["frame"] for jump in report["jumps"]} == set(facts["jumps"])
    assert [entry["id"] for entry in report["anchors"] if entry["noisy"]] == [facts["noisy_anchor"]]
    assert not capture.warnings
