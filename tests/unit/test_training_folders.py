"""Shapes of a user's own: what each layout is read as, and what is wrong with the files that are left out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import trimesh

from tests.unit.training_shapes import (
    BRACKET,
    KEPT,
    VIEWS,
    bracket,
    camera,
    check_distances,
    check_seen,
    write_occnet,
    write_r2n2,
)
from workers.geometry.mesh import volume
from workers.training import folders
from workers.training.folders import LEFT_OUT, NoShapes, loaded, recognised
from workers.training.reading import BadShape
from workers.training.shapes import Kept
from workers.training.solids import GREY, from_mesh, solid


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
    (data / ".trash" / "deep").mkdir(parents=True, exist_ok=True)
    (data / ".trash" / "deep" / "0.stl").write_text("thrown away")


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


def test_what_is_kept_and_damaged_is_named(tmp_path: Path, here: list[Any]) -> None:
    data, kept = tmp_path / "data", tmp_path / "kept"
    write_meshes(data, 3)
    loaded(data, kept, TINY, lambda _: None)
    for suffix in ("json", "npz"):
        for damaged in ("", "5"):
            path = next(kept.glob(f"*.{suffix}"))
            path.write_text(damaged)
            with pytest.raises(ValueError, match=f"{path} is damaged; remove it to have it made anew$"):
                loaded(data, kept, TINY, lambda _: None)
            path.unlink()
            loaded(data, kept, TINY, lambda _: None)


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
