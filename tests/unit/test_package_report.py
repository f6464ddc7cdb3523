"""The report: true figures, plain words, and a page that needs nothing else."""

import json
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.unit.package_inputs import HELD_OUT, manifest, mesh_folder, package
from workers.geometry.cameras import read_cameras
from workers.geometry.images import read_grey, read_rgb, write_png
from workers.package import compute
from workers.package.model import read_model
from workers.package.report import words
from workers.package.report.judged import Judged, judge
from workers.package.report.latency import latency

SOUND = {"watertight": True, "consistent": True, "holes": 0, "parts": 1}


class Page(HTMLParser):
    """The text, and what the page would load."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.text, self.loaded = "", list[str]()
        self.feed(path.read_text())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.loaded += [value or "" for name, value in attrs if name in ("src", "href", "xlink:href")]

    def handle_data(self, data: str) -> None:
        self.text += " " + data


def test_photos_of_the_model_itself_agree_with_it(tmp_path: Path) -> None:
    _, metrics = package(tmp_path)
    judged = metrics["judged"]
    assert (judged["on"], judged["views"], judged["grade"]) == ("held out", 1, "good")
    assert judged["iou"] > 0.99
    assert judged["psnr"] > 40
    assert set(metrics["outlines"]) == {"a.png", "b.png", "c.png"}
    assert metrics["surface"]["measured"] == pytest.approx(0.5, abs=0.02), "three of six sides"


def test_a_photo_of_something_else_is_found(tmp_path: Path) -> None:
    folder = mesh_folder(tmp_path)
    photo = folder / "dataset" / "images" / HELD_OUT
    write_png(photo, 255 - read_rgb(photo))
    mask = folder / "masks" / HELD_OUT
    write_png(mask, np.roll(read_grey(mask), 60, axis=1))
    cameras, _ = read_cameras(folder / "dataset" / "cameras.json")
    views, seen = judge(folder, read_model(folder / "mesh"), cameras, [HELD_OUT])
    found = words.summary(views)
    assert found["grade"] == "weak"
    assert found["psnr"] < 15
    assert [view.iou > 0.99 for view in views] == [True, False, True]
    sentence = words.weaknesses(views, seen.share, False, SOUND, {}, {}, 1.0)[1]
    assert f"does not fit in {HELD_OUT} (0." in sentence


def test_where_no_photo_was_held_out_those_used_are_judged(tmp_path: Path) -> None:
    folder = mesh_folder(tmp_path)
    cameras, _ = read_cameras(folder / "dataset" / "cameras.json")
    views, _ = judge(folder, read_model(folder / "mesh"), cameras, [])
    found = words.summary(views)
    assert (found["on"], found["views"]) == ("used", 3)
    assert "that it was made from" in words.opening(found)
    assert all(view.figures and view.tiles for view in views)


def test_a_photo_whose_mask_was_discarded_is_left_out(tmp_path: Path) -> None:
    folder = mesh_folder(tmp_path / "in")
    (folder / "masks" / "c.png").unlink()
    (tmp_path / "out").mkdir()
    given = {"up": None, "scale": None, "origin": "world", "turntable": False}
    result = compute.run(folder, tmp_path / "out", given, lambda *_: None)
    assert set(result["metrics"]["outlines"]) == {"a.png", "b.png"}
    assert not (tmp_path / "out" / "turntable.webp").exists(), "none was asked for"
    assert "image/webp" not in (tmp_path / "out" / "report.html").read_text()


def test_each_weakness_has_its_sentence() -> None:
    views = [Judged("a.png", False, 0.99), Judged("b.png", True, 0.95)]
    assert words.weaknesses(views, 1.0, False, SOUND, {}, {"a": {"verdict": "good"}}, 0.1) == []
    open_mesh = {"watertight": False, "consistent": True, "holes": 12, "parts": 3}
    views += [Judged(f"{i}.png", False, 0.5 + i / 100) for i in range(7)]
    masks = {"a": {"verdict": "bad"}, "b": {"verdict": "doubtful"}}
    dataset = {
        "poses": {"photos": 50, "registered": 48},
        "quality": {"blurred": ["a.png"], "over_exposed": [], "under_exposed": ["b.png", "c.png"]},
    }
    said = words.weaknesses(views, 0.75, False, open_mesh, dataset, masks, None)
    unseen, off, doubtful, lost, blurred, dark, holes, pieces, size = said
    assert lost.startswith("2 of 50 photos have no place")
    assert (blurred, dark) == ("a.png is blurred.", "b.png and c.png are too dark.")
    assert unseen.startswith("25% of the surface")
    assert "0.png (0.50), 1.png (0.51), 2.png (0.52), 3.png (0.53), 4.png (0.54) and 2 more" in off
    assert "a and b" in doubtful
    assert "12 edges" in holes
    assert "in 3 pieces" in pieces
    assert "not a metre" in size


@pytest.mark.parametrize(
    ("iou", "psnr", "grade"),
    [(0.98, 25, "good"), (0.98, 20, "fair"), (0.95, 25, "fair"), (0.9, 25, "weak"), (0.98, 15, "weak")],
)
def test_grades(iou: float, psnr: float, grade: str) -> None:
    figures = {"psnr_fg": psnr, "ssim_fg": 0.9, "psnr": psnr, "ssim": 0.9}
    assert words.summary([Judged("a.png", True, iou, figures)])["grade"] == grade


def test_folders_without_manifests_are_packaged_too(tmp_path: Path) -> None:
    folder = mesh_folder(tmp_path / "in")
    for name in ("dataset", "masks", "mesh"):
        (folder / name / "manifest.json").unlink()
    arguments = ["--in", str(folder), "--out", str(tmp_path / "out")]
    subprocess.run([sys.executable, "-m", "workers.package", *arguments], check=True, capture_output=True)
    assert "unknown" in Page(tmp_path / "out" / "report.html").text
    assert (tmp_path / "out" / "model.usdz").exists()


def test_latency_tells_what_is_known_and_no_more() -> None:
    manifests: dict[str, Any] = {name: manifest(name, {}) for name in ("dataset", "masks", "mesh")}
    told = {name: seconds for name, seconds, _ in latency(manifests)}
    assert told == {
        "T_scan": None,
        "T_upload": None,
        "T_signal": None,
        "T_preprocessing": 5.0,
        "T_reconstruction": 2.5,
        "T_download": None,
    }
    manifests["dataset"]["metrics"]["taken"] = {
        "first": "2026-11-22T09:00:00+01:00",
        "last": "2026-11-22T08:01:30+00:00",
    }
    assert latency(manifests)[0][1] == 90.0


def test_the_page_needs_nothing_else_and_says_it_all(tmp_path: Path) -> None:
    out, metrics = package(tmp_path)
    page = Page(out / "report.html")
    assert page.loaded
    assert all(target.startswith(("data:", "#")) for target in page.loaded)
    assert "<script" not in (out / "report.html").read_text()
    text = re.sub(r"\s+", " ", page.text)
    for said in (
        "shelf-42",
        "good",
        f"{metrics['judged']['iou']:.4f}",
        "50% of the surface is in none of the photos",
        "the model's unit is not a metre",
        "The masks of b look doubtful",
        "Said by mesh.",
        "T_reconstruction",
        "model.usdz",
        "b.png, kept out",
        "surface made up",
    ):
        assert said in text, said
    assert (out / "report.html").stat().st_size < 3_000_000


def test_a_name_from_outside_cannot_write_into_the_page(tmp_path: Path) -> None:
    folder = mesh_folder(tmp_path / "in")
    told = manifest("mesh", {"method": "surface", "held_out": []})
    told["capture_id"] = "<script>alert(1)</script>"
    told["warnings"] = ["<img src=x onerror=alert(1)>"]
    (folder / "mesh" / "manifest.json").write_text(json.dumps(told))
    (tmp_path / "out").mkdir()
    compute.run(
        folder,
        tmp_path / "out",
        {"up": None, "scale": None, "origin": "world", "turntable": False},
        lambda *_: None,
    )
    content = (tmp_path / "out" / "report.html").read_text()
    assert "<script" not in content
    assert "<img src=x" not in content
    assert "&lt;script&gt;" in content
