"""Exports of other recorders, written as those write them: cameras see what the pictures show."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from scipy.spatial.transform import Rotation

from contracts.errors import PosesUnreadable
from tests.captures import Rig
from tests.unit.test_arcore_session import brightness_at_the_dot
from workers.prepare.capture import Upload, checked_shots
from workers.prepare.readers.arcore.exports import find_record3d, find_scanner, read_record3d, read_scanner

RIG = Rig(cx=84.0, cy=55.0)


def record3d(folder: Path, **more: Any) -> None:
    (folder / "rgb").mkdir(parents=True)
    poses = []
    for k in range(RIG.views):
        Image.fromarray(RIG.photo(k)).save(folder / f"rgb/{k}.jpg", quality=95)
        poses.append([*Rotation.from_matrix(RIG.c2w[k, :3, :3]).as_quat(), *RIG.c2w[k, :3, 3]])
    matrix = [RIG.fx, 0, 0, 0, RIG.fy, 0, RIG.cx, RIG.cy, 1]
    document = {"w": RIG.width, "h": RIG.height, "fps": 60, "K": matrix, "poses": poses, **more}
    (folder / "metadata").write_text(json.dumps(document))


def scanner(folder: Path) -> None:
    folder.mkdir(parents=True)
    for k in range(3 * RIG.views):
        document: dict[str, Any] = {
            "cameraPoseARFrame": RIG.c2w[k // 3].ravel().tolist(),
            "intrinsics": [RIG.fx, 0, RIG.cx, 0, RIG.fy, RIG.cy, 0, 0, 1],
            "time": k / 60,
        }
        (folder / f"frame_{k:05d}.json").write_text(json.dumps(document))
        if k % 3 == 0:
            Image.fromarray(RIG.photo(k // 3)).save(folder / f"frame_{k:05d}.jpg", quality=95)
    (folder / "info.json").write_text("{}")


def test_record3d(tmp_path: Path) -> None:
    record3d(tmp_path / "EXR_RGBD")
    upload = Upload(tmp_path)
    path = find_record3d(upload)
    assert path is not None
    capture = read_record3d(upload, path)
    checked_shots(capture.shots)
    assert len(capture.shots) == RIG.views
    assert min(map(brightness_at_the_dot, capture.shots)) > 170
    assert (capture.world.scale, capture.tracked, capture.ordered) == (1, True, True)
    assert find_scanner(upload) is None


def test_record3d_prefers_the_lens_of_each_frame_and_passes_over_frames_without_pictures(
    tmp_path: Path,
) -> None:
    lenses = [[100.0 + k, 101.0, 80.0, 60.0] for k in range(RIG.views)]
    record3d(tmp_path, perFrameIntrinsicCoeffs=lenses)
    (tmp_path / "rgb/5.jpg").unlink()
    capture = read_record3d(Upload(tmp_path), tmp_path / "metadata")
    assert [shot.lens.focal for shot in capture.shots if shot.lens] == [
        (100.0 + k, 101.0) for k in range(RIG.views) if k != 5
    ]


def test_scanner_app(tmp_path: Path) -> None:
    scanner(tmp_path / "2024_05_17")
    upload = Upload(tmp_path)
    path = find_scanner(upload)
    assert path is not None
    capture = read_scanner(upload, path)
    checked_shots(capture.shots)
    assert len(capture.shots) == RIG.views
    assert min(map(brightness_at_the_dot, capture.shots)) > 170
    assert find_record3d(upload) is None


def test_long_recordings_are_thinned(tmp_path: Path) -> None:
    many = Rig(views=250, width=64, height=64, cx=32, cy=32)
    poses = [[*Rotation.from_matrix(c[:3, :3]).as_quat(), *c[:3, 3]] for c in many.c2w]
    (tmp_path / "rgbd").mkdir()
    picture = Image.fromarray(np.zeros((64, 64, 3), np.uint8))
    for k in range(250):
        picture.save(tmp_path / f"rgbd/{k}.jpg")
    document = {"w": 64, "h": 64, "K": [70, 0, 0, 0, 70, 0, 32, 32, 1], "poses": poses}
    (tmp_path / "metadata.json").write_text(json.dumps(document))
    capture = read_record3d(Upload(tmp_path), tmp_path / "metadata.json")
    numbers = [int(shot.image.stem) for shot in capture.shots]
    assert len(numbers) == 100
    assert np.diff(numbers).max() == 3


@pytest.mark.parametrize(
    "change",
    [{"K": [1, 2]}, {"poses": [[1, 2, 3]]}, {"poses": 5}, {"w": "wide"}, {"perFrameIntrinsicCoeffs": [1]}],
)
def test_damaged_metadata_is_refused(change: dict[str, Any], tmp_path: Path) -> None:
    record3d(tmp_path, **change)
    with pytest.raises(PosesUnreadable, match="metadata is not Record3D's"):
        read_record3d(Upload(tmp_path), tmp_path / "metadata")


@pytest.mark.parametrize(
    "change", [{"intrinsics": [1, 2]}, {"cameraPoseARFrame": "none"}, {"intrinsics": None}]
)
def test_a_damaged_frame_is_refused_by_name(change: dict[str, Any], tmp_path: Path) -> None:
    scanner(tmp_path / "scan")
    path = tmp_path / "scan/frame_00006.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
    with pytest.raises(PosesUnreadable, match=r"frame_00006\.json is not 3D Scanner App's"):
        read_scanner(Upload(tmp_path), tmp_path / "scan/frame_00000.json")
