"""Every bad capture is rejected with the one error that says what is wrong."""

import json
import shutil
import stat
import struct
import tempfile
import zipfile
import zlib
from collections.abc import Callable
from contextlib import suppress
from itertools import repeat
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from contracts.errors import InputError
from tests import captures
from tests.captures import Rig
from workers.prepare import compute
from workers.prepare.capture import Upload
from workers.runtime import safe_input

RIG = Rig()


def rejection(capture: Path, tmp_path: Path, kind: str = "auto") -> InputError:
    upload = tmp_path / "in" / "upload"
    shutil.copytree(capture, upload)
    out = tmp_path / "out"
    out.mkdir()
    parameters = compute.DEFAULTS | {"kind": kind}
    with pytest.raises(InputError) as caught:
        compute.run(tmp_path / "in", out, parameters, lambda *_: None)
    error = caught.value
    assert "{" not in error.sentence + error.action, "a placeholder was left unfilled"
    return error


def edit(capture: Path, change: Callable[[dict[str, Any]], object]) -> None:
    path = capture / "transforms.json"
    document = json.loads(path.read_text())
    change(document)
    path.write_text(json.dumps(document))


def set_pose(value: object) -> Callable[[Path], None]:
    return lambda c: edit(c, lambda d: d["frames"][2].update(transform_matrix=value))


def set_top(**values: object) -> Callable[[Path], None]:
    return lambda c: edit(c, lambda d: d.update(values))


def overwrite(name: str, content: bytes) -> Callable[[Path], None]:
    def spoil(capture: Path) -> None:
        (capture / name).write_bytes(content)

    return spoil


def png_claiming(width: int, height: int) -> bytes:
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    chunk = b"IHDR" + header
    checked = struct.pack(">I", 13) + chunk + struct.pack(">I", zlib.crc32(chunk))
    return b"\x89PNG\r\n\x1a\n" + checked + struct.pack(">I", 0) + b"IEND" + b"\xaeB`\x82"


def black_mask(capture: Path) -> None:
    Image.new("L", (RIG.width, RIG.height)).save(capture / "masks" / "photo_03.png")


def drop_mask(capture: Path) -> None:
    (capture / "masks" / "photo_03.png").unlink()
    edit(capture, lambda d: d["frames"][3].pop("mask_path"))


def resize(capture: Path) -> None:
    Image.new("RGB", (RIG.width, RIG.height * 2)).save(capture / "images" / "photo_03.png")


def keep_frames(count: int) -> Callable[[Path], None]:
    return lambda c: edit(c, lambda d: d.update(frames=d["frames"][:count]))


mirrored = (RIG.c2w[2] @ np.diag([-1.0, 1, 1, 1])).tolist()
infinite = [*RIG.c2w[2].tolist()[:3], [0, 0, 0, 1]]
infinite[0] = [float("nan"), 0, 0, 0]

TRANSFORMS = {
    "too few": (keep_frames(3), "too_few_images", "3"),
    "image missing": (lambda c: (c / "images" / "photo_01.png").unlink(), "image_missing", "photo_01"),
    "path leaves": (
        lambda c: edit(c, lambda d: d["frames"][0].update(file_path="../../etc/passwd")),
        "image_missing",
        "passwd",
    ),
    "absolute path": (
        lambda c: edit(c, lambda d: d["frames"][0].update(file_path="/etc/passwd")),
        "image_missing",
        "passwd",
    ),
    "not finite": (set_pose(infinite), "pose_invalid", "photo_02"),
    "mirrored": (set_pose(mirrored), "pose_invalid", "mirrors"),
    "scaled": (set_pose((RIG.c2w[2] * 2).tolist()), "pose_invalid", "orthonormal"),
    "pose of words": (set_pose("identity"), "pose_invalid", "4x4"),
    "pose too small": (set_pose([[1, 0], [0, 1]]), "pose_invalid", "4x4"),
    "no focal": (lambda c: edit(c, lambda d: d.pop("fl_x")), "poses_unreadable", "focal"),
    "focal of a planet": (set_top(fl_x=1e6), "poses_unreadable", "focal"),
    "focal beyond floats": (set_top(fl_x=10**400), "poses_unreadable", "fl_x"),
    "pose beyond floats": (set_pose([[10**400] * 4] * 4), "pose_invalid", "4x4"),
    "pose beyond reason": (set_pose((RIG.c2w[2] + np.eye(4, k=3) * 1e12).tolist()), "pose_invalid", "origin"),
    "principal point outside": (set_top(cx=1e6), "poses_unreadable", "principal point"),
    "negative size": (set_top(w=-160, h=-120), "poses_unreadable", "focal"),
    "one place": (
        lambda c: edit(
            c, lambda d: [f["transform_matrix"][i].__setitem__(3, 1.0) for f in d["frames"] for i in range(3)]
        ),
        "poses_degenerate",
        "one place",
    ),
    "one photo twice": (
        lambda c: edit(c, lambda d: d["frames"][1].update(file_path=d["frames"][0]["file_path"])),
        "poses_unreadable",
        "twice",
    ),
    "a name that is no text": (
        lambda c: edit(c, lambda d: d["frames"][0].update(file_path="images/\ud800.png")),
        "image_missing",
        "images/?.png",
    ),
    "negative focal": (set_top(fl_x=-3), "poses_unreadable", "focal"),
    "focal of words": (set_top(fl_x="wide"), "poses_unreadable", "fl_x"),
    "no frames": (set_top(frames="none"), "poses_unreadable", "frames"),
    "fisheye": (set_top(camera_model="OPENCV_FISHEYE"), "camera_unsupported", "FISHEYE"),
    "up is no vector": (set_top(world_up=[0, 0, 0]), "poses_unreadable", "world_up"),
    "scale below zero": (set_top(metres_per_unit=-1), "poses_unreadable", "metres_per_unit"),
    "folding": (set_top(k1=-10), "camera_unsupported", "folds"),
    "tiny": (
        lambda c: Image.new("RGB", (60, 45)).save(c / "images" / "photo_03.png"),
        "image_too_small",
        "60 x 45",
    ),
    "size differs": (resize, "size_mismatch", "photo_03"),
    "mask empty": (black_mask, "mask_empty", "photo_03"),
    "mask missing": (drop_mask, "masks_incomplete", "photo_03"),
    "not json": (overwrite("transforms.json", b"{frames"), "poses_unreadable", "JSON"),
    "json too deep": (overwrite("transforms.json", b"[" * 100_000), "poses_unreadable", "JSON"),
    "not a picture": (overwrite("images/photo_03.png", b"hello"), "format_unsupported", "photo_03"),
    "empty picture": (overwrite("images/photo_03.png", b""), "image_unreadable", "photo_03"),
    "gif": (overwrite("images/photo_03.png", b"GIF89a" + b"\0" * 40), "format_unsupported", "photo_03"),
    "damaged": (overwrite("images/photo_03.png", png_claiming(100, 100)), "image_unreadable", "photo_03"),
    "too many pixels": (
        overwrite("images/photo_03.png", png_claiming(60_000, 60_000)),
        "image_too_large",
        "60000",
    ),
}


@pytest.mark.parametrize(("spoil", "code", "said"), TRANSFORMS.values(), ids=TRANSFORMS.keys())
def test_transforms(spoil: Callable[[Path], None], code: str, said: str, tmp_path: Path) -> None:
    capture = captures.write(tmp_path / "capture", RIG)
    spoil(capture)
    error = rejection(capture, tmp_path)
    assert error.code == code
    assert said in error.message


def rows_changed(change: Callable[[np.ndarray], np.ndarray]) -> Callable[[Path], None]:
    return lambda c: np.save(c / "poses_bounds.npy", change(captures.llff_rows(RIG)))


def with_nan(rows: np.ndarray) -> np.ndarray:
    rows[4, 3] = np.nan
    return rows


def pickled(capture: Path) -> None:
    np.save(capture / "poses_bounds.npy", np.array([{"a": 1}], dtype=object), allow_pickle=True)


LLFF = {
    "one row short": (rows_changed(lambda r: r[:-1]), "count_mismatch", "7 rows for 8"),
    "too narrow": (rows_changed(lambda r: r[:, :15]), "poses_unreadable", "8 x 15"),
    "not finite": (rows_changed(with_nan), "pose_invalid", "photo_04"),
    "zeros": (rows_changed(lambda r: r * 0), "pose_invalid", "photo_00"),
    "pickled": (pickled, "poses_unreadable", ".npy"),
    "not npy": (overwrite("poses_bounds.npy", b"\x93NUMPY\x01\x00\xff\xff{"), "poses_unreadable", ".npy"),
    "empty": (overwrite("poses_bounds.npy", b""), "poses_unreadable", ".npy"),
    "no images": (lambda c: shutil.rmtree(c / "images"), "image_missing", "images"),
}


@pytest.mark.parametrize(("spoil", "code", "said"), LLFF.values(), ids=LLFF.keys())
def test_llff(spoil: Callable[[Path], None], code: str, said: str, tmp_path: Path) -> None:
    capture = captures.write(tmp_path / "capture", RIG, layout="llff")
    spoil(capture)
    error = rejection(capture, tmp_path)
    assert error.code == code
    assert said in error.message


def test_an_npy_that_claims_more_than_it_has_allocates_nothing(tmp_path: Path) -> None:
    path = tmp_path / "claims.npy"
    header = {"descr": "<f8", "fortran_order": False, "shape": (1 << 40, 17)}
    with path.open("wb") as file:
        np.lib.format.write_array_header_1_0(file, header)
    with pytest.raises(InputError, match=r"not a plain \.npy"):
        safe_input.read_npy(path, "claims.npy")


OTHER = {
    "images only": ({f"{i}.jpg": b"x" for i in range(8)}, "format_unsupported"),
    "few images only": ({"a.jpg": b"x", "b.jpg": b"x"}, "too_few_images"),
    "video": ({"clip.mp4": b"x"}, "format_unsupported"),
    "arcore": ({"session.jsonl": b"{}", "a.jpg": b"x"}, "poses_unreadable"),
    "colmap": ({"sparse/0/cameras.bin": b"x", "a.jpg": b"x"}, "format_unsupported"),
    "document": ({"notes.pdf": b"x"}, "format_unsupported"),
    "raw photos": ({"a.dng": b"x"}, "format_unsupported"),
    "two halves": ({"transforms_a.json": b"{}", "transforms_b.json": b"{}"}, "format_unsupported"),
}


@pytest.mark.parametrize(("files", "code"), OTHER.values(), ids=OTHER.keys())
def test_other_layouts_are_named(files: dict[str, bytes], code: str, tmp_path: Path) -> None:
    for name, content in files.items():
        path = tmp_path / "capture" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    error = rejection(tmp_path / "capture", tmp_path)
    assert error.code == code
    assert error.action


def entry(name: str, mode: int = 0) -> zipfile.ZipInfo:
    info = zipfile.ZipInfo(name)
    info.external_attr = mode << 16
    return info


ARCHIVES: dict[str, Callable[[zipfile.ZipFile], object]] = {
    "leaves upwards": lambda z: z.writestr(entry("../outside.txt"), "x"),
    "leaves in the middle": lambda z: z.writestr(entry("a/../../outside.txt"), "x"),
    "absolute": lambda z: z.writestr(entry("/tmp/outside.txt"), "x"),
    "drive": lambda z: z.writestr(entry("C:outside.txt"), "x"),
    "backslashes": lambda z: z.writestr(entry("..\\outside.txt"), "x"),
    "link": lambda z: z.writestr(entry("link.png", stat.S_IFLNK | 0o777), "/etc/passwd"),
    "device": lambda z: z.writestr(entry("pipe", stat.S_IFIFO | 0o777), ""),
    "bomb": lambda z: z.writestr("bomb.png", b"\0" * 30_000_000, zipfile.ZIP_DEFLATED),
    "file and folder": lambda z: list(map(z.writestr, ("a", "a/b"), "xx")),
    "too many": lambda z: list(map(z.writestr, map(str, range(safe_input.MAX_ENTRIES + 1)), repeat(""))),
    "no name": lambda z: z.writestr(entry("."), "x"),
    "deep": lambda z: z.writestr("d/" * 30 + "x", "x"),
    "lzma": lambda z: z.writestr("a.png", "x", zipfile.ZIP_LZMA),
    "long name": lambda z: z.writestr("n" * 300, "x"),
}


@pytest.mark.filterwarnings("ignore:Duplicate name")
@pytest.mark.parametrize("attack", ARCHIVES.values(), ids=ARCHIVES.keys())
def test_hostile_archives(attack: Callable[[zipfile.ZipFile], object], tmp_path: Path) -> None:
    root = tmp_path / "root" / "upload"
    root.mkdir(parents=True)
    with zipfile.ZipFile(root / "capture.zip", "w") as archive:
        attack(archive)
    with pytest.raises(InputError) as caught:
        Upload(root)
    assert caught.value.code == "archive_unsafe"
    assert not list(tmp_path.rglob("outside.txt"))


def test_an_archive_that_lies_about_its_size_is_stopped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(safe_input, "MAX_UNPACKED_BYTES", 100_000)
    with zipfile.ZipFile(tmp_path / "big.zip", "w") as archive:
        for number in range(5):
            archive.writestr(f"{number}.bin", bytes(range(256)) * 100)
    (tmp_path / "out").mkdir()
    with pytest.raises(InputError) as caught:
        safe_input.extract_zip(tmp_path / "big.zip", tmp_path / "out", "big.zip")
    assert caught.value.code == "upload_too_large"


def test_a_damaged_archive_is_named(tmp_path: Path) -> None:
    (tmp_path / "broken.zip").write_bytes(b"PK\x03\x04 and nothing more")
    with pytest.raises(InputError) as caught:
        Upload(tmp_path)
    assert caught.value.code == "archive_unsafe"


def test_heic_without_its_decoder_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(safe_input, "HEIF_INSTALLED", False)
    photo = tmp_path / "IMG_0001.HEIC"
    Image.new("RGB", (64, 64)).save(photo, format="HEIF")
    with pytest.raises(InputError) as caught:
        safe_input.read_image(photo, photo.name)
    assert caught.value.code == "format_unsupported"
    assert "JPEG" in caught.value.action


@given(st.binary(max_size=300))
def test_any_npy_ends_in_a_typed_error_or_an_array(content: bytes) -> None:
    with tempfile.NamedTemporaryFile() as file:
        file.write(b"\x93NUMPY\x01\x00" + struct.pack("<H", len(content)) + content)
        file.flush()
        with suppress(InputError):
            safe_input.read_npy(Path(file.name), "a.npy")


@given(st.binary(max_size=400), st.integers(0, 200))
def test_any_damage_to_a_zip_ends_in_a_typed_error_or_none(damage: bytes, place: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "a.zip")
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("images/a.txt", "text " * 50)
        body = bytearray(path.read_bytes())
        body[place : place + len(damage)] = damage
        path.write_bytes(bytes(body))
        (Path(folder) / "out").mkdir()
        with suppress(InputError):
            safe_input.extract_zip(path, Path(folder) / "out", "a.zip")


def test_garbage_in_exif_is_no_reason_to_refuse_a_photo(tmp_path: Path) -> None:
    photo = tmp_path / "a.png"
    Image.new("RGB", (64, 64), "red").save(photo, exif=b"Exif\0\0II*\0")
    assert safe_input.read_image(photo, "a.png").orientation == 1
