"""Which files of an upload are taken for the capture, where several could be."""

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from contracts.errors import FormatUnsupported, ImageUnreadable, PosesUnreadable
from contracts.events import DatasetUploaded, UploadedFile
from tests.captures import Rig, write
from workers.prepare.capture import Upload, checked_shots
from workers.prepare.compute import DEFAULTS
from workers.prepare.poses import posed
from workers.prepare.readers import photos
from workers.prepare.readers.layouts import LAYOUTS, read_capture
from workers.prepare.readers.video import unused
from workers.prepare.square import prepare
from workers.prepare.worker import Prepare
from workers.runtime.safe_input import read_glance
from workers.runtime.settings import Settings
from workers.upload import CaptureError, files_of


def upload(folder: Path, pictures: int, *others: str) -> Upload:
    for number in range(pictures):
        Image.fromarray(np.zeros((64, 64, 3), np.uint8)).save(folder / f"{number}.png")
    for name in others:
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_bytes(b"x")
    return Upload(folder)


def test_a_thumbnail_beside_a_video_is_not_the_capture(tmp_path: Path) -> None:
    both = upload(tmp_path, 2, "walk.mp4")
    assert photos.find(both) is None
    assert both.video() == tmp_path / "walk.mp4"


def test_many_photos_beside_a_video_are_the_capture(tmp_path: Path) -> None:
    assert photos.find(upload(tmp_path, 8, "walk.mp4")) == tmp_path


def test_a_single_photo_alone_is_a_capture(tmp_path: Path) -> None:
    assert len(read_capture(upload(tmp_path, 1)).shots) == 1


@pytest.mark.parametrize("orientation", [1, 6])
@pytest.mark.parametrize(("on_film", "focal"), [(85, 85 / math.hypot(36, 24) * 500), (None, 1.2 * 400)])
def test_a_single_photos_lens_is_exifs_or_a_usual_one(
    tmp_path: Path, orientation: int, on_film: int | None, focal: float
) -> None:
    """In pixels of its longer side, which is the same however the phone was held."""
    exif = Image.Exif()
    exif[0x0112] = orientation
    if on_film is not None:
        exif.get_ifd(0x8769)[0xA405] = on_film
    Image.fromarray(np.zeros((300, 400, 3), np.uint8)).save(tmp_path / "a.jpg", exif=exif)
    (shot,) = posed(read_capture(Upload(tmp_path)), DEFAULTS, tmp_path, lambda part, step: None).shots
    assert shot.c2w is None
    (tmp_path / "out" / "images").mkdir(parents=True)
    made = prepare(shot, "a", tmp_path / "out", 512, use_masks=False)
    assert np.array(made.intrinsics[:2]) / 512 * 400 == pytest.approx([focal, focal], rel=0.01)
    assert made.photo == ((400, 300) if orientation == 1 else (300, 400))


def test_masks_and_depths_are_no_photos(tmp_path: Path) -> None:
    found = read_capture(upload(tmp_path, 8, "masks/0.png", "Depth/0.png"))
    assert len(found.shots) == 8
    assert found.shots[0].mask == tmp_path / "masks" / "0.png"


@pytest.mark.parametrize("kind", [name for name, _, _ in LAYOUTS if name != "photos"])
def test_a_kind_that_nothing_is_of_is_named(kind: str, tmp_path: Path) -> None:
    with pytest.raises(FormatUnsupported, match=f"announced as {kind}"):
        read_capture(upload(tmp_path, 8), kind)


@pytest.mark.parametrize("distortion", [{"k1": 1e10}, {"k2": -1e300}, {"p1": 5e3}])
def test_distortion_beyond_reason_is_refused(distortion: dict[str, Any], tmp_path: Path) -> None:
    write(tmp_path / "capture", Rig(distortion=(0.0, 0.0, 0.0, 0.0, 0.0)))
    listing = tmp_path / "capture" / "transforms.json"
    name, value = next(iter(distortion.items()))
    listing.write_text(listing.read_text().replace(f'"{name}": 0.0', f'"{name}": {value}'))
    with pytest.raises(PosesUnreadable, match="distortion"):
        checked_shots(read_capture(Upload(tmp_path / "capture")).shots)


def test_a_grey_picture_of_16_bits_is_seen_as_it_is(tmp_path: Path) -> None:
    ramp = np.tile(np.linspace(0, 65535, 128).astype(np.uint16), (96, 1))
    Image.fromarray(ramp).save(tmp_path / "deep.png")
    seen = read_glance(tmp_path / "deep.png", "deep.png", 640)
    assert seen.grey[0, 0] == 0
    assert abs(int(seen.grey[0, 64]) - 128) <= 2
    assert seen.grey[0, -1] == 255


def test_a_session_named_without_its_folder_is_told_so(tmp_path: Path) -> None:
    (tmp_path / "session.jsonl").write_text("{}")
    with pytest.raises(CaptureError, match="name the folder"):
        files_of(tmp_path / "session.jsonl")


def test_an_empty_file_is_told_to_be_empty(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(b"")
    with pytest.raises(ImageUnreadable, match=r"a\.jpg is empty"):
        read_glance(tmp_path / "a.jpg", "a.jpg", 640)


def test_frames_of_a_video_never_go_where_something_is(tmp_path: Path) -> None:
    for name in ("walk", "walk.mp4", "bare"):
        (tmp_path / name).write_bytes(b"x")
    assert unused(tmp_path / "walk.mp4") == tmp_path / "walk_"
    assert unused(tmp_path / "bare") == tmp_path / "bare_"


def test_numbers_beyond_all_floats_are_refused_in_an_export_too(tmp_path: Path) -> None:
    (tmp_path / "rgb").mkdir()
    Image.fromarray(np.zeros((64, 64, 3), np.uint8)).save(tmp_path / "rgb" / "0.jpg")
    told = {"w": 64, "h": 64, "K": [60, 0, 0, 0, 60, 0, 32, 32, 1], "poses": [[10**400, 0, 0, 1, 0, 0, 0]]}
    (tmp_path / "metadata").write_text(json.dumps(told))
    with pytest.raises(PosesUnreadable, match="Record3D"):
        read_capture(Upload(tmp_path))


def test_a_stage_on_folders_takes_what_an_event_asks_for_by_default() -> None:
    file = UploadedFile(key="captures/default/a/upload/b.jpg", bytes=1)
    event = DatasetUploaded(capture_id="a", files=(file,))
    assert Prepare(Settings()).parameters(event) == DEFAULTS
