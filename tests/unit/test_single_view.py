"""Method single-view: framing, the network, the surface from coarse to fine, and where it is placed."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from safetensors.torch import save_file

from workers.geometry.cameras import Cameras
from workers.geometry.distance import inside
from workers.geometry.errors import NumericError
from workers.reconstruct.methods import single_view
from workers.reconstruct.methods.model import Scene, Settings
from workers.reconstruct.methods.single_view import extraction
from workers.reconstruct.methods.single_view.extraction import filled, refined, surface
from workers.reconstruct.methods.single_view.framing import Framing, framed, outside
from workers.reconstruct.methods.single_view.network import PIXELS, REACH, Design, Network, fed
from workers.reconstruct.methods.single_view.placing import placed
from workers.reconstruct.methods.single_view.weights import read_network, shipped, write_network

Float = NDArray[np.float32]

SMALL = Design(0.1)


def ball(radius: float) -> Callable[[Float], Float]:
    return lambda points: (np.linalg.norm(points, axis=1) - radius).astype(np.float32)


def disc(height: int, width: int, centre: tuple[float, float], radius: float) -> NDArray[np.uint8]:
    """A picture of a disc, red on green."""
    rows, columns = np.mgrid[:height, :width] + 0.5
    inside = np.hypot(columns - centre[0], rows - centre[1]) < radius
    rgba = np.zeros((height, width, 4), np.uint8)
    rgba[..., 1] = 255
    rgba[inside] = [255, 0, 0, 255]
    return rgba


@pytest.mark.parametrize("radius", [20, 150, 700])
def test_the_network_sees_the_object_centred_and_of_one_size(radius: int) -> None:
    size = 4 * radius
    picture, framing = framed(disc(size, size + 7, (1.3 * radius, 2.1 * radius), radius), 128)
    assert framing.scale == pytest.approx(2 * radius, abs=1)
    assert framing.centre == pytest.approx((1.3 * radius, 2.1 * radius), abs=1)
    rows, columns = (np.flatnonzero((picture[..., 3] > 127).any(axis)) for axis in (1, 0))
    wanted = 64 - 128 / (4 * REACH), 63 + 128 / (4 * REACH)  # from -1/2 to 1/2
    for found in (rows, columns):
        assert (found[0], found[-1]) == pytest.approx(wanted, abs=1)
    solid = picture[picture[..., 3] > 250]
    assert (solid[:, 0] > 250).all()
    assert (solid[:, 1] < 5).all()  # nothing of the background


def test_where_a_point_is_seen_is_where_the_network_looks() -> None:
    framing = Framing(200.0, (300.0, 150.0))
    assert framing.pixels(np.array([[0.5, 0.25, 9]])).tolist() == [[400, 100]]


def test_an_empty_outline_is_no_picture() -> None:
    with pytest.raises(ValueError, match="empty"):
        framed(np.zeros((9, 9, 4), np.uint8), 128)


def test_beyond_the_outline_is_outside() -> None:
    mask = disc(300, 300, (150, 150), 100)[..., 3] > 0
    beyond = outside(mask, Framing(200.0, (150.0, 150.0)))
    found = beyond(np.array([[0, 0, 0.1], [0.5, 0, -0.3], [0, 0.6, 0], [9, 9, 0]], np.float32))
    assert found[:3] == pytest.approx([-0.5, 0, 0.1], abs=0.01)
    assert found[3] > 0


@pytest.mark.parametrize("pyramid", [True, False])
def test_a_point_is_judged_by_what_is_seen_at_its_place(pyramid: bool) -> None:
    """Features are looked up where the point is seen: of a map that is 1 in one corner only that corner says
    so.
    """
    network = Network(Design(0.1, pyramid)).eval()
    maps = network.features(torch.zeros(1, 4, PIXELS, PIXELS))
    marked = [torch.zeros_like(each) for each in maps]
    for each in marked:
        each[..., :1, -1:] = 1  # the upper right
    points = torch.tensor([[[0.6, 0.6, 0.0], [0.6, -0.6, 0.0], [-0.6, 0.6, 0.0]]])
    zeros = [torch.zeros_like(each) for each in maps]
    changed = (network.inside(marked, points) - network.inside(zeros, points)).abs()[0]
    assert changed[0] > 1e-6
    assert changed[1:].max() < 1e-7


def test_the_width_is_a_share_of_the_published_channels() -> None:
    def size(design: Design) -> int:
        return sum(each.numel() for each in Network(design).parameters())

    assert 13e6 < size(Design()) < 16e6  # ResNet-18 has 11.2e6
    assert size(Design(0.25)) < size(Design()) / 14
    assert size(Design(0.25, pyramid=False)) < size(Design(0.25))


def test_colours_off_the_object_do_not_count() -> None:
    picture = disc(32, 32, (16, 16), 10)[None]
    other = picture.copy()
    other[picture[..., 3] == 0, :3] = 77
    assert torch.equal(fed(picture), fed(other))


def test_a_network_comes_back_from_its_file(tmp_path: Path) -> None:
    network = Network(SMALL).train()
    pictures, points = torch.rand(4, 4, PIXELS, PIXELS), torch.rand(4, 50, 3) - 0.5
    network(pictures, points)  # moves what batch norm keeps
    network.eval()
    write_network(tmp_path / "n.safetensors", network, {"plan": "none"})
    found = read_network(tmp_path / "n.safetensors")
    assert found.design == SMALL
    assert not found.training
    with torch.no_grad():
        assert torch.allclose(found(pictures, points), network(pictures, points), atol=0.02)


def test_what_is_no_network_is_told(tmp_path: Path) -> None:
    path = tmp_path / "n.safetensors"
    path.write_bytes(b"nothing of the kind")
    with pytest.raises(ValueError, match=r"n\.safetensors is no network"):
        read_network(path)
    for none in (tmp_path / "absent", tmp_path):
        with pytest.raises(ValueError, match=f"{none} is no file"):
            read_network(none)
    for design in (Design(0.2), Design(0.1, pyramid=False)):
        network = Network(SMALL)
        network.design = design
        write_network(path, network, {})
        with pytest.raises(
            ValueError, match=r"does not hold what its design says \(width 0\.\d, (a|no) pyramid\)$"
        ):
            read_network(path)


@pytest.mark.parametrize("width", ['"a"', "null", "[1]", "true", "-1", "0", "1e4", "1e9", "Infinity", "NaN"])
def test_a_design_that_there_is_not_is_told(tmp_path: Path, width: str) -> None:
    path = tmp_path / "n.safetensors"
    save_file({"a": torch.zeros(1)}, path, {"design": f'{{"width": {width}, "pyramid": true}}'})
    with pytest.raises(
        ValueError, match=r"no network of method single-view \(its design is none that there is"
    ):
        read_network(path)


@pytest.mark.parametrize(
    ("header", "why"),
    [
        (None, "its header has no design"),
        ({"plan": "none"}, "its header has no design"),
        ({"design": "{"}, "its header has no design"),
        ({"design": "[0.1, true]"}, "its header has no design"),
        ({"design": '{"height": 0.1}'}, "its header has no design"),
        ({"design": '{"width": 0.1, "pyramid": 1}'}, "its design is none that there is"),
    ],
)
def test_a_header_without_a_design_is_told(tmp_path: Path, header: dict[str, str] | None, why: str) -> None:
    path = tmp_path / "n.safetensors"
    save_file({"a": torch.zeros(1)}, path, header)
    with pytest.raises(ValueError, match=rf"n\.safetensors is no network of method single-view \({why}\)$"):
        read_network(path)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), 1e6])
def test_values_that_are_not_finite_are_neither_written_nor_read(tmp_path: Path, value: float) -> None:
    """1e6 is not in half precision."""
    path = tmp_path / "n.safetensors"
    network = Network(SMALL)
    network.shift(value)
    with pytest.raises(ValueError, match="not finite in half precision"):
        write_network(path, network, {})
    assert not path.exists()
    values = {name: each.half() for name, each in network.state_dict().items()}
    save_file(values, path, {"design": json.dumps(SMALL._asdict())})
    with pytest.raises(ValueError, match=r"n\.safetensors holds values that are not finite"):
        read_network(path)


def test_the_one_that_ships_is_small_and_answers() -> None:
    network = shipped()
    assert network.design.width == 0.25
    file = Path(single_view.__file__).with_name("weights.safetensors")
    assert file.stat().st_size < 4e6


def test_coarse_to_fine_finds_what_the_whole_grid_has() -> None:
    whole = refined(ball(0.4), 64)
    axis = np.linspace(-REACH, REACH, 65, dtype=np.float32)
    at = np.stack(np.meshgrid(axis, axis, axis, indexing="ij"), axis=-1).reshape(-1, 3)
    true = ball(0.4)(at).reshape(65, 65, 65)
    assert ((whole.field < 0) == (true < 0)).all()
    near = np.abs(true) < 2 * REACH / 64
    assert np.abs(whole.field - true)[near].max() < 1e-6
    assert whole.asked < 0.4 * true.size


def test_the_finer_the_grid_the_less_of_it_is_asked_for() -> None:
    share = [refined(ball(0.3), cells).asked / (cells + 1) ** 3 for cells in (32, 64, 128)]
    assert share[0] == 1
    assert share[2] < 0.6 * share[1]
    assert share[2] < 0.15


def test_the_surface_is_the_balls() -> None:
    vertices, faces = surface(refined(ball(0.4), 64).field)
    assert np.abs(np.linalg.norm(vertices, axis=1) - 0.4).max() < 1e-3
    corner = vertices[faces]
    outwards = np.cross(corner[:, 1] - corner[:, 0], corner[:, 2] - corner[:, 0])
    assert ((outwards * corner.mean(1)).sum(1) > 0).all()


def test_a_surface_through_samples_is_closed() -> None:
    """Where the field is exactly 0, as along an outline that follows pixels; what is open has no inside."""
    rng = np.random.default_rng(0)
    for _ in range(5):
        field = rng.choice([-1, 0, 1], (12, 12, 12), p=[0.5, 0.25, 0.25]).astype(np.float32)
        assert len(inside(np.zeros((1, 3)), *surface(field))) == 1


def scene(centre: tuple[float, float], radius: float, c2w: NDArray[np.float64], count: int = 1) -> Scene:
    """Photos of 256 x 256 of a disc, all taken from one place."""
    rgba = disc(256, 256, centre, radius)
    cameras = Cameras(
        names=tuple(f"{i}.png" for i in range(count)),
        intrinsics=np.tile([300.0, 300.0, 128.0, 128.0], (count, 1)),
        width=256,
        height=256,
        c2w=np.tile(c2w, (count, 1, 1)),
    )
    return Scene(
        np.tile(rgba[..., :3], (count, 1, 1, 1)),
        np.tile(rgba[..., 3] > 0, (count, 1, 1)),
        cameras,
        np.tile([0, 0, 256, 256], (count, 1)),
    )


def looking(distance: float) -> NDArray[np.float64]:
    """From somewhere up and aside at the origin."""
    z = np.array([0.6, 0.48, 0.64])
    x = np.cross([0, 1, 0], z)
    x /= np.linalg.norm(x)
    c2w = np.eye(4)
    c2w[:3, :3] = np.stack([x, np.cross(z, x), z], axis=1)
    c2w[:3, 3] = distance * z
    return c2w


@pytest.mark.parametrize("centre", [(128, 128), (80, 170)])
def test_each_point_is_where_the_camera_saw_it(centre: tuple[float, float]) -> None:
    c2w = looking(5.0)
    given = scene(centre, 50, c2w)
    vertices, faces = surface(refined(ball(0.5), 64).field)
    framing = framed(np.dstack([given.images[0], given.masks[0] * np.uint8(255)]), 128)[1]
    at = placed(framing, given)
    world = at.moved_back(vertices)
    x, y, w = given.cameras.projection()[0] @ np.c_[world, np.ones(len(world))].T
    assert np.stack([x / w, y / w], axis=1) == pytest.approx(framing.pixels(vertices), abs=0.01)
    depth = -(world - c2w[:3, 3]) @ c2w[:3, 2]
    assert depth.mean() == pytest.approx(5.0, rel=0.02)  # that of the origin
    across = np.ptp(world @ c2w[:3, :2], axis=0)
    assert np.ptp(depth) == pytest.approx(across.mean(), rel=0.05)  # as deep as it is wide
    turned = at.turned_back(vertices, vertices / np.linalg.norm(vertices, axis=1, keepdims=True))
    corner = world[faces].astype(np.float64)
    faced = np.cross(corner[:, 1] - corner[:, 0], corner[:, 2] - corner[:, 0])
    faced /= np.linalg.norm(faced, axis=1, keepdims=True)
    assert (turned[faces].mean(1) * faced).sum(1).min() > 0.98


def test_a_lens_that_cannot_be_true_does_not_turn_the_shape_inside_out() -> None:
    given = scene((128, 128), 100, looking(5.0))
    given.cameras.intrinsics[0, :2] = 20.0
    framing = framed(np.dstack([given.images[0], given.masks[0] * np.uint8(255)]), 128)[1]
    corner = placed(framing, given).moved_back(np.array([[0, 0, 0.5], [0, 0, -0.5]], np.float32))
    depth = -(corner - looking(5.0)[:3, 3]) @ looking(5.0)[:3, 2]
    assert 0 < depth[0] < depth[1]


def test_the_mirror_image_is_a_photo_from_behind() -> None:
    """A point and its mirror image are seen at mirrored pixels, and the colours agree."""
    given = scene((100, 120), 40, looking(4.0))
    framing = framed(np.dstack([given.images[0], given.masks[0] * np.uint8(255)]), 128)[1]
    at = placed(framing, given)
    points = np.random.default_rng(0).uniform(-0.4, 0.4, (20, 3))
    front, behind = at.photos.cameras.projection()
    there = np.c_[points, np.ones(20)] @ front.T
    back = np.c_[points * [1, 1, -1], np.ones(20)] @ behind.T
    assert back[:, 0] / back[:, 2] == pytest.approx(256 - there[:, 0] / there[:, 2])
    assert back[:, 1] / back[:, 2] == pytest.approx(there[:, 1] / there[:, 2])
    assert np.linalg.det(at.photos.cameras.c2w[1, :3, :3]) == pytest.approx(1)
    assert np.array_equal(at.photos.images[1], at.photos.images[0][:, ::-1])


@pytest.fixture
def seen_as_a_ball(monkeypatch: pytest.MonkeyPatch) -> None:
    """In the place of the network."""
    monkeypatch.setattr(extraction, "asked", lambda network, maps, points: 20 * ball(0.48)(points))


@pytest.mark.usefixtures("seen_as_a_ball")
def test_one_photo_becomes_a_textured_mesh() -> None:
    told: list[float] = []
    given = scene((128, 128), 60, looking(5.0), count=3)
    mesh = single_view.reconstruct(given, Settings("preview"), lambda part, info: told.append(part))
    corner = mesh.vertices[mesh.faces].astype(np.float64)
    assert np.einsum("fi,fi->f", corner[:, 0], np.cross(corner[:, 1], corner[:, 2])).sum() > 0
    reds = mesh.kd.reshape(-1, 3)[mesh.kd.reshape(-1, 3).any(1)]
    assert np.median(reds, axis=0) == pytest.approx([255, 0, 0], abs=20)
    assert told == sorted(told)
    assert told[-1] == pytest.approx(1)
    assert "not measured" in mesh.warnings[0]
    assert "only the first" in mesh.warnings[1]


@pytest.mark.usefixtures("seen_as_a_ball")
def test_the_same_photo_gives_the_same_bytes() -> None:
    given = scene((120, 140), 60, looking(5.0))
    a, b = (single_view.reconstruct(given, Settings("preview"), lambda part, info: None) for _ in range(2))
    assert a.vertices.tobytes() == b.vertices.tobytes()
    assert a.kd.tobytes() == b.kd.tobytes()


def test_an_empty_mask_is_told() -> None:
    given = scene((128, 128), 0, looking(5.0))
    with pytest.raises(NumericError) as caught:
        single_view.reconstruct(given, Settings(), lambda part, info: None)
    assert caught.value.code == "mask_empty"
    assert caught.value.params["file"] == "0.png"


def test_what_the_network_misses_of_the_outline_is_filled() -> None:
    """A ball is seen, but not the rod across it; the rod's middle is as deep as the ball's."""
    mask = disc(256, 256, (128, 128), 50)[..., 3] > 0
    mask[124:132, 28:228] = True
    beyond = outside(mask, Framing(200.0, (128.0, 128.0)))
    deeper = np.array([0, 0, 0.2], np.float32)
    seen = refined(lambda points: np.maximum(ball(0.25)(points + deeper), beyond(points)), 64).field
    found = filled(seen, beyond) < 0
    axis = np.linspace(-REACH, REACH, 65, dtype=np.float32)
    columns = np.stack(np.meshgrid(axis, axis, np.zeros(1), indexing="ij"), axis=-1).reshape(-1, 3)
    assert (found.any(2) == (beyond(columns.astype(np.float32)) < 0).reshape(65, 65)).all()
    rod = found[np.abs(axis) > 0.35]
    assert np.abs(axis[np.nonzero(rod)[2]] + 0.2).max() < 0.05
    core = np.ix_(np.abs(axis) < 0.15, np.abs(axis) < 0.15)
    assert (found == (seen < 0))[core].all()


@pytest.mark.parametrize("said", [1.0, 12.0])
def test_a_network_that_sees_nothing_leaves_what_the_outline_says(
    monkeypatch: pytest.MonkeyPatch, said: float
) -> None:
    def nothing(*asked: object) -> torch.Tensor:
        count = asked[-1].shape[1]  # type: ignore[attr-defined]
        assert count  # no network can be asked for no point
        return torch.full((1, count), -said)

    monkeypatch.setattr(Network, "inside", nothing)
    given = scene((128, 128), 60, looking(5.0))
    mesh = single_view.reconstruct(given, Settings("preview"), lambda part, info: None)
    x, y, w = given.cameras.projection()[0] @ np.c_[mesh.vertices, np.ones(len(mesh.vertices))].T
    assert [np.ptp(x / w), np.ptp(y / w)] == pytest.approx([120, 120], abs=4)


def test_what_is_too_thin_is_told() -> None:
    """A frame a pixel wide, between the samples of the grid."""
    mask = np.zeros((1, 1000, 1000), bool)
    mask[:, 5:995, 5:995] = True
    mask[:, 6:994, 6:994] = False
    given = replace(scene((0, 0), 0, looking(5.0)), masks=mask, images=np.zeros((*mask.shape, 3), np.uint8))
    with pytest.raises(NumericError, match="too thin") as caught:
        single_view.reconstruct(given, Settings("preview"), lambda part, info: None)
    assert caught.value.code == "mask_empty"


def test_what_lies_beyond_the_picture_is_nothing() -> None:
    """An object cut off by the photo's edge: its frame is filled with transparency, not with the edge's
    colour.
    """
    rgba = disc(100, 100, (0, 50), 40)
    picture, _ = framed(rgba, 64)
    assert picture[32, 2, 3] == 0
    assert cv2.countNonZero(picture[..., 3]) > 100
