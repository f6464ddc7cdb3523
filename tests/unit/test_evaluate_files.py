"""Models and truths on disk, in every layout, whole and broken; and the command."""

from __future__ import annotations

import json
import struct
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import trimesh
from PIL import Image
from typer.testing import CliRunner

from tests.unit.test_evaluate_geometry import FACES, SPHERE, cameras, mesh_of
from workers.cli import app
from workers.evaluate.errors import CannotEvaluate
from workers.evaluate.images import base_colour
from workers.evaluate.mesh import Mesh, load_mesh
from workers.evaluate.report import evaluate, in_words
from workers.evaluate.truth import read_truth
from workers.package import glb
from workers.package.model import Model
from workers.reconstruct.methods.model import TexturedMesh
from workers.reconstruct.obj import write_obj
from workers.simulate.capture import simulate

SAMPLES = 20_000
rng = np.random.default_rng(1)
KD, KS, NORMAL = (rng.integers(0, 256, (8, 8, 3), np.uint8) for _ in range(3))


def ball() -> Mesh:
    """The unit sphere, a texture projected on it."""
    uv = (SPHERE[:, :2] / 2 + 0.5).astype(np.float32)
    return replace(mesh_of(SPHERE, FACES), uv=uv, kd=KD, ks=KS, normal_map=NORMAL)


def write_model(folder: Path, mesh: Mesh) -> Path:
    """mesh.obj and what belongs to it."""
    assert mesh.ks is not None
    assert mesh.normal_map is not None
    folder.mkdir(parents=True, exist_ok=True)
    parts = mesh.vertices, mesh.faces, mesh.normals, mesh.uv, mesh.kd, mesh.ks, mesh.normal_map
    write_obj(folder, TexturedMesh(*parts), mesh.vertices.astype(np.float64))
    return folder


def write_glb(path: Path, mesh: Mesh, root: Any) -> Path:
    def png(name: str) -> tuple[bytes, str]:
        return (path.parent / f"texture_{name}.png").read_bytes(), "image/png"

    assert mesh.ks is not None
    assert mesh.normal_map is not None
    parts = mesh.normals, mesh.uv, mesh.faces, mesh.kd, mesh.ks, mesh.normal_map
    textures = {name: png(name) for name in ("kd", "ks", "n")}
    model = Model(mesh.vertices.astype(np.float64), *parts)
    path.write_bytes(glb.encode(model, textures, root, {}))
    return path


def write_case(folder: Path, mesh: Mesh) -> Path:
    """A rendered case with three training and two test views of the base colour."""
    around = cameras(5)
    write_model(folder / "gt", mesh)
    write_glb(folder / "gt/mesh.glb", mesh, np.eye(4))
    clean = folder / "clean"
    clean.mkdir()
    for name, chosen in (("_train", [0, 1, 2]), ("_test", [3, 4])):
        frames = []
        for i in chosen:
            camera = around.select([i])
            Image.fromarray(base_colour(mesh, camera)).save(clean / camera.names[0])
            frames.append({"file_path": camera.names[0], "transform_matrix": camera.c2w[0].tolist()})
        size = {"w": around.width, "h": around.height, "fl_x": around.intrinsics[0, 0], "frames": frames}
        (clean / f"transforms{name}.json").write_text(json.dumps(size))
    return folder


@pytest.fixture(scope="module")
def case(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_case(tmp_path_factory.mktemp("case"), ball())


def test_obj_and_our_own_glb_are_one_model(tmp_path: Path) -> None:
    """The GLB's turn to y up and its scale are undone."""
    mesh = ball()
    folder = write_model(tmp_path, mesh)
    root = glb.y_up_metres((0.0, 0.6, 0.8), 0.01)
    for path in (folder, folder / "mesh.obj", write_glb(folder / "model.glb", mesh, root)):
        read = load_mesh(path)
        order, expected = (np.lexsort(np.round(m.vertices.T, 3)) for m in (read, mesh))
        assert np.abs(read.vertices[order] - mesh.vertices[expected]).max() < 1e-5
        assert np.abs(read.normals[order] - mesh.normals[expected]).max() < 1e-4
        assert np.abs(read.uv[order] - mesh.uv[expected]).max() < 1e-5
        assert len(read.faces) == len(mesh.faces)
        assert (read.kd == KD).all()
        assert read.ks is not None
        assert (read.ks[..., 1:] == KS[..., 1:]).all()
        assert read.normal_map is not None
        assert (read.normal_map == NORMAL).all()


def test_a_texture_that_repeats_is_laid_out(tmp_path: Path) -> None:
    folder = write_model(tmp_path, ball())
    path = folder / "mesh.obj"
    lines = path.read_text().splitlines()
    shifted = [f"vt {float(x) * 2 - 1} {y}" for x, y in (w.split()[1:] for w in lines if w.startswith("vt"))]
    shifted += [line for line in lines if not line.startswith("vt")]
    path.write_text("\n".join(sorted(shifted, key=lambda line: line.startswith("f "))))
    read = load_mesh(path)
    assert read.kd.shape == (8, 16, 3)
    assert (read.kd == np.concatenate([KD, KD], axis=1)).all()
    assert read.uv.min() >= 0
    assert read.uv.max() <= 1


def test_factors_of_a_foreign_glb(tmp_path: Path) -> None:
    material = trimesh.visual.material.PBRMaterial(  # type: ignore[no-untyped-call]
        baseColorFactor=[0.5, 1.0, 0.25, 1.0], roughnessFactor=0.4, metallicFactor=0.0
    )
    texture = {"uv": np.zeros((len(SPHERE), 2)), "material": material}
    visual = trimesh.visual.TextureVisuals(**texture)  # type: ignore[no-untyped-call]
    mesh = trimesh.Trimesh(SPHERE, FACES, visual=visual, process=False)
    mesh.export(tmp_path / "ball.glb")
    read = load_mesh(tmp_path / "ball.glb")
    assert read.kd.tolist() == [[[188, 255, 137]]]
    assert read.ks is not None
    assert read.ks[0, 0, 1:].tolist() == [102, 0]
    assert read.normal_map is None


def test_a_rendered_case_judges_its_own_truth_perfect(case: Path) -> None:
    report = evaluate(case / "gt", case, samples=SAMPLES)
    assert report["layout"] == "rendered"
    assert report["images"]["judged_on"] == "test views"
    assert report["images"]["views"] == 2
    assert report["images"]["iou"] == 1
    assert report["images"]["psnr"] > 60
    assert report["geometry"]["f_score_1_vis"] > 0.99  # but for the distance between samples
    assert report["materials"]["albedo_psnr_raw"] > 60
    assert report["materials"]["normal_error"] < 0.1
    assert report["materials"]["roughness_error"] < 0.01
    words = in_words(report)
    assert "outline IoU               1.0000" in words
    assert "images (test views, base colour alone)" in words


def test_a_worse_model_is_worse_everywhere(case: Path, tmp_path: Path) -> None:
    mesh = ball()
    dull = replace(
        mesh, vertices=mesh.vertices * np.float32(0.9), kd=KD // 2, ks=255 - KS, normal_map=NORMAL // 2
    )
    report = evaluate(write_model(tmp_path, dull), case, samples=SAMPLES)
    assert report["geometry"]["f_score_1"] < 0.1
    assert report["images"]["iou"] < 0.9
    assert report["images"]["psnr_fg"] < 20
    assert report["materials"]["albedo_psnr"] < 40
    assert report["materials"]["roughness_error"] > 0.1
    assert report["materials"]["metalness_error"] > 0.1
    assert report["materials"]["normal_error"] > 5


def test_one_capture_of_a_case_has_its_truth_too(case: Path) -> None:
    truth = read_truth(case / "clean")
    assert truth.layout == "rendered"
    assert (len(truth.views), len(truth.judged)) == (5, 2)


def test_a_bare_capture_gives_pictures_only(case: Path, tmp_path: Path) -> None:
    for path in (case / "clean").iterdir():
        if "train" not in path.name:
            (tmp_path / path.name).write_bytes(path.read_bytes())
    report = evaluate(case / "gt", tmp_path, samples=SAMPLES)
    assert report["layout"] == "capture"
    assert set(report) == {"model", "truth", "layout", "images"}
    assert report["images"]["iou"] == 1


def test_what_the_simulator_writes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The true mesh, judged by the capture it was photographed for; only its light is missing."""
    monkeypatch.setattr("workers.simulate.capture.CELL", 0.002)  # m: a coarser truth is sooner made
    simulate(tmp_path, views=4, seed=3, size=(180, 240))
    for folder in (tmp_path, tmp_path / "truth"):
        assert read_truth(folder).layout == "simulated"
    report = evaluate(tmp_path / "truth" / "mesh.ply", tmp_path / "truth", samples=SAMPLES)
    assert report["geometry"]["f_score_1"] > 0.99
    assert report["images"]["judged_on"] == "all views"
    assert report["images"]["iou"] > 0.98
    assert report["images"]["psnr_fg"] > 8
    assert report["materials"]["albedo_psnr_raw"] == 100
    assert "roughness_error" not in report["materials"]
    (tmp_path / "capture/images/photo_002.jpg").unlink()
    with pytest.raises(CannotEvaluate, match=r"photo_002\.jpg is missing"):
        evaluate(tmp_path / "truth" / "mesh.ply", tmp_path / "truth", samples=SAMPLES)


def broken(folder: Path, how: str) -> Path:
    """A model that cannot be used."""
    model = write_model(folder, ball()) / "mesh.obj"
    if how == "two materials":
        model.write_text(model.read_text() + "usemtl other\nf 1/1/1 2/2/2 4/4/4\n")
    elif how == "no texture":
        (folder / "texture_kd.png").unlink()
    elif how == "no material":
        (folder / "mesh.mtl").unlink()
    elif how == "broken texture":
        (folder / "texture_n.png").write_bytes(b"no picture")
    elif how == "no faces":
        model.write_text("\n".join(line for line in model.read_text().splitlines() if line[0] != "f"))
    elif how == "not a number":
        model.write_text(model.read_text().replace("v 0.", "v 1e999", 1))
    elif how == "no file":
        model = folder / "missing.obj"
    elif how == "empty folder":
        model = folder / "empty"
        model.mkdir()
    elif how == "another kind":
        model = folder / "mesh.mtl"
    else:
        model = folder / "model.glb"
        model.write_bytes(struct.pack("<5I", 0x46546C67, 2, 400, 380, 0x4E4F534A) + b"{")
    return model


@pytest.mark.parametrize(
    ("how", "said"),
    [
        ("two materials", "2 materials"),
        ("no texture", r"texture_kd\.png is missing"),
        ("no material", r"mesh\.mtl is missing"),
        ("broken texture", r"texture_n\.png is not a readable picture"),
        ("no faces", "no usable surface|cannot be read"),
        ("not a number", "no usable surface"),
        ("no file", "there is no model"),
        ("empty folder", r"neither mesh\.obj nor model\.glb"),
        ("another kind", "not an OBJ, GLB or PLY"),
        ("cut short", "cannot be read as a model"),
    ],
)
def test_models_that_cannot_be_used(tmp_path: Path, how: str, said: str) -> None:
    with pytest.raises(CannotEvaluate, match=said):
        load_mesh(broken(tmp_path, how))


def test_truths_that_cannot_be_used(tmp_path: Path) -> None:
    with pytest.raises(CannotEvaluate, match="there is no folder"):
        read_truth(tmp_path / "missing")
    with pytest.raises(CannotEvaluate, match=r"has no transforms_test\.json, no transforms\.json"):
        read_truth(tmp_path)
    (tmp_path / "gt").mkdir()
    with pytest.raises(CannotEvaluate, match=r"gt/mesh\.glb"):
        read_truth(tmp_path)
    (tmp_path / "truth.json").write_text("{}")
    with pytest.raises(CannotEvaluate, match=r"transforms\.json is missing"):
        read_truth(tmp_path)


def test_the_command(case: Path, tmp_path: Path) -> None:
    runner = CliRunner()
    done = runner.invoke(app, ["evaluate", str(case / "gt"), "--truth", str(case), "--json"])
    assert done.exit_code == 0
    assert json.loads(done.stdout)["images"]["views"] == 2
    failed = runner.invoke(app, ["evaluate", str(tmp_path / "no.obj"), "--truth", str(case), "--json"])
    assert failed.exit_code == 1
    assert "there is no model" in json.loads(failed.stdout)["error"]["message"]
    assert failed.stderr.startswith("phototwin: there is no model")
