"""What a decoded frame looks like, and what is not opened at all."""

import sys
from contextlib import suppress
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from contracts.errors import (
    FormatUnsupported,
    ImageTooLarge,
    ImageTooSmall,
    InputError,
    UploadTooLarge,
    VideoTooLong,
    VideoUnreadable,
)
from tests.unit import videos
from tests.unit.test_video_tones import hlg, srgb, wide
from workers.prepare.readers.video import decode, pixels
from workers.prepare.readers.video.decode import opened
from workers.prepare.readers.video.tones import WHITE
from workers.runtime.safe_input import MAX_UNPACKED_BYTES

COLOURS = np.array(
    [[200, 40, 40], [40, 180, 60], [50, 60, 200], [128, 128, 128], [230, 220, 60], [20, 20, 20]]
)
SIDE = 64


def patches(values: NDArray[np.floating] | NDArray[np.integer], kind: type) -> NDArray[np.uint8]:
    """(128, 192, 3): six squares."""
    return np.kron(np.reshape(values, (2, 3, 3)), np.ones((SIDE, SIDE, 1))).astype(kind)


def middles(image: NDArray[np.uint8]) -> NDArray[np.float64]:
    """(6, 3): the means of the squares' middles."""
    squares = image.reshape(2, SIDE, 3, SIDE, 3)[:, 16:48, :, 16:48]
    return np.asarray(squares.mean(axis=(1, 3)).reshape(6, 3))


def first_frame(path: Path) -> NDArray[np.uint8]:
    with opened(path, path.name) as video:
        ((_, frame),) = video.pick([0])
        return pixels.to_rgb(frame, video.aspect)


def walk(path: Path, frames: int = 12, **settings: object) -> Path:
    return videos.write(path, videos.views(list(np.linspace(0, 1, frames))), **settings)  # type: ignore[arg-type]


@pytest.mark.parametrize("codec", ["libx264", "libx265", "libvpx-vp9"])
def test_frames_are_those_of_the_source(codec: str, tmp_path: Path) -> None:
    source = videos.views(list(np.linspace(0, 1, 30)))
    path = videos.write(tmp_path / ("walk.webm" if "vp9" in codec else "walk.mp4"), source, codec=codec)
    with opened(path, path.name) as video:
        assert len(video.times) == 30
        assert video.times == pytest.approx(np.arange(30) / 10, abs=1e-3)
        assert video.seconds == pytest.approx(3, abs=0.01)
        wanted = [3, 4, 11, 16, 29, 3]
        picked = {index: pixels.to_rgb(frame, video.aspect) for index, frame in video.pick(wanted)}
        assert list(picked) == [3, 4, 11, 16, 29]
        for index, image in picked.items():
            differences = [np.abs(image.astype(int) - other).mean() for other in source]
            assert np.argmin(differences) == index
            assert differences[index] < 12, "chroma at half the size costs some"
        assert [index for index, _ in video.frames(0.3)] == [0, 3, 6, 9, 12, 15, 18, 21, 24, 27]
        assert not video.damaged


def test_frames_between_two_wanted_are_skipped_where_a_key_frame_allows(tmp_path: Path) -> None:
    path = walk(tmp_path / "walk.mp4", 40, key_every=10, options={"sc_threshold": "0"})
    with opened(path, path.name) as video:
        assert [index for index, _ in video.pick([2, 31])] == [2, 31]
        assert video.decoded < 20


def test_at_many_frames_a_second_those_that_no_other_needs_are_not_decoded(tmp_path: Path) -> None:
    source = videos.views(list(np.linspace(0, 2, 120)))
    options = {"bf": "3", "b_strategy": "0", "x264-params": "b-pyramid=none"}
    path = videos.write(tmp_path / "a.mp4", source, rate=60, key_every=60, options=options)
    with opened(path, path.name) as video:
        found = [index for index, _ in video.frames(0.1)]
        assert video.decoded < 50
        assert len(found) >= 14
        assert np.diff(found).min() >= 6
        assert np.diff(found).max() <= 9
        ((index, frame),) = video.pick([61])
        assert np.abs(pixels.to_rgb(frame, video.aspect).astype(int) - source[index]).mean() < 12


@pytest.mark.parametrize("matrix", [1, 6], ids=["bt709", "bt601"])
@pytest.mark.parametrize("full", [1, 2], ids=["limited", "full"])
def test_colours_are_right_for_matrix_and_range(matrix: int, full: int, tmp_path: Path) -> None:
    source = [patches(COLOURS, np.uint8)] * 2
    path = videos.write(tmp_path / "a.mp4", source, colours=(full, matrix, 1, 1))
    assert np.abs(middles(first_frame(path)) - COLOURS).max() < 3


def test_ten_bits_of_full_range(tmp_path: Path) -> None:
    source = [patches(COLOURS, np.uint8)] * 6
    settings = {"codec": "libx265", "pixel_format": "yuv420p10le"}
    path = videos.write(tmp_path / "a.mp4", source, colours=(2, 1, 1, 1), **settings)  # type: ignore[arg-type]
    assert np.abs(middles(first_frame(path)) - COLOURS).max() < 3


@pytest.mark.parametrize(("matrix", "scale"), [(6, 1), (1, 7)], ids=["small", "large"])
def test_colours_that_are_not_said_go_by_the_size(matrix: int, scale: int, tmp_path: Path) -> None:
    large = np.tile(patches(COLOURS, np.uint8), (scale, scale, 1))
    path = videos.write(tmp_path / "a.mkv", [large] * 2, colours=(1, matrix, 1, 1), tagged=False)
    assert np.abs(middles(first_frame(path)[:128, :192]) - COLOURS).max() < 3


def test_hdr_of_a_phone_becomes_srgb(tmp_path: Path) -> None:
    linear = np.array(
        [
            [0.3, 0.1, 0.05],
            [0.05, 0.4, 0.1],
            [0.1, 0.1, 0.5],
            [0.18, 0.18, 0.18],
            [0.5, 0.45, 0.3],
            [0.02, 0.02, 0.02],
        ]
    )
    signal = patches(hlg(wide(linear) * WHITE) * 65535, np.uint16)
    path = videos.write(
        tmp_path / "hdr.mov",
        [signal] * 6,
        codec="libx265",
        pixel_format="yuv420p10le",
        colours=(1, 9, 18, 9),
    )
    assert np.abs(middles(first_frame(path)) - srgb(linear)).max() < 4
    with opened(path, "hdr.mov") as video:
        ((_, frame),) = video.pick([0])
        assert pixels.is_hdr(frame)
        assert pixels.luma(frame).shape == (128, 192)
        assert (
            abs(float(pixels.luma(frame)[96, 32]) - (16 + 219 * hlg(np.full((1, 3), 0.18 * WHITE))[0, 0])) < 2
        )


def test_a_phone_held_upright_gives_upright_pictures(tmp_path: Path) -> None:
    stored = patches(COLOURS, np.uint8)
    path = videos.write(tmp_path / "a.mp4", [stored] * 2, matrix=videos.TURNED_RIGHT)
    upright = first_frame(path)
    assert upright.shape == (192, 128, 3)
    assert np.abs(upright.astype(int) - np.rot90(stored, -1)).mean() < 3
    with opened(path, path.name) as video:
        ((_, frame),) = video.pick([0])
        assert pixels.rotation(frame) == 90


@pytest.mark.parametrize(
    ("matrix", "turn"),
    [
        ((-65536, 0, 0, 0, -65536, 0, 0, 0, 1 << 30), lambda a: a[::-1, ::-1]),
        ((0, -65536, 0, 65536, 0, 0, 0, 0, 1 << 30), lambda a: np.rot90(a)),
        ((-65536, 0, 0, 0, 65536, 0, 0, 0, 1 << 30), lambda a: a[:, ::-1]),
        ((0, 65536, 0, 65536, 0, 0, 0, 0, 1 << 30), lambda a: a.transpose(1, 0, 2)),
    ],
    ids=["180", "left", "mirrored", "transposed"],
)
def test_other_turns(matrix: tuple[int, ...], turn: object, tmp_path: Path) -> None:
    stored = patches(COLOURS, np.uint8)
    shown = first_frame(videos.write(tmp_path / "a.mov", [stored] * 2, matrix=matrix))
    assert np.abs(shown.astype(int) - turn(stored)).mean() < 3  # type: ignore[operator]


def test_pixels_that_are_not_square_are_made_so_before_turning(tmp_path: Path) -> None:
    source = [patches(COLOURS, np.uint8)] * 2
    assert first_frame(videos.write(tmp_path / "a.mp4", source, aspect=Fraction(4, 3))).shape == (128, 256, 3)
    turned = videos.write(tmp_path / "b.mp4", source, aspect=Fraction(1, 2), matrix=videos.TURNED_RIGHT)
    assert first_frame(turned).shape == (192, 256, 3)


def test_times_are_those_of_presentation(tmp_path: Path) -> None:
    times = [0.0, 0.04, 0.5, 0.55, 2.0, 2.01]
    path = walk(tmp_path / "a.mp4", 6, times=times)
    with opened(path, path.name) as video:
        assert video.times == pytest.approx(times, abs=1e-4)
        assert [video.nearest(time) for time in (-1, 0.3, 0.53, 1.2, 1.4, 9)] == [0, 2, 3, 3, 4, 5]
        assert [index for index, _ in video.frames(0.1)] == [0, 2, 4]


@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
def test_of_a_video_that_is_cut_off_the_beginning_is_read(suffix: str, tmp_path: Path) -> None:
    path = walk(tmp_path / f"a{suffix}", 40)
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    with opened(path, path.name) as video:
        assert video.damaged
        read = [index for index, _ in video.frames(0)]
        assert 10 < len(read) < 30
        assert read == list(range(len(read)))
        assert [index for index, _ in video.pick([2, 39])] == [2]


@pytest.mark.parametrize("codec", ["libx264", "libvpx-vp9"])
def test_damage_in_the_middle_is_noticed_and_the_rest_is_read(codec: str, tmp_path: Path) -> None:
    path = walk(tmp_path / "a.mp4", 40, codec=codec, key_every=40)
    content = bytearray(path.read_bytes())
    middle = len(content) // 2
    content[middle : middle + 2000] = bytes(2000)
    path.write_bytes(content)
    with opened(path, path.name) as video:
        assert 35 <= len([index for index, _ in video.frames(0)]) < 40
        assert video.damaged


def test_what_is_no_video_is_rejected_for_what_it_is(tmp_path: Path) -> None:
    good = walk(tmp_path / "good.mp4").read_bytes()
    bad = tmp_path / "bad.mp4"
    expected: list[tuple[bytes, type[InputError]]] = [
        (b"", FormatUnsupported),
        (b"#EXTM3U\n#EXTINF:10,\ngood.mp4\n", FormatUnsupported),
        (b"ffconcat version 1.0\nfile 'good.mp4'\n", FormatUnsupported),
        (b"RIFF\0\0\0\0AVI LIST", FormatUnsupported),
        (b"\0\0\0\x18ftypmp42" + bytes(range(256)) * 20, VideoUnreadable),
        (good[:600], VideoUnreadable),
        (b"\x1aE\xdf\xa3" + bytes(200), VideoUnreadable),
    ]
    for content, error in expected:
        bad.write_bytes(content)
        with pytest.raises(error) as caught, opened(bad, "walk.mp4"):
            pass
        assert caught.value.params["file"] == "walk.mp4"
        assert "{" not in caught.value.sentence + caught.value.action


def test_other_codecs_are_rejected(tmp_path: Path) -> None:
    path = walk(tmp_path / "a.mov", codec="mpeg4")
    with pytest.raises(FormatUnsupported, match=r"H\.264"), opened(path, "a.mov"):
        pass


def test_nothing_that_a_video_refers_to_is_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Even where the choice of the demuxer, which comes first, let a list of files through."""
    walk(tmp_path / "good.mp4")
    listing = tmp_path / "list.mp4"
    listing.write_text(f"ffconcat version 1.0\nfile '{tmp_path / 'good.mp4'}'\n")
    monkeypatch.setattr(decode, "_demuxer_for", lambda *_: "concat")
    monkeypatch.setitem(decode.OPTIONS_OF, "concat", {"safe": "0"})
    with pytest.raises(VideoUnreadable), opened(listing, "list.mp4"):
        pass
    monkeypatch.setattr(decode, "OPTIONS", {})
    with opened(listing, "list.mp4") as video:
        assert len(video.times) == 12, "without our options it is opened"


def test_limits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = walk(tmp_path / "a.mp4")

    def rejection(path: Path = path) -> InputError:
        with pytest.raises(InputError) as caught, opened(path, "a.mp4"):
            pass
        assert "{" not in caught.value.sentence + caught.value.action
        return caught.value

    long = walk(tmp_path / "long.mp4", 3, times=[0.0, 300.0, 700.0])
    assert isinstance(rejection(long), VideoTooLong)
    assert "10 minutes" in rejection(long).sentence
    small = videos.write(tmp_path / "small.mp4", [np.zeros((48, 64, 3), np.uint8)] * 2)
    assert isinstance(rejection(small), ImageTooSmall)
    vast = tmp_path / "vast.mp4"
    with vast.open("wb") as file:
        file.truncate(MAX_UNPACKED_BYTES + 1)
    assert isinstance(rejection(vast), UploadTooLarge)
    monkeypatch.setattr(decode, "MAX_PIXELS", 3 * 128 * 192 - 1)
    source = [patches(COLOURS, np.uint8)] * 2
    assert isinstance(
        rejection(videos.write(tmp_path / "wide.mp4", source, aspect=Fraction(3))), ImageTooLarge
    )
    monkeypatch.setattr(decode, "MAX_FRAMES", 11)
    assert isinstance(rejection(), VideoTooLong)
    monkeypatch.setattr(decode, "MAX_FRAMES", 12)
    monkeypatch.setattr(decode, "MAX_PIXELS", videos.WIDTH * videos.HEIGHT)
    with opened(path, "a.mp4") as video:
        assert len(video.times) == 12
    monkeypatch.setattr(decode, "MAX_DECODED_PIXELS", 11 * videos.WIDTH * videos.HEIGHT)
    assert isinstance(rejection(), VideoTooLong)
    monkeypatch.setattr(decode, "MAX_PIXELS", videos.WIDTH * videos.HEIGHT - 1)
    assert isinstance(rejection(), ImageTooLarge)


def test_the_decoder_itself_refuses_frames_larger_than_the_header_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = walk(tmp_path / "a.mp4")
    monkeypatch.setattr(decode, "MAX_PIXELS", 1000)
    monkeypatch.setattr(decode.Video, "_check_size", lambda *_: None)
    with suppress(VideoUnreadable), opened(path, "a.mp4") as video:
        assert not list(video.frames(0))


def test_without_pyav_the_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "av.error", None)
    with pytest.raises(FormatUnsupported, match=r"phototwin\[video\]"), opened(tmp_path / "a.mp4", "a.mp4"):
        pass


def test_any_damage_ends_in_a_typed_error_or_a_video(tmp_path: Path) -> None:
    content = walk(tmp_path / "a.mp4", 8).read_bytes()
    header = content.index(b"mdat")
    rng = np.random.default_rng(3)
    path = tmp_path / "b.mp4"
    for _ in range(60):
        spoilt = bytearray(content)
        for place in rng.integers(0, header, 4):
            spoilt[place] = rng.integers(256)
        path.write_bytes(spoilt)
        with suppress(InputError), opened(path, "b.mp4") as video:
            for _, frame in video.frames(0):
                pixels.to_rgb(frame, video.aspect)
