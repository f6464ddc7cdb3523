"""Shapes of a user's own: what each layout is read as, and what is wrong with the files that are left out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import trimesh
from manifold3d import Manifold
from numpy.typing import NDArray
from PIL import Image

from workers.geometry.cameras import Cameras
from workers.geometry.mesh import volume
from workers.reconstruct.methods.single_view.network import PIXELS, REACH
from workers.render.depth import clip_positions
from workers.render.rasterizer import rasterize
from workers.training import folders
from workers.training.examples import Example
from workers.training.folders import LEFT_OUT, NoShapes, loaded, recognised
from workers.training.occnet import cut_out, from_occnet, rotation
from workers.training.r2n2 import from_r2n2, read_binvox, seen_from, surface_of
from workers.training.reading import BadShape
from workers.training.shapes import Kept, scattered
from workers.training.solids import GREY, from_mesh, solid

Array = NDArray[np.float64]
Float = NDArray[np.float32]

KEPT = Kept(pictures=3, near=1500, even=1500)
SIDE = 137
# Two boxes, low and high corner, whose union no mirror and no turn takes to itself. Its longest side is 1 and
# its box lies around 0.
BRACKET = np.array([[[-16, -10, -6], [16, -4, 6]], [[-16, -10, -6], [-8, 10, 2]]]) / 32


def distance(points: NDArray[np.floating]) -> Array:
    """To the bracket: exact outside; inside of the right sign, and no farther than it is."""
    away = np.abs(points[:, None] - BRACKET.mean(1)) - np.ptp(BRACKET, axis=1) / 2
    found: Array = (np.linalg.norm(np.maximum(away, 0), axis=2) + np.minimum(away.max(2), 0)).min(1)
    return found


def bracket() -> tuple[Float, NDArray[np.int32]]:
    a, b = (Manifold.cube(high - low).translate(low) for low, high in BRACKET)
    mesh = (a + b).to_mesh()
    return np.asarray(mesh.vert_properties)[:, :3].copy(), np.asarray(mesh.tri_verts).astype(np.int32)


def camera(azimuth: float, elevation: float, roll: float = 0) -> Cameras:
    """Far away, as Blender has it: z is up, and an OBJ's (x,y,z) comes to lie at (x,-z,y)."""
    a, e, r = np.radians([azimuth, elevation, roll])
    back = np.array([np.cos(a) * np.cos(e), -np.sin(a) * np.cos(e), np.sin(e)])
    right = np.cross([0, 0, 1], back) / np.cos(e)
    up = np.cross(back, right)
    pose = np.eye(4)
    pose[:3, :3] = np.stack(
        [np.cos(r) * right + np.sin(r) * up, np.cos(r) * up - np.sin(r) * right, back], axis=1
    )
    pose[:3, 3] = 40 * back
    obj = np.array([[1, 0, 0, 0], [0, 0, 1, 0], [0, -1, 0, 0], [0, 0, 0, 1]])
    intrinsics = np.array([[40 * 100, 40 * 100, SIDE / 2 + 3, SIDE / 2 - 2]])
    return Cameras(("view",), intrinsics, SIDE, SIDE, (obj @ pose)[None])


def drawn(view: Cameras) -> NDArray[np.uint8]:
    """(SIDE,SIDE,4) the bracket, dark."""
    vertices, faces = bracket()
    seen = rasterize(clip_positions(vertices, view), faces, (SIDE, SIDE))[0][..., 3] > 0
    return np.dstack([np.full((SIDE, SIDE, 3), 90), 255 * seen]).astype(np.uint8)


def check_seen(found: Example, least: float) -> None:
    """Points inside are seen within the outline, and wherever there is outline some are."""
    points = np.concatenate([found.near, found.even])[
        np.concatenate([found.near_distances, found.even_distances]) < 0
    ]
    assert len(points) > 300
    for picture, frame in zip(found.pictures, found.frames, strict=True):
        moved = points @ frame[:3, :3].T + frame[:3, 3]
        column, row = ((moved[:, :2] * [1, -1] / REACH + 1) * PIXELS / 2).astype(int).T
        assert (picture[row, column, 3] > 0).mean() > least
        cells = np.zeros((16, 16), bool)
        cells[row // 8, column // 8] = True
        full = (picture[..., 3] > 127).reshape(16, 8, 16, 8).all((1, 3))
        assert cells[full].mean() > least
        assert np.linalg.det(frame[:3, :3]) > 0


def check_distances(found: Example, error: float) -> None:
    """All but a few: a cloud's normals do not tell the side of each point."""
    for points, distances in (
        (found.near, found.near_distances),
        (found.even, found.even_distances),
    ):
        true = distance(points)
        clear = np.abs(true) > error
        assert clear.mean() > 0.3
        assert ((distances < 0) == (true < 0))[clear].mean() > 0.995
        outside = clear & (true > 0)
        assert np.quantile(np.abs(distances - true)[outside], 0.99) < error
        assert (np.abs(distances) >= np.abs(true) - error).all()


def write_occnet(
    model: Path, views: Sequence[Cameras], packed: bool = True, pictures: Callable[..., Any] = drawn
) -> None:
    """The bracket in another place and size, as the frame of its cameras has it."""
    middle, scale = np.array([0.3, -0.2, 0.7]), 0.8
    rng = np.random.default_rng(0)
    vertices, faces = bracket()
    points = scattered(vertices, faces, 20_000, rng)
    away = (points[:, None] - BRACKET.mean(1)) / (np.ptp(BRACKET, axis=1) / 2)  # 1 on the sides of a box
    of = np.argmin(np.abs(np.abs(away).max(2) - 1), axis=1)
    side = away[np.arange(len(points)), of]
    normals = np.where(np.abs(side) > np.abs(side).max(1, keepdims=True) - 1e-6, np.sign(side), 0)
    folder = model / "img_choy2016"
    folder.mkdir(parents=True)
    common: dict[str, Any] = {"loc": middle, "scale": scale}
    half = np.float16
    np.savez(model / "pointcloud.npz", points=points.astype(half), normals=normals.astype(half), **common)
    some = rng.uniform(-0.55, 0.55, (4003, 3)).astype(half)
    inside = distance(some.astype(float)) < 0
    np.savez(
        model / "points.npz", points=some, occupancies=np.packbits(inside) if packed else inside, **common
    )
    cameras: dict[str, Any] = {}
    for k, view in enumerate(views):
        focal, _, x, y = view.intrinsics[0]
        matrix = np.diag([1, -1, -1]) @ view.w2c()[0, :3]
        matrix[:, 3] = scale * matrix[:, 3] - matrix[:, :3] @ middle
        cameras[f"world_mat_{k}"] = matrix
        cameras[f"camera_mat_{k}"] = np.array([[focal, 0, x], [0, focal, y], [0, 0, 1]])
        picture = pictures(view)
        shown = np.where(picture[..., 3:] > 0, picture[..., :3], 255).astype(np.uint8)
        Image.fromarray(shown).save(folder / f"{k:03}.jpg")
    np.savez(folder / "cameras.npz", **cameras)


def write_binvox(path: Path, voxels: NDArray[np.bool_]) -> None:
    """In the order of x, z, y; runs of 255 at most."""
    flat = voxels.transpose(0, 2, 1).ravel()
    starts = np.flatnonzero(np.r_[True, flat[1:] != flat[:-1]])
    runs = b""
    for start, end in zip(starts, [*starts[1:], len(flat)], strict=True):
        for at in range(start, end, 255):
            runs += bytes([int(flat[start]), min(255, end - at)])
    size = " ".join(map(str, voxels.shape))
    head = f"#binvox 1\ndim {size}\ntranslate -0.5 -0.5 -0.5\nscale 1\ndata\n"
    path.write_bytes(head.encode() + runs)


def bracket_voxels() -> NDArray[np.bool_]:
    """In the low corner of the grid."""
    places = (np.stack(np.meshgrid(*3 * [np.arange(32)], indexing="ij"), axis=-1) + 0.5) / 32
    found: NDArray[np.bool_] = distance((places + BRACKET.min((0, 1))).reshape(-1, 3)).reshape(32, 32, 32) < 0
    return found


def write_r2n2(data: Path, name: str, views: Sequence[tuple[float, float]]) -> Path:
    """The folder in ShapeNetRendering."""
    model = data / "ShapeNetRendering" / name
    (model / "rendering").mkdir(parents=True)
    voxels = data / "ShapeNetVox32" / name
    voxels.mkdir(parents=True)
    write_binvox(voxels / "model.binvox", bracket_voxels())
    for k, view in enumerate(views):
        Image.fromarray(drawn(camera(*view))).save(model / "rendering" / f"{k:02}.png")
    lines = [f"{azimuth} {elevation} 0 0.8 25" for azimuth, elevation in views]
    (model / "rendering" / "rendering_metadata.txt").write_text("\n".join(lines) + "\n")
    return model


VIEWS = [(35.0, 28.0), (160.0, 25.0), (290.0, 33.0)]


@pytest.mark.parametrize("packed", [True, False])
def test_occnet_is_seen_where_its_cameras_have_it(tmp_path: Path, packed: bool) -> None:
    write_occnet(tmp_path, [camera(*view, roll=12) for view in VIEWS], packed)
    found = from_occnet(tmp_path, KEPT, np.random.default_rng(0))
    assert [each.shape[0] for each in found] == [3, 3, 1500, 1500, 1500, 1500]
    check_seen(found, 0.97)
    check_distances(found, 0.012)
    assert np.abs(found.even).max() > 0.7  # beyond the cube that the file tells of
    again = from_occnet(tmp_path, KEPT, np.random.default_rng(0))
    for a, b in zip(found, again, strict=True):
        np.testing.assert_array_equal(a, b)


def test_a_cameras_signs_do_not_matter_but_a_mirror_does() -> None:
    view = camera(35, 28, roll=-20)
    focal, _, x, y = view.intrinsics[0]
    up = view.w2c()[0, :3]  # y up, z towards the viewer
    down = np.diag([1, -1, -1]) @ up
    usual = np.array([[focal, 0, x], [0, focal, y], [0, 0, 1]])
    flipped = np.array([[focal, 0, -x], [0, -focal, -y], [0, 0, -1]])
    surface = bracket()[0].astype(np.float64)
    for projection in (usual @ down, flipped @ up, -usual @ down, 3 * usual @ down):
        np.testing.assert_allclose(rotation(projection, surface), up[:, :3], atol=1e-9)
    with pytest.raises(BadShape, match="mirrors"):
        rotation(usual @ np.diag([-1, 1, 1]) @ down, surface)


def test_what_is_not_white_is_cut_out_with_what_it_encloses() -> None:
    rows, columns = np.mgrid[:60, :80]
    away = np.hypot(rows - 30, columns - 40)
    picture = np.full((60, 80, 3), 255, np.uint8)
    picture[(away < 20) & (away > 8)] = 100, 250, 250
    picture[2, 3] = 0
    np.testing.assert_array_equal(cut_out(picture)[..., 3] > 0, away < 20)
    assert not cut_out(np.full((60, 80, 3), 250, np.uint8))[..., 3].any()


def test_pictures_in_which_white_hides_the_outline_are_left_out(tmp_path: Path) -> None:
    def partly(view: Cameras) -> NDArray[np.uint8]:
        picture = drawn(view)
        if view is views[0]:
            picture[:, : SIDE // 2, :3] = 252
        return picture

    views = [camera(*view) for view in VIEWS]
    write_occnet(tmp_path / "a", views, pictures=partly)
    check_seen(from_occnet(tmp_path / "a", KEPT, np.random.default_rng(0)), 0.97)
    write_occnet(tmp_path / "b", views[:1], pictures=partly)
    with pytest.raises(BadShape, match="no picture in img_choy2016"):
        from_occnet(tmp_path / "b", KEPT, np.random.default_rng(0))


def test_damaged_arrays_are_named(tmp_path: Path) -> None:
    def refuse(why: str) -> None:
        with pytest.raises(BadShape, match=why):
            from_occnet(tmp_path, KEPT, np.random.default_rng(0))

    refuse("pointcloud.npz cannot be read")
    write_occnet(tmp_path, [camera(*VIEWS[0])])
    points = tmp_path / "points.npz"
    whole = points.read_bytes()
    points.write_bytes(whole[: len(whole) // 2])
    refuse("points.npz cannot be read")
    np.savez(points, points=np.zeros((9, 3)), occupancies=np.zeros(1, np.uint8))
    refuse("points.npz does not say of each point")
    np.savez(points, points=np.zeros((9, 2)), occupancies=np.zeros(9))
    refuse("points of points.npz is not as it should be")
    points.write_bytes(whole)
    np.savez(tmp_path / "img_choy2016" / "cameras.npz", nothing=0)
    refuse("cameras.npz cannot be read")
    (tmp_path / "img_choy2016" / "cameras.npz").unlink()
    refuse("cameras.npz cannot be read")


def test_r2n2_is_seen_where_its_angles_have_it(tmp_path: Path) -> None:
    model = write_r2n2(tmp_path, "02691156/a", VIEWS)
    found = from_r2n2(model, KEPT, np.random.default_rng(0))
    check_seen(found, 0.95)
    check_distances(found, 0.02)  # corners are cut at half a voxel
    for azimuth, elevation in VIEWS:
        turn = camera(azimuth, elevation).w2c()[0, :3, :3]
        np.testing.assert_allclose(seen_from(azimuth, elevation), turn, atol=1e-12)


def test_voxels_come_back_along_their_axes(tmp_path: Path) -> None:
    voxels = np.random.default_rng(0).random((7, 7, 7)) < 0.3
    write_binvox(tmp_path / "a.binvox", voxels)
    np.testing.assert_array_equal(read_binvox(tmp_path / "a.binvox"), voxels)
    vertices, faces = surface_of(bracket_voxels())
    np.testing.assert_allclose(vertices.max(0), BRACKET.max((0, 1)), atol=1e-6)
    # All edges that stick out are cut off by half a voxel.
    true = float(np.prod(np.ptp(BRACKET, axis=1), axis=1).sum() - 8 * 6 * 8 / 32**3)
    assert 0.95 * true < volume(vertices, faces) < true


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"", "is no binvox file"),
        (b"#binvox 1\ndim 2 2 2\ntranslate 0 0 0\nscale 1\n", "is no binvox file"),
        (b"#binvox 1\ndim 2 2 3\ntranslate 0 0 0\nscale 1\ndata\n\x01\x0c", "is not as wide"),
        (b"#binvox 1\ndim 9000 9000 9000\ntranslate 0 0 0\nscale 1\ndata\n\x01\x0c", "is not as wide"),
        (b"#binvox 1\ndim 2 2 2\ntranslate 0 0 0\nscale 1\ndata\n", "is damaged"),
        (b"#binvox 1\ndim 2 2 2\ntranslate 0 0 0\nscale 1\ndata\n\x01", "is damaged"),
        (b"#binvox 1\ndim 2 2 2\ntranslate 0 0 0\nscale 1\ndata\n\x01\x07", "is damaged"),
        (b"#binvox 1\ndim 2 2 2\ntranslate 0 0 0\nscale 1\ndata\n\x01\x09", "is damaged"),
        (b"#binvox 1\ndim 2 2 2\ntranslate 0 0 0\nscale 1\ndata\n\x02\x08", "is damaged"),
    ],
)
def test_damaged_voxels_are_named(tmp_path: Path, content: bytes, why: str) -> None:
    (tmp_path / "a.binvox").write_bytes(content)
    with pytest.raises(BadShape, match=f"a.binvox {why}"):
        read_binvox(tmp_path / "a.binvox")


def test_r2n2_says_what_is_missing(tmp_path: Path) -> None:
    model = write_r2n2(tmp_path, "c/a", VIEWS[:1])

    def refuse(why: str) -> None:
        with pytest.raises(BadShape, match=why):
            from_r2n2(model, KEPT, np.random.default_rng(0))

    metadata = model / "rendering" / "rendering_metadata.txt"
    metadata.write_text("")
    refuse("rendering_metadata.txt tells of no picture")
    metadata.write_text("x y z\n")
    refuse("rendering_metadata.txt cannot be read")
    metadata.write_text("35 28 10 0.8 25\n")
    refuse("turned in their plane")
    metadata.write_text("35 28 0 0.8 25\n")
    Image.new("RGB", (9, 9)).save(model / "rendering" / "00.png")
    refuse("no alpha")
    write_binvox(tmp_path / "ShapeNetVox32" / "c" / "a" / "model.binvox", np.zeros((4, 4, 4), bool))
    refuse("empty")


@pytest.mark.parametrize("suffix", ["obj", "ply", "stl", "glb", "off", "STL"])
def test_a_mesh_is_one_closed_solid(tmp_path: Path, suffix: str) -> None:
    vertices, faces = bracket()
    apart = trimesh.Trimesh(7 * vertices[faces].reshape(-1, 3) + 3, np.arange(faces.size).reshape(-1, 3))
    apart.export(tmp_path / f"a.{suffix}")
    found = solid(tmp_path / f"a.{suffix}")
    assert len(found.vertices) == len(vertices)
    np.testing.assert_allclose(found.vertices.min(0), BRACKET.min((0, 1)), atol=1e-5)
    assert volume(found.vertices, found.faces) == pytest.approx(volume(vertices, faces), rel=1e-4)
    assert [each._replace(colour=(0, 0, 0)) for each in found.palette] == [GREY._replace(colour=(0, 0, 0))]
    assert found.palette[0].colour == pytest.approx(GREY.colour, abs=3e-3)


def test_a_mesh_is_drawn_as_it_lies(tmp_path: Path) -> None:
    vertices, faces = bracket()
    trimesh.Trimesh(vertices, faces).export(tmp_path / "a.ply")
    found = from_mesh(tmp_path / "a.ply", KEPT, np.random.default_rng(3))
    check_seen(found, 0.9)
    check_distances(found, 1e-4)


@pytest.mark.parametrize("suffix", ["ply", "glb", "obj"])
def test_a_mesh_keeps_its_colours(tmp_path: Path, suffix: str) -> None:
    vertices, faces = bracket()
    colours = np.where(vertices[faces].mean(1)[:, :1] > -0.3, [200, 30, 20, 255], [20, 40, 180, 255])
    if suffix == "glb":  # two pieces of one surface, each of its own material
        red = colours[:, 0] > 100
        scene: Any = trimesh.Scene()
        visuals: Any = trimesh.visual.TextureVisuals
        paint: Any = trimesh.visual.material.PBRMaterial
        for part, factor in ((red, (0.8, 0.02, 0.01, 1)), (~red, (0.01, 0.02, 0.5, 1))):
            mesh = trimesh.Trimesh(vertices, faces[part])
            mesh.visual = visuals(material=paint(baseColorFactor=factor))
            scene.add_geometry(mesh)
        scene.export(tmp_path / "a.glb")
    else:
        apart = np.arange(faces.size).reshape(-1, 3)
        mesh = trimesh.Trimesh(
            vertices[faces].reshape(-1, 3), apart, vertex_colors=colours.repeat(3, axis=0), process=False
        )
        mesh.export(tmp_path / f"a.{suffix}")
    found = solid(tmp_path / f"a.{suffix}")
    paints = np.array([each.colour for each in found.palette])[found.materials]
    red = paints[:, 0] > paints[:, 2]
    np.testing.assert_array_equal(red, found.vertices[found.faces].mean(1)[:, 0] > -0.3)
    wanted = [[0.906, 0.15, 0.1]] if suffix == "glb" else [[200 / 255, 30 / 255, 20 / 255]]
    np.testing.assert_allclose(paints[red], np.repeat(wanted, red.sum(), axis=0), atol=0.01)


def test_faces_that_look_anywhere_are_turned_outwards(tmp_path: Path) -> None:
    vertices, faces = bracket()
    faces[::3] = faces[::3, ::-1]
    trimesh.Trimesh(vertices, faces, process=False).export(tmp_path / "a.off")
    trimesh.Trimesh(vertices, bracket()[1][:, ::-1], process=False).export(tmp_path / "b.off")
    for name in "ab":
        found = solid(tmp_path / f"{name}.off")
        assert volume(found.vertices, found.faces) == pytest.approx(volume(vertices, bracket()[1]), rel=1e-4)


def write_bad_meshes(data: Path) -> dict[str, str]:
    """Names, and why."""
    ball = trimesh.creation.icosphere(subdivisions=1)
    trimesh.Trimesh(ball.vertices, ball.faces[1:], process=False).export(data / "open.ply")
    both = np.concatenate([ball.faces, ball.faces[:, ::-1]])
    trimesh.Trimesh(ball.vertices, both, process=False).export(data / "both.ply")
    cloud: Any = trimesh.PointCloud
    cloud(ball.vertices).export(data / "points.ply")
    (data / "damaged.ply").write_text("damaged")
    (data / "none.off").write_text("OFF\n3 1 0\n0 0 0\nnan 0 0\n0 1 0\n3 0 1 2\n")
    return {
        "open.ply": "its surface is not closed",
        "both.ply": "its surface encloses nothing",
        "points.ply": "it has no faces",
        "damaged.ply": "it cannot be read as a mesh",
        "none.off": "its vertices are not finite",
    }


def test_meshes_that_cannot_be_used_say_why(tmp_path: Path) -> None:
    for name, why in write_bad_meshes(tmp_path).items():
        with pytest.raises(BadShape, match=why):
            solid(tmp_path / name)


def write_meshes(data: Path, count: int) -> None:
    (data / "deep").mkdir(parents=True, exist_ok=True)
    for k in range(count):
        trimesh.creation.box([1, 1 + k, 2]).export(data / "deep" / f"{k}.stl")
    (data / ".0.stl").write_text("a Mac's")


TINY = Kept(pictures=1, near=40, even=40)


@pytest.fixture
def here(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Work in this process, and what was done."""
    done: list[Any] = []

    def in_processes(work: Callable[..., None], jobs: Sequence[Any], _: Callable[[float], None]) -> None:
        done.extend(jobs)
        for job in jobs:
            work(*job)

    monkeypatch.setattr(folders, "in_processes", in_processes)
    return done


def test_meshes_are_loaded_by_processes_and_the_bad_ones_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("os.cpu_count", lambda: 1)
    write_meshes(tmp_path / "data", 12)
    bad = write_bad_meshes(tmp_path / "data")
    told: list[float] = []
    with pytest.warns(UserWarning, match="5 of 17 shapes are left out"):
        learned, held_out = loaded(tmp_path / "data", tmp_path / "kept", TINY, told.append)
    assert (len(learned), len(held_out)) == (11, 1)
    assert told[-1] == 1
    lines = (tmp_path / "kept" / LEFT_OUT).read_text().splitlines()
    assert len(lines) == len(bad)
    for name, why in bad.items():
        assert any(line.startswith(f"{name}: {why}") for line in lines)


@pytest.mark.filterwarnings("ignore:.*left out")
def test_what_has_not_changed_is_not_made_again(tmp_path: Path, here: list[Any]) -> None:
    data, kept = tmp_path / "data", tmp_path / "kept"
    write_meshes(data, 3)
    first = loaded(data, kept, TINY, lambda _: None)
    assert len(here) == 2
    again = loaded(data, kept, TINY, lambda _: None)
    assert len(here) == 2
    anew = loaded(data, tmp_path / "other", TINY, lambda _: None)
    assert len(here) == 4
    for a, b, c in zip(first, again, anew, strict=True):
        for one, *others in zip(a.judged(), b.judged(), c.judged(), strict=True):
            for other in others:
                np.testing.assert_array_equal(one.pictures, other.pictures)
                np.testing.assert_array_equal(one.distances, other.distances)
    (data / "deep" / "1.stl").write_bytes(b"solid")
    learned, _ = loaded(data, kept, TINY, lambda _: None)
    assert len(here) == 5
    assert len(learned) == 1
    loaded(data, kept, TINY._replace(near=30), lambda _: None)
    assert len(here) == 7


def test_without_usable_shapes_it_says_so(tmp_path: Path, here: list[Any]) -> None:
    def refuse(why: str) -> None:
        with pytest.raises(NoShapes, match=why):
            loaded(data, tmp_path / "kept", TINY, lambda _: None)

    data = tmp_path / "data"
    refuse("there is no folder")
    data.mkdir()
    (data / "notes.txt").write_text("nothing")
    refuse(r"layout that is known: .*\.obj.*points\.npz.*ShapeNetRendering")
    write_meshes(data, 1)
    refuse("no shape to learn from that can be used, and two are the least")
    (data / "deep" / "1.ply").write_text("damaged")
    with pytest.warns(UserWarning, match="1 of 2"):
        refuse(r"no shape to learn from that can be used \(deep/1.ply: it cannot be read as a mesh")
    (data / "ShapeNetRendering").mkdir()
    refuse("has no ShapeNetVox32")


def test_lists_say_what_is_held_out(tmp_path: Path) -> None:
    for category, models in (("a", "pqrst"), ("b", "uv")):
        for model in models:
            (tmp_path / category / model).mkdir(parents=True)
            (tmp_path / category / model / "points.npz").touch()
    (tmp_path / "a" / "train.lst").write_text("q\np\nmissing\n../b/u\n\n")
    (tmp_path / "a" / "val.lst").write_text("r")
    (tmp_path / "a" / "test.lst").write_text("s\n")

    def names() -> tuple[str, str]:
        found = recognised(tmp_path)
        assert found.kind == "occnet"
        return tuple(" ".join(each.name for each in part) for part in found[1:])  # type: ignore[return-value]

    assert names() == ("a/missing a/p a/q b/v", "a/r b/u")
    (tmp_path / "a" / "val.lst").unlink()
    assert names() == ("a/missing a/p a/q b/v", "a/s b/u")
    (tmp_path / "a" / "train.lst").unlink()
    assert names() == ("a/p a/q a/r a/t b/v", "a/s b/u")
    (tmp_path / "a" / "test.lst").unlink()
    assert names() == ("a/q a/r a/s a/t b/u b/v", "a/p")


@pytest.mark.parametrize("kind", ["occnet", "r2n2"])
def test_each_layout_is_recognised_and_loaded(tmp_path: Path, here: list[Any], kind: str) -> None:
    data = tmp_path / "data"
    for name in ("c/a", "c/b", "d/a"):
        if kind == "occnet":
            write_occnet(data / name, [camera(*VIEWS[0])])
        else:
            write_r2n2(data, name, VIEWS[:1])
    if kind == "occnet":
        (data / "d" / "a" / "pointcloud.npz").unlink()
    else:
        (data / "ShapeNetVox32" / "d" / "a" / "model.binvox").unlink()
    with pytest.warns(UserWarning, match="1 of 3"):
        learned, held_out = loaded(data, tmp_path / "kept", TINY, lambda _: None)
    assert recognised(data).kind == kind
    assert (len(learned), len(held_out)) == (1, 1)
    assert (tmp_path / "kept" / LEFT_OUT).read_text().startswith("d/a: ")
