"""The poster and the turntable."""

import io
from pathlib import Path

import cv2
import numpy as np
import PIL.Image
import pytest

from tests.unit.package_inputs import looking, mesh_folder, package
from tests.unit.test_package_variants import seamed_ball
from workers.geometry.cameras import read_cameras
from workers.package import pictures
from workers.package.model import read_model
from workers.package.studio import MARGIN, Studio


def test_the_poster_shows_the_object_whole(tmp_path: Path) -> None:
    out, _ = package(tmp_path)
    poster = cv2.imread(str(out / "poster.png"))
    assert poster is not None
    assert poster.shape == (1024, 1024, 3)
    rows, columns = np.nonzero(cv2.absdiff(poster, cv2.GaussianBlur(poster, (0, 0), 3)).max(axis=2) > 8)
    assert max(np.ptp(rows), np.ptp(columns)) / 1024 == pytest.approx(1 - 2 * MARGIN, abs=0.03)
    assert abs((rows.min() + rows.max()) / 2 - 512) < 25
    assert abs((columns.min() + columns.max()) / 2 - 512) < 25


def test_it_throws_a_shadow_that_is_darkest_at_its_foot() -> None:
    picture = Studio(seamed_ball(4)).picture(0.0, 256).astype(int)
    column = picture[:, 128, 1]
    bottom = int(np.flatnonzero(np.ptp(picture[:, 128], axis=1) <= 1).max())
    assert bottom == 255, "below the ball there is ground"
    assert column[-1] > column[0] - 40
    shadow = picture[200:, :, 1].min()
    assert shadow < picture[0, 0, 1] - 40
    assert np.ptp(picture[0].astype(int), axis=0).max() <= 2, "no shadow far away"


def test_the_turntable_turns_once_from_the_side_of_the_poster(tmp_path: Path) -> None:
    out, _ = package(tmp_path, up=[0, 1, 0])
    folder = tmp_path / "in"
    model, cameras = read_model(folder / "mesh"), read_cameras(folder / "dataset" / "cameras.json")[0]
    studio, front = Studio(model), pictures._front(model, cameras)
    with PIL.Image.open(io.BytesIO((out / "turntable.webp").read_bytes())) as turning:
        assert (getattr(turning, "n_frames", 1), turning.size) == (
            pictures.FRAMES,
            (pictures.FRAME_SIDE,) * 2,
        )
        for i in (0, 5, pictures.FRAMES - 1):
            turning.seek(i)
            azimuth = front - 2 * np.pi * i / pictures.FRAMES
            due, late = (
                studio.picture(at, pictures.FRAME_SIDE).astype(float) for at in (azimuth, azimuth + 0.3)
            )
            frame = np.asarray(turning.convert("RGB"), float)
            assert np.abs(frame - due).mean() < 0.3 * np.abs(frame - late).mean()


def test_the_front_is_where_a_photo_was_taken_from_slightly_above(tmp_path: Path) -> None:
    model = read_model(mesh_folder(tmp_path) / "mesh")
    cameras = looking([(0, 1, 0.01), (1, 0.36, 0), (0, -1, 0.01)], 2.0)
    assert pictures._front(model, cameras) == pytest.approx(np.pi / 2, abs=1e-6)
