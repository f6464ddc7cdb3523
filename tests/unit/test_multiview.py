"""Masks from photos alone: a striped ball on a patterned table, before a room."""

from __future__ import annotations

from typing import NamedTuple

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from workers.geometry.cameras import Cameras
from workers.geometry.errors import NumericError
from workers.geometry.grid import Grid
from workers.segment.multiview import segment
from workers.segment.multiview.carving import carve, silhouettes
from workers.segment.multiview.colours import density, table, textured
from workers.segment.multiview.cut import boundary_costs, cut
from workers.segment.multiview.exposure import balanced
from workers.segment.multiview.plane import find_plane
from workers.segment.multiview.plate import footprint, in_views, plate
from workers.segment.multiview.region import region, within

SIZE, VIEWS, FOCAL = 128, 14, 150.0
RADIUS, TABLE = 0.5, -0.5
Image = NDArray[np.uint8]
Bool = NDArray[np.bool_]


class Capture(NamedTuple):
    images: Image
    masks: Bool
    cameras: Cameras
    frames: NDArray[np.int64]


def looking_at(centres: NDArray[np.float64], target: NDArray[np.float64]) -> Cameras:
    back = centres - target
    back /= np.linalg.norm(back, axis=1, keepdims=True)
    right = np.cross([0.0, 0.0, 1.0], back)
    right /= np.linalg.norm(right, axis=1, keepdims=True)
    c2w = np.tile(np.eye(4), (len(centres), 1, 1))
    c2w[:, :3] = np.stack([right, np.cross(back, right), back, centres], axis=2)
    intrinsics = np.tile([FOCAL, FOCAL, SIZE / 2, SIZE / 2], (len(centres), 1))
    return Cameras(tuple(f"{i}.png" for i in range(len(centres))), intrinsics, SIZE, SIZE, c2w)


def around(count: int = VIEWS) -> Cameras:
    angle = np.arange(count) * 2 * np.pi / count
    rise = np.radians(25 + 25 * (np.arange(count) % 3) / 2)
    centres = 2.6 * np.stack(
        [np.cos(angle) * np.cos(rise), np.sin(angle) * np.cos(rise), np.sin(rise)], axis=1
    )
    return looking_at(centres, np.array([0.03, -0.02, 0.0]))


def photographed(cameras: Cameras, plain_ball: bool = False) -> Capture:
    """Traced exactly, four rays a pixel, with a little noise."""
    random = np.random.default_rng(1)
    pattern = cv2.GaussianBlur(random.uniform(40, 200, (256, 256, 3)), (0, 0), 1.5)
    pattern = (pattern - pattern.mean()) * 3 + np.array([150, 120, 90])
    images, masks = [], []
    for c2w in cameras.c2w:
        rows, columns = (np.mgrid[: 2 * SIZE, : 2 * SIZE] + 0.5) / 2
        ray = np.stack([(columns - SIZE / 2) / FOCAL, (SIZE / 2 - rows) / FOCAL, -np.ones_like(rows)], -1)
        ray = ray @ c2w[:3, :3].T
        ray /= np.linalg.norm(ray, axis=-1, keepdims=True)
        centre = c2w[:3, 3]
        ahead = -(ray @ centre)
        inner = RADIUS**2 - (centre @ centre - ahead**2)
        ball = (inner > 0) & (ahead > 0)
        point = centre + (ahead - np.sqrt(np.maximum(inner, 0)))[..., None] * ray
        stripes = 0.5 + 0.5 * np.sin(9 * point[..., 2:] + 3 * point[..., :1])
        colour = np.array([30, 40, 160]) * stripes + np.array([200, 60, 50]) * (1 - stripes)
        if plain_ball:
            colour = np.full_like(colour, 70.0)
        far = (TABLE - centre[2]) / np.where(np.abs(ray[..., 2]) < 1e-9, 1e-9, ray[..., 2])
        ground = centre + far[..., None] * ray
        on_table = (far > 0) & (np.abs(ground[..., :2]).max(-1) < 3)
        texel = np.clip((ground[..., :2] + 3) / 6 * 255, 0, 255).astype(int)
        room = np.array([120, 140, 150]) + 60 * ray[..., 2:]
        shown = np.where(on_table[..., None], pattern[texel[..., 1], texel[..., 0]], room)
        shown = np.where(ball[..., None], colour, shown)
        shown = shown.reshape(SIZE, 2, SIZE, 2, 3).mean((1, 3)) + random.normal(0, 2, (SIZE, SIZE, 3))
        images.append(np.clip(shown, 0, 255).astype(np.uint8))
        masks.append(ball.reshape(SIZE, 2, SIZE, 2).mean((1, 3)) > 0.5)
    frames = np.tile([0, 0, SIZE, SIZE], (len(images), 1))
    return Capture(np.stack(images), np.stack(masks), cameras, frames)


@pytest.fixture(scope="module")
def capture() -> Capture:
    return photographed(around())


def nothing(images: Image) -> NDArray[np.float32]:
    """Told of any pixel."""
    return np.zeros(images.shape[:3], np.float32)


def overlaps(found: Bool, true: Bool) -> NDArray[np.float64]:
    both: NDArray[np.float64] = (found & true).sum((1, 2)) / np.maximum((found | true).sum((1, 2)), 1)
    return both


def test_the_ball_is_found_in_every_photo(capture: Capture) -> None:
    parts: list[float] = []
    inside, support = segment(
        capture.images,
        capture.frames,
        capture.cameras,
        nothing(capture.images),
        lambda part, step: parts.append(part),
    )
    overlap = overlaps(inside > 0.5, capture.masks)
    assert overlap.mean() > 0.95
    assert overlap.min() > 0.92
    assert parts == sorted(parts)
    assert parts[-1] == 1.0
    assert support is not None
    np.testing.assert_allclose(support, [0, 0, 1, -TABLE], atol=0.02)


def test_an_even_ball_is_not_taken_for_a_stain_on_the_table() -> None:
    capture = photographed(around(), plain_ball=True)
    inside, _ = segment(
        capture.images, capture.frames, capture.cameras, nothing(capture.images), lambda part, step: None
    )
    assert overlaps(inside > 0.5, capture.masks).min() > 0.9


def test_padding_is_no_part_of_the_object(capture: Capture) -> None:
    images = capture.images.copy()
    images[:, :20] = 0
    frames = np.tile([0, 20, SIZE, SIZE], (len(images), 1))
    inside, _ = segment(images, frames, capture.cameras, nothing(images), lambda part, step: None)
    assert not (inside[:, :20] > 0.5).any()
    assert overlaps(inside > 0.5, capture.masks).min() > 0.9


@pytest.mark.parametrize("moving", ["noise", "shade"])
def test_where_nothing_stays_in_place_there_is_no_object(moving: str) -> None:
    cameras = around()
    if moving == "noise":
        images = np.random.default_rng(0).integers(0, 256, (len(cameras), SIZE, SIZE, 3), np.uint8)
    else:
        images = np.repeat(np.linspace(0, 255, len(cameras)).astype(np.uint8), 3 * SIZE**2)
        images = images.reshape(len(cameras), SIZE, SIZE, 3)
    frames = np.tile([0, 0, SIZE, SIZE], (len(cameras), 1))
    with pytest.raises(NumericError) as failed:
        segment(images, frames, cameras, nothing(images), lambda part, step: None)
    assert failed.value.code == "object_not_found"


def test_the_region_is_where_the_cameras_look(capture: Capture) -> None:
    similarity = region(capture.cameras, capture.frames)
    centre = np.linalg.inv(similarity)[:3, 3]
    np.testing.assert_allclose(centre, [0.03, -0.02, 0.0], atol=1e-3)
    # A camera 2.6 away whose view is 128 wide at a focal length of 150 holds this much of a ball.
    radius = 2.6 * np.sin(np.arctan(SIZE / 2 / FOCAL))
    assert 1 / np.cbrt(np.linalg.det(similarity[:3, :3])) == pytest.approx(radius, rel=0.02)


def test_one_camera_that_looks_elsewhere_does_not_move_the_region(capture: Capture) -> None:
    c2w = capture.cameras.c2w.copy()
    turn = np.radians(20)
    c2w[0, :3, :3] @= [[np.cos(turn), 0, np.sin(turn)], [0, 1, 0], [-np.sin(turn), 0, np.cos(turn)]]
    cameras = Cameras(capture.cameras.names, capture.cameras.intrinsics, SIZE, SIZE, c2w)
    centre = np.linalg.inv(region(cameras, capture.frames))[:3, 3]
    np.testing.assert_allclose(centre, [0.03, -0.02, 0.0], atol=0.02)


def test_pixels_within_a_ball_are_its_silhouette(capture: Capture) -> None:
    assert overlaps(within(capture.cameras, RADIUS), capture.masks).min() > 0.985


def test_the_table_is_found(capture: Capture) -> None:
    grey = np.stack([cv2.cvtColor(image, cv2.COLOR_RGB2GRAY) for image in capture.images])
    plane = find_plane(grey, np.ones(grey.shape, bool), capture.cameras)
    assert plane is not None
    assert np.degrees(np.arccos(plane.normal[2])) < 0.5
    assert plane.height == pytest.approx(TABLE, abs=0.01)


def test_photos_that_share_nothing_show_no_plane(capture: Capture) -> None:
    noise = np.random.default_rng(0).integers(0, 256, capture.images.shape[:3], np.uint8)
    assert find_plane(noise, np.ones(noise.shape, bool), capture.cameras) is None


def test_the_plate_shows_the_table_without_the_ball(capture: Capture) -> None:
    grey = np.stack([cv2.cvtColor(image, cv2.COLOR_RGB2GRAY) for image in capture.images])
    photo = np.ones(grey.shape, bool)
    plane = find_plane(grey, photo, capture.cameras)
    assert plane is not None
    found = plate(capture.images, photo, capture.cameras, plane)
    expected, known = (
        in_views(found.colour, capture.cameras, plane),
        in_views(found.known, capture.cameras, plane),
    )
    clear = (known > 0.99) & ~np.stack(
        [cv2.dilate(m.astype(np.uint8), np.ones((5, 5))) > 0 for m in capture.masks]
    )
    assert clear.mean() > 0.2
    assert np.median(np.abs(expected - capture.images)[clear]) < 6
    # Where it stands the photos show the ball, which is not in the plane.
    stands = footprint(np.array([[0.0, 0.0, TABLE]]), plane, 12)
    assert found.focused[stands].mean() < 0.03
    assert found.focused[found.known & ~stands].mean() > 0.9


def test_carving_leaves_the_ball(capture: Capture) -> None:
    evidence = np.where(capture.masks, np.float32(4), np.float32(-4))
    grid = Grid.around(np.full(3, -0.8), np.full(3, 0.8), 64)
    field = carve(evidence, capture.cameras, None, grid)
    assert overlaps(silhouettes(field, grid, capture.cameras), capture.masks).min() > 0.95
    with pytest.raises(NumericError, match="nothing that all photos show"):
        carve(np.full_like(evidence, -4), capture.cameras, None, grid)


def test_of_two_things_the_one_in_the_middle_is_kept() -> None:
    cameras = around()
    field = Grid.around(np.full(3, -0.8), np.full(3, 0.8), 64)
    points = np.stack(np.meshgrid(*[np.arange(n) for n in field.shape], indexing="ij"), -1)
    points = points * field.spacing + np.array(field.origin)
    both = np.minimum(
        np.linalg.norm(points, axis=-1) - 0.2, np.linalg.norm(points - [0.6, 0.3, 0], axis=-1) - 0.15
    ).astype(np.float32)
    middle = (np.linalg.norm(points, axis=-1) - 0.2).astype(np.float32)
    evidence = np.where(silhouettes(both, field, cameras), np.float32(4), np.float32(-4))
    kept = carve(evidence, cameras, None, field)
    assert overlaps(silhouettes(kept, field, cameras), silhouettes(middle, field, cameras)).min() > 0.85


def test_a_cut_follows_edges_and_forgets_specks() -> None:
    image = np.full((1, 60, 60, 3), 50, np.uint8)
    image[:, :, 31:] = 200
    evidence = np.full((1, 60, 60), -1.0, np.float32)
    evidence[:, :, 28:] = 1.0  # three columns off the edge in the picture
    evidence[0, 10, 5] = 2.0
    inside = cut(evidence * 0.2, boundary_costs(image), 4.0, np.array([[0, 0, 60, 60]]), 400)[0]
    assert (inside[:, 32:] > 0.5).all()
    assert (inside[:, :30] < 0.5).all()
    assert not cut(evidence, boundary_costs(image), 4.0, np.zeros((1, 4), np.int64), 10).any()


def test_densities_are_of_colours_a_level() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (20000, 4), np.uint8)
    pixels[:, 3] = 0
    every = density(table(pixels), pixels)
    assert np.median(every) * 256**3 == pytest.approx(1, rel=0.3)
    red = table(np.tile(np.array([[250, 10, 10, 0]], np.uint8), (100, 1)))
    seen, other, rough = density(
        red, np.array([[250, 10, 10, 0], [10, 250, 10, 0], [250, 10, 10, 3]], np.uint8)
    )
    assert seen > 1000 * other > 0
    assert seen > 1000 * rough > 0


def test_texture_is_told_from_an_even_wall_of_the_same_colour_up_to_the_outline() -> None:
    image = np.full((1, 60, 60, 3), 120, np.uint8)
    image[:, :, 30:] += np.random.default_rng(0).integers(0, 60, (1, 60, 30, 1), np.uint8)
    kinds = textured(image)[0, :, :, 3]
    assert (kinds[:, :30] == 0).all()
    assert (kinds[:, 30:] == 3).mean() > 0.9


def test_a_wall_of_the_objects_colour_is_not_the_object(capture: Capture) -> None:
    """What is behind the table, seen by no other photo, has the ball's mean colour, evenly."""
    mean = capture.images[capture.masks].mean(0).astype(np.uint8)
    images = capture.images.copy()
    wall = ~within(capture.cameras, 0.9) & ~capture.masks
    images[wall] = mean
    inside, _ = segment(images, capture.frames, capture.cameras, nothing(images), lambda part, step: None)
    assert overlaps(inside > 0.5, capture.masks).min() > 0.9


def test_exposure_that_changes_is_told_by_the_table(capture: Capture) -> None:
    true = np.exp(np.random.default_rng(3).normal(0, 0.15, (VIEWS, 3))).astype(np.float32)
    true /= np.exp(np.log(true).mean(0))
    images = np.round(capture.images * true[:, None, None] * 0.6).astype(np.uint8)
    grey = np.stack([cv2.cvtColor(image, cv2.COLOR_RGB2GRAY) for image in images])
    photo = np.ones(grey.shape, bool)
    plane = find_plane(grey, photo, capture.cameras)
    assert plane is not None
    np.testing.assert_allclose(balanced(images, photo, capture.cameras, plane) * true, 1, atol=0.03)
    inside, _ = segment(images, capture.frames, capture.cameras, nothing(images), lambda part, step: None)
    assert overlaps(inside > 0.5, capture.masks).min() > 0.92
