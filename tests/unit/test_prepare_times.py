"""When photos were taken: from EXIF, whatever cameras write there."""

from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from workers.prepare.times import taken
from workers.runtime.safe_input import read_taken

NOON = datetime(2026, 11, 22, 12, 0, 0)
BERLIN = timezone(timedelta(hours=1))


def photo(path: Path, **details: Any) -> Path:
    exif = Image.Exif()
    for tag, value in details.items():
        exif.get_ifd(0x8769)[{"time": 0x9003, "part": 0x9291, "zone": 0x9011}[tag]] = value
    Image.new("RGB", (64, 64)).save(path, exif=exif)
    return path


@pytest.mark.parametrize(
    ("details", "when"),
    [
        ({"time": "2026:11:22 12:00:00"}, NOON),
        ({"time": "2026:11:22 12:00:00\0"}, NOON),
        ({"time": "2026:11:22 12:00:00", "part": "25"}, NOON + timedelta(seconds=0.25)),
        ({"time": "2026:11:22 12:00:00", "zone": "+01:00"}, NOON.replace(tzinfo=BERLIN)),
        ({}, None),
        ({"time": "0000:00:00 00:00:00"}, None),
        ({"time": "yesterday"}, None),
        ({"time": "2026:11:22 12:00:00", "zone": "Berlin"}, None),
    ],
)
def test_what_exif_says(tmp_path: Path, details: dict[str, str], when: datetime | None) -> None:
    assert read_taken(photo(tmp_path / "a.jpg", **details), "a.jpg") == when


def test_a_picture_without_exif_says_nothing(tmp_path: Path) -> None:
    Image.new("RGB", (64, 64)).save(tmp_path / "a.png")
    assert read_taken(tmp_path / "a.png", "a.png") is None


def test_first_and_last_of_those_that_say() -> None:
    later = NOON + timedelta(minutes=3)
    assert taken([later, None, NOON]) == {"first": NOON.isoformat(), "last": later.isoformat()}
    assert taken([NOON, None]) == {}
    assert taken([NOON, later.replace(tzinfo=BERLIN)]) == {}
