"""COLMAP models written, opened by COLMAP's own library, and read again; and those that strangers send."""

import json
import struct
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from contracts.errors import CameraUnsupported, ImageMissing, InputError, PosesUnreadable, TooFewImages
from tests.captures import DOTS, Rig, write
from workers.geometry.cameras import Cameras
from workers.geometry.colmap import from_opengl, to_opengl, write_model
from workers.prepare.capture import Capture, Upload
from workers.prepare.readers import colmap
from workers.prepare.readers.colmap_files import PARAMETERS, parse

RIG = Rig()
NAMES = tuple(f"photo_{index:02d}.png" for index in range(RIG.views))
POINTS = np.concatenate([DOTS, DOTS * 0.5, DOTS * 0.25])
COLOURS = np.arange(45, dtype=np.uint8).reshape(15, 3)
EVERYWHERE = np.stack(np.meshgrid(np.arange(15), np.arange(RIG.views)), axis=-1).reshape(-1, 2)


def cameras() -> Cameras:
    intrinsics = np.tile([RIG.fx, RIG.fy + 1, RIG.cx + 2, RIG.cy], (RIG.views, 1))
    return Cameras(NAMES, intrinsics, RIG.width, RIG.height, RIG.c2w)


def capture_of(folder: Path, model: str = "sparse/0") -> Path:
    """The rig's photos, and a text model of them with every point seen by every camera."""
    write(folder, RIG, masks=None)
    (folder / "transforms.json").unlink()
    write_model(folder / model, cameras(), POINTS, COLOURS, EVERYWHERE)
    return folder / model


def as_binary(folder: Path) -> None:
    """Turn a text model to a binary one, written from the format's description."""
    model = parse(folder)
    blob = struct.pack("<Q", len(model.cameras))
    for number, camera in model.cameras.items():
        kind = list(PARAMETERS).index(camera.model)
        blob += struct.pack("<iiQQ", number, kind, *camera.size)
        blob += struct.pack(f"<{len(camera.parameters)}d", *camera.parameters)
    (folder / "cameras.bin").write_bytes(blob)
    blob = struct.pack("<Q", len(model.images))
    for number, image in enumerate(model.images, 1):
        blob += struct.pack("<i7di", number, *image.quaternion, *image.translation, image.camera)
        blob += image.name.encode() + b"\0" + struct.pack("<Q", len(image.seen) + 1)
        blob += b"".join(struct.pack("<ddq", 1, 2, point) for point in [*image.seen.tolist(), -1])
    (folder / "images.bin").write_bytes(blob)
    blob = struct.pack("<Q", len(model.points))
    for number, point in zip(model.point_ids.tolist(), model.points.tolist(), strict=True):
        blob += struct.pack("<Q3d3BdQ2i", number, *point, 1, 2, 3, 0.5, 1, 1, 0)
    (folder / "points3D.bin").write_bytes(blob)
    for part in ("cameras", "images", "points3D"):
        (folder / f"{part}.txt").unlink()


def read(root: Path) -> Capture:
    upload = Upload(root)
    path = colmap.find(upload)
    assert path is not None
    return colmap.read(upload, path)


def test_the_conventions_are_each_others_inverse() -> None:
    assert to_opengl(*from_opengl(RIG.c2w)) == pytest.approx(RIG.c2w)
    rotation, translation = from_opengl(RIG.c2w)
    u, v, w = rotation[3] @ DOTS[0] + translation[3]
    assert [RIG.fx * u / w + RIG.cx, RIG.fy * v / w + RIG.cy] == pytest.approx(RIG.project(3, DOTS[:1])[0])


PRINT_MODEL = """
import json, sys, pycolmap
model = pycolmap.Reconstruction(sys.argv[1])
images = {i.name: [i.projection_center().tolist(), i.cam_from_world().rotation.matrix().tolist(),
          model.cameras[i.camera_id].params.tolist(),
          [[p.xy.tolist(), p.point3D_id] for p in i.points2D]] for i in model.images.values()}
points = {k: [p.xyz.tolist(), p.color.tolist(), [[e.image_id, e.point2D_idx] for e in p.track.elements]]
          for k, p in model.points3D.items()}
print(json.dumps([images, points]))
model.write_binary(sys.argv[1])
"""


@pytest.mark.parametrize("tracked", [True, False])
def test_colmap_itself_opens_what_we_write_and_we_what_it_writes(tmp_path: Path, tracked: bool) -> None:
    tracks = np.random.default_rng(0).permutation(EVERYWHERE)[:70] if tracked else None
    write_model(tmp_path, cameras(), POINTS, COLOURS, tracks)
    # In a process of its own: importing pycolmap takes over the signal handlers.
    command = [sys.executable, "-c", PRINT_MODEL, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=300)
    images, points = json.loads(done.stdout)
    assert set(images) == set(NAMES)
    camera = replace(RIG, fy=RIG.fy + 1, cx=RIG.cx + 2)
    for index, name in enumerate(NAMES):
        centre, rotation, parameters, seen = images[name]
        assert centre == pytest.approx(RIG.c2w[index, :3, 3])
        assert np.array(rotation)[2] == pytest.approx(-RIG.c2w[index, :3, 2]), "looks along its z"
        assert parameters == [RIG.fx, RIG.fy + 1, RIG.cx + 2, RIG.cy]
        for pixel, point in seen:
            assert pixel == pytest.approx(camera.project(index, POINTS[[point - 1]])[0], abs=1e-3)
    for number, (place, colour, track) in points.items():
        index = int(number) - 1
        assert place == pytest.approx(POINTS[index], rel=1e-8)
        assert colour == COLOURS[index].tolist()
        assert all(images[NAMES[image - 1]][3][where][1] == index + 1 for image, where in track)
        wanted = [] if tracks is None else tracks[tracks[:, 0] == index, 1] + 1
        assert sorted(image for image, _ in track) == sorted(wanted)
    assert len(points) == len(POINTS)
    binary = parse(tmp_path)
    (tmp_path / "cameras.bin").unlink()
    text = parse(tmp_path)
    assert colmap.c2w(binary) == pytest.approx(RIG.c2w, abs=1e-12)
    assert binary.cameras == text.cameras
    assert binary.points == pytest.approx(POINTS, rel=1e-8)
    assert binary.point_ids.tolist() == text.point_ids.tolist()
    for ours, theirs in zip(text.images, binary.images, strict=True):
        assert ours.seen.tolist() == theirs.seen.tolist()


@pytest.mark.parametrize("binary", [False, True])
@pytest.mark.parametrize("model", ["sparse/0", "colmap", "."])
def test_a_model_gives_lenses_poses_and_depths(tmp_path: Path, binary: bool, model: str) -> None:
    folder = capture_of(tmp_path, model)
    if binary:
        as_binary(folder)
    capture = read(tmp_path)
    assert [shot.name for shot in capture.shots] == [f"images/{name}" for name in NAMES]
    assert capture.world.up is None
    assert capture.world.scale is None
    for index, shot in enumerate(capture.shots):
        assert shot.lens is not None
        assert shot.lens.size == (RIG.width, RIG.height)
        assert shot.lens.focal == (RIG.fx, RIG.fy + 1)
        assert shot.lens.centre == (RIG.cx + 2, RIG.cy)
        assert shot.lens.distortion == (0, 0, 0, 0, 0)
        assert shot.c2w == pytest.approx(RIG.c2w[index], abs=1e-12)
        depths = -(POINTS - RIG.c2w[index, :3, 3]) @ RIG.c2w[index, :3, 2]
        assert shot.depth == pytest.approx((depths.min(), depths.max()), rel=0.01)


@pytest.mark.parametrize(
    ("parameters", "focal", "distortion"),
    [
        ("SIMPLE_PINHOLE 160 120 170 80 60", (170, 170), (0, 0, 0, 0, 0)),
        ("PINHOLE 160 120 170 171 80 60", (170, 171), (0, 0, 0, 0, 0)),
        ("SIMPLE_RADIAL 160 120 170 80 60 0.1", (170, 170), (0.1, 0, 0, 0, 0)),
        ("RADIAL 160 120 170 80 60 0.1 0.2", (170, 170), (0.1, 0.2, 0, 0, 0)),
        ("OPENCV 160 120 170 171 80 60 .1 .2 .3 .4", (170, 171), (0.1, 0.2, 0.3, 0.4, 0)),
        ("FULL_OPENCV 160 120 170 171 80 60 .1 .2 .3 .4 .5 0 0 0", (170, 171), (0.1, 0.2, 0.3, 0.4, 0.5)),
    ],
)
@pytest.mark.parametrize("binary", [False, True])
def test_the_models_with_a_pinhole_are_read(
    tmp_path: Path, parameters: str, focal: tuple[float, ...], distortion: tuple[float, ...], binary: bool
) -> None:
    folder = capture_of(tmp_path)
    (folder / "cameras.txt").write_text("".join(f"{number} {parameters}\n" for number in range(1, 9)))
    if binary:
        as_binary(folder)
    lens = read(tmp_path).shots[0].lens
    assert lens is not None
    assert (lens.size, lens.focal, lens.centre, lens.distortion) == ((160, 120), focal, (80, 60), distortion)


@pytest.mark.parametrize(
    "parameters",
    [
        "OPENCV_FISHEYE 160 120 170 170 80 60 0 0 0 0",
        "FULL_OPENCV 160 120 170 171 80 60 .1 .2 .3 .4 .5 0 .1 0",
        "FOV 160 120 170 170 80 60 1",
        "EQUIRECTANGULAR 160 120",
    ],
)
def test_other_models_are_refused(tmp_path: Path, parameters: str) -> None:
    folder = capture_of(tmp_path)
    (folder / "cameras.txt").write_text("".join(f"{number} {parameters}\n" for number in range(1, 9)))
    with pytest.raises(CameraUnsupported):
        read(tmp_path)


def test_an_unknown_model_in_a_binary_file_is_refused(tmp_path: Path) -> None:
    folder = capture_of(tmp_path)
    as_binary(folder)
    blob = bytearray((folder / "cameras.bin").read_bytes())
    struct.pack_into("<i", blob, 12, 77)
    (folder / "cameras.bin").write_bytes(blob)
    with pytest.raises(CameraUnsupported, match="77"):
        read(tmp_path)


def test_of_several_models_the_largest_is_taken(tmp_path: Path) -> None:
    capture_of(tmp_path, "sparse/1")
    write_model(tmp_path / "sparse/0", cameras().select([0, 1, 2]), POINTS, COLOURS)
    assert len(read(tmp_path).shots) == RIG.views


def test_a_model_needs_neither_points_nor_tracks(tmp_path: Path) -> None:
    folder = capture_of(tmp_path)
    write_model(folder, cameras(), POINTS, COLOURS)
    assert all(shot.depth is None for shot in read(tmp_path).shots)
    (folder / "points3D.txt").unlink()
    assert all(shot.depth is None for shot in read(tmp_path).shots)


def test_photos_that_are_not_there_are_named(tmp_path: Path) -> None:
    capture_of(tmp_path)
    (tmp_path / "images/photo_03.png").unlink()
    with pytest.raises(ImageMissing, match="photo_03"):
        read(tmp_path)
    for path in (tmp_path / "images").iterdir():
        path.unlink()
    with pytest.raises(ImageMissing, match="photo_00"):
        read(tmp_path)


def test_a_model_of_too_few_images_is_refused(tmp_path: Path) -> None:
    folder = capture_of(tmp_path)
    write_model(folder, cameras().select([0, 1, 2]), POINTS, COLOURS)
    with pytest.raises(TooFewImages):
        read(tmp_path)


def replaced(old: str, new: str) -> Callable[[str], str]:
    return lambda text: text.replace(old, new, 1)


@pytest.mark.parametrize(
    ("file", "change", "said"),
    [
        ("cameras.txt", replaced("170.0", "nan"), "cameras.txt, line 1 is no camera"),
        ("cameras.txt", replaced("170.0 ", ""), "cameras.txt, line 1 is no camera"),
        ("cameras.txt", replaced("PINHOLE 160", "PINHOLE 0"), "0 x 120"),
        ("cameras.txt", replaced("\n2 ", "\n22 "), "by camera 2, not in cameras.txt"),
        ("cameras.txt", lambda _: "", "by camera 1, not in"),
        ("images.txt", replaced("photo_01.png", ""), "images.txt, line 3 is no image"),
        ("images.txt", lambda text: " ".join(["1", *["0"] * 7, "1 photo_00.png\n\n"]) * 8, "is of length 0"),
        ("images.txt", lambda text: text.splitlines()[0] + " \n 1 2", "images.txt, line 2 is no image"),
        ("images.txt", replaced("1 ", "1 inf "), "images.txt, line 1 is no image"),
        ("images.txt", lambda _: "# nothing\n", "lists no image"),
        ("points3D.txt", replaced("1 0.33", "1 1e400"), "points3D.txt, line 1 is no point"),
        ("points3D.txt", lambda text: text + "\n16 1 2\n", "points3D.txt, line 17 is no point"),
    ],
)
def test_broken_text_is_refused_by_file_and_line(
    tmp_path: Path, file: str, change: Callable[[str], str], said: str
) -> None:
    folder = capture_of(tmp_path)
    path = folder / file
    path.write_text(change(path.read_text()))
    with pytest.raises(PosesUnreadable, match=said.replace(".", r"\.")):
        read(tmp_path)


@pytest.mark.parametrize("part", ["cameras", "images", "points3D"])
def test_broken_binaries_are_refused_wherever_they_end(tmp_path: Path, part: str) -> None:
    folder = capture_of(tmp_path)
    as_binary(folder)
    path = folder / f"{part}.bin"
    whole = path.read_bytes()
    for end in {*range(0, len(whole), 97), 4, len(whole) - 1}:
        path.write_bytes(whole[:end])
        with pytest.raises(PosesUnreadable, match=rf"{part}\.bin .*, at byte \d+"):
            read(tmp_path)
    path.write_bytes(struct.pack("<Q", 1 << 60) + whole[8:])
    with pytest.raises(PosesUnreadable, match="claims 1152921504606846976 records, at byte 8"):
        read(tmp_path)


@pytest.mark.parametrize("part", ["cameras", "images", "points3D"])
def test_hostile_bytes_never_raise_anything_else(tmp_path: Path, part: str) -> None:
    folder = capture_of(tmp_path)
    as_binary(folder)
    path = folder / f"{part}.bin"
    whole = np.frombuffer(path.read_bytes(), np.uint8)
    rng = np.random.default_rng(4)
    refused = 0
    for _ in range(60):
        damaged: NDArray[np.uint8] = whole.copy()
        damaged[rng.integers(8, len(whole), 12)] = rng.choice([0, 127, 128, 255], 12)
        path.write_bytes(damaged.tobytes())
        try:
            read(tmp_path)
        except InputError:
            refused += 1
    assert refused > 10
