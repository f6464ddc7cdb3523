"""A known length, or printed markers in view, say what a unit of the capture's world is in metres."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from pydantic import ValidationError
from typer.testing import CliRunner

from contracts.errors import InputError
from contracts.events import DatasetUploaded, Options, UploadedFile
from tests import captures
from tests.captures import DOT, DOTS, Rig
from workers import cli, local
from workers.geometry.triangulation import View, triangulated
from workers.prepare import compute
from workers.prepare.sfm.markers import detected, measured
from workers.prepare.worker import Prepare
from workers.runtime.settings import Settings

Array = NDArray[np.float64]

METRES = 0.25
"""What a unit is in truth."""
SIDE = 0.05
"""Of the board's squares, in metres."""
TABLE = 60
"""Grey, that printed white stands out from."""
LENS = (-0.08, 0.03, 0.001, -0.002, 0.0)
PHOTO = {"views": 6, "width": 720, "height": 540, "fx": 760.0, "fy": 760.0, "cx": 354.0, "cy": 274.0}
RIG = Rig(**PHOTO, distortion=LENS)  # type: ignore[arg-type]


def board() -> tuple[NDArray[np.uint8], float]:
    """Four markers with their margin, and its pixels for a metre."""
    known = cv2.aruco.getPredefinedDictionary(cv2.aruco.DICT_4X4_50)
    pixels = 120
    printed = np.full((4 * pixels, 4 * pixels), 255, np.uint8)
    for number in range(4):
        left, top = (pixels // 2 + 2 * pixels * (number % 2), pixels // 2 + 2 * pixels * (number // 2))
        square = cv2.aruco.generateImageMarker(known, number + 7, pixels)
        printed[top : top + pixels, left : left + pixels] = square
    return printed, pixels / SIDE


def photos_of_board() -> list[NDArray[np.uint8]]:
    """(H,W,3) each: the board on the table y = 0, by the rig's own lens."""
    printed, density = board()
    fine = 2
    down, across = (np.mgrid[: fine * RIG.height, : fine * RIG.width] + 0.5) / fine
    pixels = np.stack([across.ravel(), down.ravel()], axis=1)
    intrinsics = (RIG.fx, RIG.fy, RIG.cx, RIG.cy)
    plane = View(np.eye(4), intrinsics, LENS).undistorted(pixels)
    rays = np.concatenate([plane * [1, -1], -np.ones((len(plane), 1))], axis=1)
    found = []
    for index, pose in enumerate(RIG.c2w):
        turned = rays @ pose[:3, :3].T
        hit = pose[:3, 3] - turned * (pose[1, 3] / turned[:, 1:2])
        shown = RIG.project(index, hit[::9973].copy())  # the lens model in its other direction
        assert np.abs(shown - pixels[::9973]).max() < 1e-3
        texel = (hit[:, [0, 2]] * METRES * density + printed.shape[0] / 2 - 0.5).astype(np.float32)
        maps = texel.reshape(*across.shape, 2)
        seen = cv2.remap(printed, maps[..., 0], maps[..., 1], cv2.INTER_LINEAR, borderValue=TABLE)
        seen = cv2.resize(seen, (RIG.width, RIG.height), interpolation=cv2.INTER_AREA)
        found.append(np.repeat(np.asarray(seen, np.uint8)[..., None], 3, axis=2))
    return found


@pytest.fixture(scope="module")
def photos() -> list[NDArray[np.uint8]]:
    return photos_of_board()


def prepared(
    folder: Path, photos: Sequence[NDArray[np.uint8]] | None, said: dict[str, Any], **changes: Any
) -> tuple[dict[str, Any], dict[str, Any]]:
    """What prepare returns, and cameras.json, of the rig's capture; `photos` in place of its dots."""
    upload = captures.write(folder / "in" / "upload", RIG, masks=None)
    document = json.loads((upload / "transforms.json").read_text())
    (upload / "transforms.json").write_text(json.dumps({**document, **said}))
    for index, photo in enumerate(photos or ()):
        Image.fromarray(photo).save(upload / "images" / f"photo_{index:02d}.png")
    out = folder / "out"
    out.mkdir()
    done = compute.run(folder / "in", out, compute.DEFAULTS | changes, lambda *_: None)
    return done, json.loads((out / "cameras.json").read_text())


MARKER = {"metres": SIDE, "dictionary": "4x4_50"}


def test_a_printed_board_sets_the_scale(photos: list[NDArray[np.uint8]], tmp_path: Path) -> None:
    done, cameras = prepared(tmp_path, photos, {}, marker=MARKER)
    assert cameras["world"]["scale"] == pytest.approx(METRES, rel=0.001)
    assert done["metrics"]["world"]["scale"] == cameras["world"]["scale"]
    told = done["metrics"]["scale"]
    assert (told["by"], told["markers"], told["photos"]) == ("marker", [7, 8, 9, 10], RIG.views)
    assert told["error"] < 0.1
    assert told["spread"] < 0.002
    for camera, pose in zip(cameras["images"], RIG.c2w, strict=True):
        np.testing.assert_allclose(camera["c2w"], pose, atol=1e-9)  # the world keeps its units


def test_a_marker_is_believed_before_the_capture(photos: list[NDArray[np.uint8]], tmp_path: Path) -> None:
    said = {"metres_per_unit": 0.2, "world_up": [0, 1, 0]}
    done, cameras = prepared(tmp_path / "off", photos, said, marker=MARKER)
    assert cameras["world"]["scale"] == pytest.approx(METRES, rel=0.005)
    assert [warning for warning in done["warnings"] if "1.25 times as large" in warning]
    said["metres_per_unit"] = METRES
    done, _ = prepared(tmp_path / "right", photos, said, marker=MARKER)
    assert done["warnings"] == []


def test_no_marker_in_view_is_a_warning(photos: list[NDArray[np.uint8]], tmp_path: Path) -> None:
    other = {**MARKER, "dictionary": "april_36h11"}
    done, cameras = prepared(tmp_path, photos, {}, marker=other)
    assert cameras["world"]["scale"] is None
    assert "No marker (april_36h11) can be measured: 0 of 6 photos show one." in done["warnings"]
    assert "scale" not in done["metrics"]


def test_corners_are_found_where_the_lens_shows_them(photos: list[NDArray[np.uint8]]) -> None:
    for index in (0, 3):
        found = detected(photos[index][..., 0].copy(), "4x4_50")
        assert sorted(found) == [7, 8, 9, 10]
        corner = np.array([-1.5, -1.5]) * SIDE / METRES  # where the first marker begins
        edges = np.array([[0, 0], [1, 0], [1, 1], [0, 1]]) * SIDE / METRES + corner
        truth = RIG.project(index, np.stack([edges[:, 0], np.zeros(4), edges[:, 1]], axis=1))
        off = found[7] - truth
        assert np.abs(off).max() < 0.15


def test_a_marker_that_is_misread_in_one_photo_does_not_count_there() -> None:
    corners = np.array([[0, 0, 0], [0.2, 0, 0], [0.2, 0, 0.2], [0, 0, 0.2]])
    views = [View(pose, (RIG.fx, RIG.fy, RIG.cx, RIG.cy), LENS) for pose in RIG.c2w]
    seen = [{3: RIG.project(index, corners)} for index in range(RIG.views)]
    seen[2][3] = RIG.project(2, corners + np.array([0.3, 0, 0.1]))
    sides = measured(views, seen, RIG.width)
    assert sides is not None
    np.testing.assert_allclose(sides.lengths, 0.2, rtol=1e-5)
    assert sides.photos == RIG.views - 1
    assert measured(views[2:4], seen[2:4], RIG.width) is None  # of two, nobody knows which is right
    assert measured(views[:1], seen[:1], RIG.width) is None
    assert measured([views[0], views[0]], [seen[0], seen[0]], RIG.width) is None


def test_a_point_is_where_its_squared_errors_are_least() -> None:
    rng = np.random.default_rng(5)
    views = [View(pose, (RIG.fx, RIG.fy, RIG.cx, RIG.cy)) for pose in RIG.c2w]
    straight = Rig(**PHOTO)  # type: ignore[arg-type]
    exact = np.concatenate([straight.project(index, DOT[None]) for index in range(RIG.views)])
    met = triangulated(views, exact)
    assert met is not None
    np.testing.assert_allclose(met.point, DOT, atol=1e-6)
    assert met.errors.max() < 1e-3
    noisy = exact + rng.normal(0, 4, exact.shape)
    met = triangulated(views, noisy)
    assert met is not None

    def cost(point: Array) -> float:
        shown = np.concatenate([straight.project(index, point[None]) for index in range(RIG.views)])
        return float(((shown - noisy) ** 2).sum())

    assert (met.errors**2).sum() == pytest.approx(cost(met.point), rel=1e-4)
    around = [met.point + step for step in 2e-4 * np.concatenate([np.eye(3), -np.eye(3)])]
    assert cost(met.point) < min(cost(point) for point in around)


def marks(point: Array, *photos: int, rig: Rig = RIG) -> list[dict[str, Any]]:
    found = []
    for index in photos:
        x, y = rig.project(index, point[None])[0] / (RIG.width, RIG.height)
        found.append({"image": f"photo_{index:02d}.png", "x": float(x), "y": float(y)})
    return found


def length(one: list[dict[str, Any]], other: list[dict[str, Any]]) -> dict[str, Any]:
    return {"metres": METRES * float(np.linalg.norm(DOTS[1] - DOTS[3])), "ends": [one, other]}


def test_a_known_length_sets_the_scale(tmp_path: Path) -> None:
    known = length(marks(DOTS[1], 0, 1), marks(DOTS[3], 2, 3, 5))
    known["ends"][0][0]["image"] = "images/photo_00.png"
    done, cameras = prepared(tmp_path, None, {}, known_length=known)
    assert cameras["world"]["scale"] == pytest.approx(METRES, rel=1e-4)
    told = done["metrics"]["scale"]
    assert told["by"] == "known_length"
    assert told["units"] == pytest.approx(np.linalg.norm(DOTS[1] - DOTS[3]), rel=1e-4)


@pytest.mark.parametrize(
    ("one", "code", "said"),
    [
        (
            [*marks(DOTS[1], 0), {"image": "other.png", "x": 0.5, "y": 0.5}],
            "length_unknown_image",
            "other.png",
        ),
        (marks(DOTS[1], 0) * 2, "length_unusable", "about one side"),
        ([*marks(DOTS[1], 0, 1), *marks(DOTS[4], 2)], "length_unusable", "does not fit"),
        (marks(DOTS[3], 0, 1), "length_unusable", "at one place"),
    ],
)
def test_marks_that_tell_no_length(one: list[dict[str, Any]], code: str, said: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=said) as caught:
        prepared(tmp_path, None, {}, known_length=length(one, marks(DOTS[3], 2, 3)))
    assert caught.value.code == code
    assert "{" not in caught.value.sentence + caught.value.action


def test_rays_that_nearly_coincide_tell_no_length(tmp_path: Path) -> None:
    rig = Rig(**PHOTO, distortion=LENS)  # type: ignore[arg-type]
    rig.c2w[1] = rig.c2w[0]
    rig.c2w[1, :3, 3] += 0.06 * rig.c2w[0, :3, 0]  # one and a half degrees, as the dots see it
    captures.write(tmp_path / "in" / "upload", rig, masks=None)
    (tmp_path / "out").mkdir()
    known = length(marks(DOTS[1], 0, 1, rig=rig), marks(DOTS[3], 2, 3))
    with pytest.raises(InputError, match="about one side"):
        compute.run(
            tmp_path / "in", tmp_path / "out", {**compute.DEFAULTS, "known_length": known}, lambda *_: None
        )
    corners = np.array([[0, 0, 0], [0.2, 0, 0], [0.2, 0, 0.2], [0, 0, 0.2]])
    views = [View(pose, (RIG.fx, RIG.fy, RIG.cx, RIG.cy), LENS) for pose in rig.c2w[:2]]
    assert measured(views, [{3: rig.project(index, corners)} for index in range(2)], RIG.width) is None


KNOWN = {
    "metres": 0.2,
    "ends": [[{"image": "a.jpg", "x": 0, "y": 1}, {"image": "b.jpg", "x": 0, "y": 1}]] * 2,
}


def test_parameters_hold_what_decides_the_scale_and_nothing_else() -> None:
    end = [{**mark, "by": "Ann"} for mark in KNOWN["ends"][0]]  # type: ignore[index]
    said = {"metres": 0.2, "ends": [end, end], "note": "the cup"}
    file = UploadedFile(key="captures/default/c/upload/a.jpg", bytes=1)
    ask = Prepare(Settings()).parameters
    event = DatasetUploaded(
        capture_id="c", files=(file,), options=Options.model_validate({"known_length": said})
    )
    assert ask(event)["known_length"] == KNOWN
    assert ask(event)["marker"] is None
    event = DatasetUploaded(capture_id="c", files=(file,), options=Options.model_validate({"marker": MARKER}))
    assert ask(event)["marker"] == MARKER
    json.dumps(ask(event))


@pytest.mark.parametrize(
    "said",
    [
        {"known_length": KNOWN, "marker": MARKER},
        {"known_length": {**KNOWN, "metres": 0}},
        {"known_length": {**KNOWN, "ends": KNOWN["ends"][:1]}},  # type: ignore[index]
        {"known_length": {**KNOWN, "ends": [[{"image": "a.jpg", "x": 0, "y": 1}]] * 2}},
        {"marker": {"metres": 0.05, "dictionary": "qr"}},
        {"marker": {"metres": -0.05}},
    ],
)
def test_lengths_that_make_no_sense_break_the_contract(said: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        Options.model_validate(said)


def test_the_command_takes_both(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Options] = []

    async def run(capture: Path, out: Path, options: Options, *rest: object) -> dict[str, Any]:
        asked.append(options)
        return {"stages": {}, "warnings": []}

    monkeypatch.setattr(local, "run", run)
    capture = captures.write(tmp_path / "capture", Rig())
    (tmp_path / "length.json").write_text(json.dumps(KNOWN))
    begin = ["run", str(capture), "--out", str(tmp_path / "out"), "--json"]
    by_file, runner = ["--known-length", str(tmp_path / "length.json")], CliRunner()
    assert runner.invoke(cli.app, [*begin, *by_file]).exit_code == 0
    assert runner.invoke(cli.app, [*begin, "--marker", "0.05"]).exit_code == 0
    assert asked == [
        Options.model_validate({"known_length": KNOWN}),
        Options.model_validate({"marker": MARKER}),
    ]
    both = runner.invoke(cli.app, [*begin, *by_file, "--marker", "0.05"])
    assert both.exit_code == 1
    assert "must not both be given" in both.stderr
