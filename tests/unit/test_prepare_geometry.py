"""A point in space is where cameras.json says it is, in every image that prepare writes."""

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

import cv2
import numpy as np
import pytest
from PIL import Image

from contracts.dataset import CamerasFile
from contracts.events import DatasetUploaded, Options, Profile, UploadedFile
from tests import captures
from tests.captures import DOT, DOTS, Rig
from workers.prepare import compute
from workers.prepare.capture import Lens
from workers.prepare.orientation import oriented
from workers.prepare.worker import Prepare
from workers.runtime.safe_input import read_image
from workers.runtime.settings import Settings

DISTORTED = (0.06, -0.08, -0.001, 0.002, 0.01)


def prepare(capture: Path, tmp_path: Path, **changes: Any) -> Path:
    out = tmp_path / "out"
    out.mkdir()
    shutil.copytree(capture, tmp_path / "in" / "upload")
    compute.run(tmp_path / "in", out, compute.DEFAULTS | changes, lambda *_: None)
    return out


def cameras(out: Path) -> CamerasFile:
    return CamerasFile.model_validate_json((out / "cameras.json").read_text())


def error_in_pixels(out: Path) -> float:
    """The largest distance between where a camera of the dataset sees the dot and where it shows."""
    worst = 0.0
    for camera in cameras(out).images:
        image = cv2.imread(str(out / "images" / camera.image), cv2.IMREAD_GRAYSCALE)
        assert image is not None
        assert image.shape == (camera.h, camera.w)
        w2c = np.linalg.inv(np.array(camera.c2w))
        x, y, z = w2c[:3, :3] @ DOT + w2c[:3, 3]
        seen = np.array([camera.fx * x / -z + camera.cx, camera.fy * -y / -z + camera.cy])
        worst = max(worst, float(np.linalg.norm(bright_centroid(image) - seen)))
    return worst


def bright_centroid(image: Any) -> Any:
    """Of what is brighter than the faint dots, pixels with centres at +0.5."""
    weight = np.maximum(image.astype(float) - 100, 0)
    y, x = np.mgrid[: image.shape[0], : image.shape[1]] + 0.5
    return np.array([(weight * x).sum(), (weight * y).sum()]) / weight.sum()


RIGS = {
    "plain": Rig(),
    "off-centre principal point": Rig(cx=70.5, cy=66.25),
    "unequal focal lengths": Rig(fx=170, fy=180),
    "distorted": Rig(distortion=DISTORTED),
    "portrait": Rig(width=120, height=160, cx=61.0, cy=78.5),
    "large": Rig(width=1100, height=825, fx=1170, fy=1162, cx=557, cy=406, distortion=DISTORTED),
    "of the dataset's size": Rig(width=512, height=512, fx=500, fy=500, cx=256, cy=256),
}


@pytest.mark.parametrize("rig", RIGS.values(), ids=RIGS.keys())
@pytest.mark.parametrize("masks", ["files", None])
def test_points_are_where_the_cameras_see_them(rig: Rig, masks: str | None, tmp_path: Path) -> None:
    out = prepare(captures.write(tmp_path / "capture", rig, masks=masks), tmp_path)
    assert error_in_pixels(out) < 0.6


@pytest.mark.parametrize("rig", RIGS.values(), ids=RIGS.keys())
def test_images_are_square_pinholes_centred_on_the_axis(rig: Rig, tmp_path: Path) -> None:
    out = prepare(captures.write(tmp_path / "capture", rig), tmp_path)
    for camera in cameras(out).images:
        assert (camera.w, camera.h) == (512, 512)
        assert camera.fx == pytest.approx(camera.fy)
        assert [camera.cx, camera.cy] == pytest.approx([256, 256])


def test_an_image_that_needs_no_change_is_not_touched(tmp_path: Path) -> None:
    rig = RIGS["of the dataset's size"]
    out = prepare(captures.write(tmp_path / "capture", rig), tmp_path)
    written = cv2.imread(str(out / "images" / "photo_03.png"))
    assert written is not None
    np.testing.assert_array_equal(written, rig.photo(3))


# Sizes cannot tell for which of the two an upside-down picture's (3) data was meant: upright it is.
@pytest.mark.parametrize(
    ("orientation", "meant_for"),
    [(1, "stored"), (6, "stored"), (8, "stored"), (3, "upright"), (6, "upright"), (8, "upright")],
)
def test_exif_orientation(orientation: int, meant_for: str, tmp_path: Path) -> None:
    """Pixels are turned upright, and the camera with them where it was given for the stored pixels."""
    turns = {1: 0, 3: 2, 6: 1, 8: 3}[orientation]  # counter-clockwise, from upright to stored
    rig = Rig(cx=70.5, cy=66.25) if meant_for == "stored" else Rig(width=120, height=160, cx=61, cy=78.5)
    capture = captures.write(tmp_path / "capture", rig, masks=None)
    for index, path in enumerate(sorted((capture / "images").iterdir())):
        picture = rig.photo(index)
        stored = picture if meant_for == "stored" else np.rot90(picture, turns)
        exif = Image.Exif()
        exif[0x0112] = orientation
        Image.fromarray(np.ascontiguousarray(stored)).save(path, exif=exif)
    out = prepare(capture, tmp_path)
    assert error_in_pixels(out) < 0.6


def test_llff_and_transforms_of_one_capture_give_the_same_dataset(tmp_path: Path) -> None:
    for layout in ("llff", "transforms"):
        (tmp_path / layout).mkdir()
        prepare(captures.write(tmp_path / layout / "capture", Rig(), layout=layout), tmp_path / layout)
    one, other = (cameras(tmp_path / layout / "out") for layout in ("llff", "transforms"))
    for a, b in zip(one.images, other.images, strict=True):
        assert a.image == b.image
        np.testing.assert_allclose(np.array(a.c2w), np.array(b.c2w), atol=1e-9)
        np.testing.assert_allclose([a.fx, *a.crop], [b.fx, *b.crop])


def test_poses_bounds_says_what_cameras_json_says(tmp_path: Path) -> None:
    rig = Rig(fx=170, fy=180, cx=75)
    out = prepare(captures.write(tmp_path / "capture", rig), tmp_path)
    rows = np.load(out / "poses_bounds.npy")
    assert rows.shape == (rig.views, 17)
    for row, camera in zip(rows, cameras(out).images, strict=True):
        matrix, c2w = row[:15].reshape(3, 5), np.array(camera.c2w)
        np.testing.assert_allclose(matrix[:, 0], -c2w[:3, 1])
        np.testing.assert_allclose(matrix[:, 1], c2w[:3, 0])
        np.testing.assert_allclose(matrix[:, 2:4], c2w[:3, 2:])
        np.testing.assert_allclose(matrix[:, 4], [512, 512, camera.fx])
        near, far = row[15:]
        assert 0 < near < rig.distance < far


@pytest.mark.parametrize("masks", ["files", None])
def test_the_normalised_frame_holds_the_object(masks: str | None, tmp_path: Path) -> None:
    out = prepare(captures.write(tmp_path / "capture", Rig(), masks=masks), tmp_path)
    matrix = np.array(cameras(out).world.to_normalised)
    inside = np.linalg.norm(DOTS @ matrix[:3, :3].T + matrix[:3, 3], axis=1)
    assert inside.max() < 1
    if masks:
        assert inside.max() > 0.5


@pytest.mark.parametrize("masks", ["files", "alpha"])
def test_masks_travel_with_their_images(masks: str, tmp_path: Path) -> None:
    out = prepare(captures.write(tmp_path / "capture", Rig(), masks=masks), tmp_path)
    for camera in cameras(out).images:
        alpha = cv2.imread(str(out / "alpha" / camera.image), cv2.IMREAD_GRAYSCALE)
        assert alpha is not None
        w2c = np.linalg.inv(np.array(camera.c2w))
        centre = w2c[:3, :3] @ DOTS.mean(axis=0) + w2c[:3, 3]
        u, v = camera.fx * centre[0] / -centre[2] + camera.cx, camera.fy * centre[1] / centre[2] + camera.cy
        assert alpha[int(v), int(u)] == 255
        assert alpha[0].max() == alpha[-1].max() == 0  # the crop leaves room around the object


def test_a_small_object_in_a_large_photo_fills_its_image(tmp_path: Path) -> None:
    rig = Rig(width=1600, height=1200, fx=1700, fy=1700, cx=800, cy=600, distance=5)
    out = prepare(captures.write(tmp_path / "capture", rig), tmp_path)
    whole, crop = 1200.0, cameras(out).images[0].crop
    assert 512 <= crop[2] < 0.6 * whole


def test_no_private_exif_is_passed_on(tmp_path: Path) -> None:
    capture = captures.write(tmp_path / "capture", Rig(), masks=None)
    for path in (capture / "images").iterdir():
        exif = Image.Exif()
        exif[0x010E] = "SECRET-DESCRIPTION"
        exif.get_ifd(0x8825)[1] = "N"
        with Image.open(path) as image:
            image.save(path, exif=exif)
    out = prepare(capture, tmp_path)
    for path in out.rglob("*"):
        if path.is_file():
            assert b"SECRET" not in path.read_bytes()
        if path.suffix == ".png":
            with Image.open(path) as image:
                assert not image.getexif()
                assert not image.info


def test_blender_nerf_flavour(tmp_path: Path) -> None:
    """camera_angle_x alone, file paths without suffix, masks as alpha."""
    rig = Rig(width=128, height=128, cx=64, cy=64)
    capture = captures.write(tmp_path / "capture", rig, masks="alpha")
    frames = [
        {"file_path": f"./images/photo_{i:02d}", "transform_matrix": rig.c2w[i].tolist()}
        for i in range(rig.views)
    ]
    angle = 2 * np.arctan(0.5 * rig.width / rig.fx)
    (capture / "transforms.json").unlink()
    document = {"camera_angle_x": float(angle), "frames": frames}
    (capture / "transforms_train.json").write_text(json.dumps(document))
    out = prepare(capture, tmp_path)
    assert error_in_pixels(out) < 0.6
    assert (out / "alpha" / "photo_00.png").exists()


def test_a_zip_with_a_folder_in_it_is_as_good_as_files(tmp_path: Path) -> None:
    capture = captures.write(tmp_path / "source" / "my capture", Rig())
    archive = tmp_path / "capture"
    archive.mkdir()
    shutil.make_archive(str(archive / "upload"), "zip", capture.parent)
    out = prepare(archive, tmp_path)
    assert error_in_pixels(out) < 0.6
    assert cameras(out).images[0].source == "my capture/images/photo_00.png"


@pytest.mark.parametrize("suffix", ["jpg", "webp", "heic"])
def test_what_phones_write_is_read(suffix: str, tmp_path: Path) -> None:
    capture = captures.write(tmp_path / "capture", Rig(), masks=None)
    text = (capture / "transforms.json").read_text()
    for path in (capture / "images").iterdir():
        with Image.open(path) as image:
            image.save(path.with_suffix(f".{suffix}"), quality=95)
        path.unlink()
    (capture / "transforms.json").write_text(text.replace(".png", f".{suffix}"))
    assert error_in_pixels(prepare(capture, tmp_path)) < 0.8


@pytest.mark.parametrize("mode", ["L", "P", "CMYK", "I;16", "LA", "1"])
def test_every_kind_of_pixel_becomes_eight_bit_colour(mode: str, tmp_path: Path) -> None:
    picture = Image.fromarray(np.tile(np.arange(64, dtype=np.uint8) * 4, (64, 1)))
    path = tmp_path / ("picture.jpg" if mode == "CMYK" else "picture.png")
    if mode == "I;16":
        Image.fromarray(np.asarray(picture).astype(np.uint16) * 257).save(path)
    else:
        picture.convert(mode).save(path)
    read = read_image(path, "picture").rgb
    assert read.shape == (64, 64, 3)
    assert read.dtype == np.uint8
    assert read[:, :8].mean() < 40 < 215 < read[:, -8:].mean()


def test_what_a_capture_says_of_its_world_is_passed_on(tmp_path: Path) -> None:
    capture = captures.write(tmp_path / "capture", Rig())
    document = json.loads((capture / "transforms.json").read_text())
    document |= {"world_up": [0, 0, 2], "metres_per_unit": 0.01}
    (capture / "transforms.json").write_text(json.dumps(document))
    world = cameras(prepare(capture, tmp_path)).world
    assert (world.up, world.scale) == ((0, 0, 1), 0.01)


@pytest.mark.parametrize(
    ("sides", "largest", "size"),
    [
        ((640, 480), 512, 512),
        ((640, 480), 1024, 512),
        ((800, 800), 1024, 768),
        ((800, 800), 512, 512),
        ((4000, 3000), 1024, 1024),
    ],
)
def test_images_are_as_large_as_the_photos_have_to_show(
    sides: tuple[int, int], largest: int, size: int
) -> None:
    assert compute.image_size([sides, (32, 40), sides], largest) == size


def test_high_gets_larger_images_of_larger_photos(tmp_path: Path) -> None:
    out = prepare(captures.write(tmp_path / "capture", RIGS["large"]), tmp_path, largest=1024)
    assert {(camera.w, camera.h) for camera in cameras(out).images} == {(768, 768)}
    assert error_in_pixels(out) < 0.15


def test_high_asks_for_larger_images() -> None:
    file = UploadedFile(key="captures/default/c/upload/a.zip", bytes=1)
    asked = {}
    for profile in get_args(Profile):
        event = DatasetUploaded(capture_id="c", files=(file,), options=Options(profile=profile))
        asked[profile] = Prepare(Settings()).parameters(event)["largest"]
    assert asked == {"preview": 512, "standard": 512, "high": 1024}


@pytest.mark.parametrize(
    ("orientation", "size", "middle"), [(3, (40, 30), (30, 20)), (6, (30, 30), (20, 10))]
)
def test_camera_data_of_stored_pixels_is_turned_with_them_where_the_size_does_not_tell(
    orientation: int, size: tuple[int, int], middle: tuple[float, float]
) -> None:
    lens = Lens(size, (50.0, 50.0), (10.0, 10.0))
    told = oriented(lens, np.eye(4), size, orientation, "a.jpg")
    assert told.intrinsics[2:] == (10, 10)
    stored = oriented(replace(lens, stored=True), np.eye(4), size, orientation, "a.jpg")
    assert stored.intrinsics[2:] == middle
    assert not np.allclose(stored.c2w, told.c2w)
