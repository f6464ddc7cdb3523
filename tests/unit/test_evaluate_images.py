"""Figures of pictures whose difference is known, and of views with masks, alpha and distortion."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from skimage.metrics import structural_similarity

from tests.unit.test_evaluate_geometry import square
from workers.evaluate.errors import CannotEvaluate
from workers.evaluate.images import base_colour, compare_images, compare_pictures, ssim_map
from workers.evaluate.mesh import Mesh
from workers.evaluate.views import held_out, read_views
from workers.geometry.cameras import Cameras

Pixels = NDArray[np.uint8]

POSE = np.array([[1, 0, 0, 0.5], [0, 1, 0, 0.5], [0, 0, 1, 2], [0, 0, 0, 1.0]])  # looks at the unit square


def grey(value: int, alpha: Pixels) -> Pixels:
    return np.dstack([np.full((*alpha.shape, 3), value, np.uint8), alpha])


def frame(name: str, **more: Any) -> dict[str, Any]:
    return {"file_path": name, "transform_matrix": POSE.tolist(), **more}


def transforms(folder: Path, frames: list[dict[str, Any]], **more: Any) -> Path:
    path = folder / "transforms.json"
    path.write_text(json.dumps({"w": 64, "h": 48, "fl_x": 60.0, **more, "frames": frames}))
    return path


def test_equal_pictures_are_perfect() -> None:
    alpha = np.zeros((40, 40), np.uint8)
    alpha[10:30, 10:30] = 255
    figures = compare_pictures(grey(90, alpha), grey(90, alpha)[..., :3], alpha)
    assert figures == pytest.approx({"iou": 1, "psnr": 100, "ssim": 1, "psnr_fg": 100, "ssim_fg": 1})


def test_a_known_error_of_grey() -> None:
    """Ten levels off on a quarter of the picture: 28.13 dB there, four times less error over all of it."""
    alpha = np.zeros((40, 40), np.uint8)
    alpha[10:30, 10:30] = 255
    photo = np.full((40, 40, 3), 100, np.uint8)
    figures = compare_pictures(grey(110, alpha), photo, alpha)
    assert figures["psnr_fg"] == pytest.approx(20 * np.log10(25.5))
    assert figures["psnr"] == pytest.approx(20 * np.log10(25.5) + 10 * np.log10(4))


def test_outlines_overlap_by_a_third() -> None:
    true, ours = np.zeros((40, 40), np.uint8), np.zeros((40, 40), np.uint8)
    true[:, :20], ours[:, 10:30] = 255, 255
    figures = compare_pictures(grey(200, ours), grey(200, true)[..., :3], true)
    assert figures["iou"] == pytest.approx(1 / 3)
    # half of the object is missing, that is black
    assert figures["psnr_fg"] == pytest.approx(-10 * np.log10((200 / 255) ** 2 / 2))


def test_a_pixel_half_covered_is_half_as_bright() -> None:
    half = np.full((20, 20), 128, np.uint8)
    figures = compare_pictures(grey(255, half), np.full((20, 20, 3), 128, np.uint8), np.full_like(half, 255))
    assert figures["psnr"] == 100
    assert figures["iou"] == 1


def test_ssim_is_that_of_scikit_image() -> None:
    rng = np.random.default_rng(0)
    a = rng.random((48, 48, 3))
    b = np.clip(a + 0.2 * rng.standard_normal(a.shape), 0, 1)
    _, expected = structural_similarity(  # type: ignore[no-untyped-call]
        a, b, data_range=1, channel_axis=2, gaussian_weights=True, sigma=1.5, truncate=3.4,
        use_sample_covariance=False, full=True,
    )  # fmt: skip
    inside = slice(6, -6)
    assert ssim_map(a, b)[inside, inside] == pytest.approx(expected.mean(2)[inside, inside], abs=1e-3)


def test_base_colour_of_a_square() -> None:
    """60 px of focal length at distance 2: 30 px wide, 17 to 47 across and 9 to 39 down of 64 x 48."""
    flat = square(0)
    coloured = Mesh(flat.vertices, flat.faces, flat.normals, flat.uv, np.array([[[200, 100, 50]]], np.uint8))
    camera = Cameras(("a",), np.array([[60.0, 60, 32.25, 24]]), 64, 48, POSE[None])
    shown = base_colour(coloured, camera)
    assert shown.shape == (48, 64, 4)
    assert (shown[9:39, 18:47, :3] == [200, 100, 50]).all()
    assert (shown[9:39, 18:47, 3] == 255).all()
    assert shown[20, 17].tolist() == [200, 100, 50, 191]  # the corner is a quarter of a pixel in
    assert shown[20, 47].tolist() == [200, 100, 50, 64]
    assert (shown[:9, :, 3] == 0).all()


def test_views_are_judged_with_the_renderer_given(tmp_path: Path) -> None:
    """Its size is the picture's, whatever the file says of it."""
    alpha = np.zeros((96, 128), np.uint8)
    alpha[20:60, 30:90] = 255
    Image.fromarray(grey(100, alpha)).save(tmp_path / "a.png")
    Image.fromarray(grey(100, alpha)[..., :3]).save(tmp_path / "b.png")
    Image.fromarray(alpha > 0).save(tmp_path / "b_mask.png")
    views = read_views(transforms(tmp_path, [frame("a"), frame("b.png", mask_path="b_mask.png")]))
    asked = []

    def renderer(mesh: Mesh, camera: Cameras) -> Pixels:
        asked.append((camera.width, camera.height, camera.intrinsics[0].tolist()))
        return grey(110, alpha)

    figures = compare_images(square(0), views, renderer)
    assert asked == [(128, 96, [120, 120, 64, 48])] * 2
    assert figures["views"] == 2
    assert figures["iou"] == figures["iou_min"] == 1
    assert figures["psnr_fg"] == pytest.approx(20 * np.log10(25.5))


def test_distortion_is_taken_out(tmp_path: Path) -> None:
    """A dot where the lens puts a direction comes out where a pinhole puts it."""
    k1, x, y = -0.3, 0.48, -0.36
    bend = 1 + k1 * (x * x + y * y)
    u, v = int(60 * x * bend + 32), int(60 * y * bend + 24)
    x, y = (u + 0.5 - 32) / 60 / bend, (v + 0.5 - 24) / 60 / bend
    photo = np.zeros((48, 64, 4), np.uint8)
    photo[v, u] = 255
    Image.fromarray(photo).save(tmp_path / "a.png")
    camera, colour, cover = read_views(transforms(tmp_path, [frame("a.png")], k1=k1))[0].read()
    rows, columns = np.indices(cover.shape) + 0.5
    found = [float((where * cover).sum() / cover.sum()) for where in (columns, rows)]
    expected = camera.projection()[0] @ np.array([0.5 + x, 0.5 - y, 1, 1])
    assert found == pytest.approx((expected[:2] / expected[2]).tolist(), abs=0.15)
    assert (colour[..., 0] == cover).all()


@pytest.mark.parametrize(("count", "judged"), [(10, 10), (24, 3), (30, 4)])
def test_which_views_are_judged(tmp_path: Path, count: int, judged: int) -> None:
    views = read_views(transforms(tmp_path, [frame(f"{i}.png") for i in range(count)]))
    chosen, _ = held_out(views)
    assert len(chosen) == judged
    if judged < count:
        assert [view.picture.stem for view in chosen] == [str(i) for i in range(4, count, 8)]


def test_views_named_for_testing_are_judged(tmp_path: Path) -> None:
    frames = [frame(f"{i}.png", split="test" if i % 5 == 0 else "train") for i in range(30)]
    chosen, named = held_out(read_views(transforms(tmp_path, frames)))
    assert [view.picture.stem for view in chosen] == ["0", "5", "10", "15", "20", "25"]
    assert named == "test views"


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("{", "does not describe cameras"),
        ('{"frames": []}', "lists no frames"),
        ('{"frames": [{"file_path": "a.png", "w": 4, "h": 4}]}', "does not describe cameras"),
        ('{"w": 4, "h": 4, "fl_x": 4, "frames": [{"file_path": "a", "transform_matrix": [[1]]}]}', "4x4"),
    ],
)
def test_broken_transforms(tmp_path: Path, content: str, said: str) -> None:
    (tmp_path / "transforms.json").write_text(content)
    with pytest.raises(CannotEvaluate, match=said):
        read_views(tmp_path / "transforms.json")


def test_pictures_that_cannot_be_judged(tmp_path: Path) -> None:
    (tmp_path / "text.png").write_text("no picture")
    Image.fromarray(np.zeros((48, 64, 3), np.uint8)).save(tmp_path / "opaque.png")
    path = transforms(tmp_path, [frame("text.png"), frame("missing.png"), frame("opaque.png")])
    messages = ("not a readable picture", "is missing", "neither transparency nor a mask")
    for view, said in zip(read_views(path), messages, strict=True):
        with pytest.raises(CannotEvaluate, match=said):
            view.read()
