"""From a video to the shots of a capture."""

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from contracts.errors import VideoUnreadable
from tests.unit import videos
from workers.geometry.images import read_rgb
from workers.prepare.capture import Upload
from workers.prepare.readers import video


def nearest(image: NDArray[np.uint8], source: list[NDArray[np.uint8]]) -> int:
    return int(np.argmin([np.abs(image.astype(int) - other).mean() for other in source]))


def number(path: Path) -> int:
    return int(path.stem.removeprefix("frame_"))


def test_the_sharp_frames_of_a_walk_become_its_shots(tmp_path: Path) -> None:
    shaken = [frame for frame in range(200) if frame % 4 != 2 or 120 <= frame < 130]
    source = videos.views(list(np.linspace(0, 6, 200)), shaken)
    (tmp_path / "phone").mkdir()
    path = videos.write(tmp_path / "phone" / "walk.mp4", source, codec="libx265", rate=25, key_every=30)
    capture = video.read(Upload(tmp_path), path, frames=40)
    names = [shot.name for shot in capture.shots]
    assert 36 <= len(names) <= 44
    assert names == sorted(set(names))
    assert all(name.startswith("phone/walk/frame_") for name in names)
    assert [tmp_path / name for name in names] == [shot.image for shot in capture.shots]
    assert all(shot.lens is None and shot.c2w is None and shot.mask is None for shot in capture.shots)
    assert capture.ordered
    assert not capture.posed
    for shot in capture.shots[::5]:
        index = number(shot.image)
        assert nearest(read_rgb(shot.image), source) == index
    among_shaken = {number(shot.image) for shot in capture.shots} & set(shaken)
    assert among_shaken <= set(range(118, 133)), "but where all of a window is shaken"
    metrics = capture.metrics["video"]
    assert metrics["frames_kept"] == len(names)
    assert metrics["frames"] == 200
    assert metrics["frames_measured"] == 100, "every second, as they are four hundredths of a second apart"
    assert metrics["seconds"] == pytest.approx(8, abs=0.02)
    assert (metrics["hdr"], metrics["rotation"]) == (False, 0)
    assert [entry["image"] for entry in metrics["kept"]] == names
    times = [number(shot.image) / 25 for shot in capture.shots]
    assert [entry["time"] for entry in metrics["kept"]] == pytest.approx(times, abs=0.002)


def test_all_is_well_with_a_slow_walk_of_half_a_minute(tmp_path: Path) -> None:
    path = videos.write(tmp_path / "walk.mp4", videos.views(list(np.linspace(0, 4, 186))), rate=6)
    capture = video.read(Upload(tmp_path), path, frames=30)
    assert capture.warnings == []
    assert capture.metrics["video"]["blurred"] == []


def test_what_could_be_better_is_said(tmp_path: Path) -> None:
    places = [*np.linspace(0, 1, 50), *([1.0] * 70), *np.linspace(1, 2, 60)]
    source = videos.views(places, blurred=range(140, 152))
    path = videos.write(tmp_path / "walk.mp4", source)
    content = path.read_bytes()
    path.write_bytes(content[: len(content) * 95 // 100])
    capture = video.read(Upload(tmp_path), path, frames=30)
    damaged, short, blurred, stood = capture.warnings
    assert "cut off" in damaged
    assert "at least 30 s" in short
    assert "from 14.0 to 15.1 s" in blurred
    assert capture.metrics["video"]["blurred"] == [[14.0, 15.1]]
    assert "stood still from 4." in stood
    standing = [number(shot.image) for shot in capture.shots if 50 < number(shot.image) < 119]
    assert len(standing) <= 1


def test_a_phone_held_upright_is_told(tmp_path: Path) -> None:
    source = videos.views(list(np.linspace(0, 1, 12)))
    path = videos.write(tmp_path / "walk.mov", source, matrix=videos.TURNED_RIGHT)
    capture = video.read(Upload(tmp_path), path)
    assert len(capture.shots) == 12
    assert capture.metrics["video"]["rotation"] == 90
    assert read_rgb(capture.shots[3].image).shape == (videos.WIDTH, videos.HEIGHT, 3)
    upright = [np.rot90(view, -1) for view in source]
    assert nearest(read_rgb(capture.shots[3].image), upright) == number(capture.shots[3].image)


def test_what_is_already_beside_the_video_is_left_alone(tmp_path: Path) -> None:
    path = videos.write(tmp_path / "walk.mp4", videos.views(list(np.linspace(0, 0.5, 8))))
    (tmp_path / "walk").mkdir()
    (tmp_path / "walk" / "frame_00000.jpg").write_bytes(b"mine")
    capture = video.read(Upload(tmp_path), path)
    assert (tmp_path / "walk" / "frame_00000.jpg").read_bytes() == b"mine"
    assert capture.shots[0].name == "walk_/frame_00000.jpg"


def test_frames_at_times_are_those_shown_then(tmp_path: Path) -> None:
    source = videos.views(list(np.linspace(0, 2, 24)))
    shown = list(np.cumsum([0.0, *([0.03, 0.05, 0.1, 0.04] * 6)])[:24])
    path = videos.write(tmp_path / "walk.mp4", source, times=shown)
    wanted = [20, 3, 3, 11, 0, 23]
    found = video.frames_at(path, [shown[index] + 0.01 for index in wanted], tmp_path / "frames")
    assert [number(image) for image in found] == wanted
    assert [nearest(read_rgb(image), source) for image in found] == wanted
    assert len(list((tmp_path / "frames").iterdir())) == 5


@pytest.mark.parametrize("time", [-0.5, 1.6, float("nan")])
def test_times_at_which_nothing_was_recorded_are_refused(time: float, tmp_path: Path) -> None:
    path = videos.write(tmp_path / "walk.mp4", videos.views(list(np.linspace(0, 1, 12))))
    with pytest.raises(VideoUnreadable, match="shows nothing"):
        video.frames_at(path, [0.5, time], tmp_path / "frames")


def test_pictures_lose_next_to_nothing(tmp_path: Path) -> None:
    (view,) = videos.views([0.3])
    path = tmp_path / "a.jpg"
    path.write_bytes(video._jpeg(view))
    assert np.abs(read_rgb(path).astype(int) - view).mean() < 2
