"""The gateway's page in a real browser, on `phototwin serve`: on a phone and a desktop, light and dark."""

import re
import zipfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from tests.browser.walking import Server, drawn, object_part, serving, walked
from workers.simulate.capture import simulate

SIZES = (("phone", "dark"), ("desktop", "light"))
TOO_FEW = "There are 3 photos, and a model needs at least 8.\nWalk around the object and take more photos."
DAMAGED = (
    "The photo IMG_0.jpg is damaged and cannot be opened.\n"
    "Leave it out or take it again, then send the capture again."
)
FILES = {"model.glb", "model_web.glb", "model_ar.glb", "model.usdz", "model_obj.zip", "poster.png"}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with serving(tmp_path_factory.mktemp("served")) as made:
        yield made


@pytest.fixture(scope="module")
def capture(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("simulated")
    simulate(folder, views=10, size=(240, 320), seed=5)
    return folder / "capture"


@pytest.fixture(scope="module")
def packed(capture: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The capture as a zip: a phone has no folders to choose."""
    path = tmp_path_factory.mktemp("packed") / "capture.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for file in sorted(capture.rglob("*")):
            archive.write(file, file.relative_to(capture))
    return path


@pytest.mark.parametrize(("size", "colours"), SIZES)
def test_the_whole_way(
    server: Server, capture: Path, packed: Path, tmp_path: Path, size: str, colours: str
) -> None:
    told = walked("whole", server.address, tmp_path, size, colours, packed if size == "phone" else capture)
    assert told["errors"] == []
    assert told["masks"] == 10
    assert told["count"] == "9 of 10 photos kept, 1 mended"
    for shot in ("preview", "model"):
        assert 0.02 < object_part(drawn(told, shot)) < 0.6, shot
    moved = np.abs(drawn(told, "preview").astype(int) - drawn(told, "turned"))
    assert (moved.max(axis=2) > 30).mean() > 0.005
    assert set(told["files"]) >= FILES
    terms = [row.split("\t")[0].split()[-1] for row in told["times"]]
    assert terms[1:4] == ["T_upload", "T_signal", "T_preprocessing"]
    assert terms[-1] == "T_download"
    assert told["ar"]["ar"] is True
    assert told["ar"]["src"].endswith("model.glb")
    assert told["ar"]["iosSrc"].endswith("model.usdz")
    assert "What is weak" in told["report"]
    assert told["saved"] > 10_000
    assert any(entry.startswith("Jug, to be kept\nfinished") for entry in told["list"])


@pytest.mark.parametrize(("size", "colours"), SIZES)
def test_a_reload_goes_on_where_it_was_and_cancel_ends_it(
    server: Server, capture: Path, tmp_path: Path, size: str, colours: str
) -> None:
    told = walked("reload", server.address, tmp_path, size, colours, capture)
    there, files = map(int, re.findall(r"(\d+) of (\d+) files", told["missing"])[0])
    assert 0 < there < files == len([path for path in capture.rglob("*") if path.is_file()])
    assert told["after"] == files - there  # what had arrived is not sent again


def test_a_lost_connection_is_waited_out(server: Server, capture: Path, tmp_path: Path) -> None:
    told = walked("lost", server.address, tmp_path, "phone", "light", capture)
    files = len([path for path in capture.rglob("*") if path.is_file()])
    assert files - 3 <= len(told["puts"]) <= files  # three at a time; what had arrived is not sent again


def damaged(folder: Path, count: int) -> Path:
    """A folder of so many files that begin as photos do."""
    photos = folder / "photos"
    photos.mkdir()
    for number in range(count):
        (photos / f"IMG_{number}.jpg").write_bytes(b"\xff\xd8\xff\xe0 cut short" + bytes([number]))
    return photos


@pytest.mark.parametrize(
    ("count", "doubts", "notice"),
    [
        (3, ["3 photos will not be enough for a model."], TOO_FEW),
        (9, [], DAMAGED),
    ],
)
@pytest.mark.parametrize(("size", "colours"), SIZES)
def test_a_bad_upload_says_what_to_do(
    server: Server, tmp_path: Path, size: str, colours: str, count: int, doubts: list[str], notice: str
) -> None:
    told = walked("bad", server.address, tmp_path, size, colours, damaged(tmp_path, count))
    assert told["errors"] == []
    assert [doubt.splitlines()[0] for doubt in told["doubts"]] == doubts
    assert re.sub(r"\n+", "\n", told["notice"]) == notice


def test_photos_are_added_and_it_is_done_again_without_server_sent_events(
    server: Server, tmp_path: Path
) -> None:
    told = walked("more", server.address, tmp_path, "phone", "light", damaged(tmp_path, 5))
    assert told["first"].splitlines()[0] == "There are 5 photos, and a model needs at least 8."
    assert told["second"].splitlines()[0].endswith("is damaged and cannot be opened.")  # there are ten


def test_a_large_file_is_sent_in_parts(server: Server, tmp_path: Path) -> None:
    video = tmp_path / "walk.mp4"
    video.write_bytes(bytes(40 << 20))
    told = walked("large", server.address, tmp_path, capture=video)
    assert told["parts"] == 3
    assert told["missing"] < 3  # none, where all were through before the line was cut
    assert len(told["puts"]) == told["missing"]  # what had arrived is not sent again


def test_keys_are_enough(server: Server, tmp_path: Path) -> None:
    told = walked("keyboard", server.address, tmp_path, "desktop", "dark", damaged(tmp_path, 4))
    assert told["errors"] == []
    assert (told["skipped"], told["outline"], told["landed"]) == ("main", "solid", "main")


def test_a_restart_of_the_gateway_is_waited_out(capture: Path, tmp_path: Path) -> None:
    with serving(tmp_path / "served") as server:
        deeds = {"restart": server.stop, "wait": server.start}
        walked("restart", server.address, tmp_path, "desktop", "dark", capture, deeds)


def test_a_key_is_asked_for_where_others_can_come(tmp_path: Path) -> None:
    with serving(tmp_path / "served", "0.0.0.0") as server:
        told = walked("keys", server.address, tmp_path, "phone", "light")
        listed = walked("list", server.address, tmp_path, "desktop", "dark")
        before = server.address
        server.stop()
        server.start()
        assert server.address == before  # with the key that the phone has
    assert told["address"].endswith("/#/")
    assert told["who"] == "phototwin serve, default"
    assert told["cookies"] == []

    things = [f"Thing {number}" for number in range(27, 0, -1)]
    assert listed["errors"] == []
    assert listed["page"] == things[:24]
    assert listed["all"] == ["Newest", *things]
    assert listed["cancelled"] == ["Thing 27"]


def test_our_own_viewer_does_where_there_is_no_other(server: Server, capture: Path, tmp_path: Path) -> None:
    told = walked("plain", server.address, tmp_path, "desktop", "dark", capture)
    assert [
        error for error in told["errors"] if "/page/vendor/" not in error and "/nowhere" not in error
    ] == []
    assert 0.02 < object_part(drawn(told, "model")) < 0.6
    assert told["title"] == "<img src=x onerror=\"document.title='gotcha'\"><b>Bold</b>"
    assert any("<b>Bold</b>" in entry for entry in told["list"])
    assert "This capture is not there" in told["unknown"]


def test_parts_of_the_page(server: Server, tmp_path: Path) -> None:
    told = walked("parts", server.address, tmp_path)
    events = [["status", "7", '{"a":\n1}'], ["job.progress", None, "2"], ["message", None, "3"]]
    assert told["events"] == {"whole": events, "cut": events}
    assert told["names"] == {
        "folder": [[["images/a.jpg", 1], ["t.json", 2]], 0],
        "phone": [[["image.jpg", 1], ["image-2.jpg", 2]], 0],
        "odd": [[["a_b_/c.jpg", 1]], 1],
        "matched": ["images/one.jpg", "two.jpg"],
    }
