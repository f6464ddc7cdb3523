"""The files the model is handed out in: small enough, in their place, and all the same object."""

import json
import struct
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import trimesh
from meshoptimizer import decode_index_buffer, decode_vertex_buffer
from numpy.typing import NDArray
from pxr import Sdf, Usd, UsdGeom, UsdShade, UsdValidation

from tests.unit.package_inputs import OFFSET, SIDE, mesh_folder, package
from tests.unit.test_package import issues
from workers.geometry.mesh import icosphere
from workers.package import archive, textures, variants
from workers.package.hygiene import hygiene
from workers.package.levels import levels, ordered, simplified, without_fins
from workers.package.model import Model


def seamed_ball(subdivisions: int, side: int = 64) -> Model:
    """A ball of 20 * 4^s triangles whose texture has a seam along a meridian: both hemispheres are charts,
    next to each other, so that points on the seam are two vertices each."""
    points, faces = icosphere(subdivisions)
    right = points[faces].mean(axis=1)[:, 0] > 0
    vertices: list[NDArray[np.float32]] = []
    uv, corners = [], np.zeros_like(faces)
    for half, left_edge in ((right, 0.05), (~right, 0.55)):
        used, place = np.unique(faces[half], return_inverse=True)
        corners[half] = place.reshape(-1, 3) + sum(len(each) for each in vertices)
        vertices.append(points[used])
        uv.append(
            np.stack([left_edge + 0.2 * (1 + points[used][:, 1]), 0.5 + 0.4 * points[used][:, 2]], axis=1)
        )
    positions = np.concatenate(vertices)
    image = np.full((side, side, 3), 128, np.uint8)
    return Model(
        positions.astype(np.float64),
        positions / np.linalg.norm(positions, axis=1, keepdims=True),
        np.concatenate(uv).astype(np.float32),
        corners,
        image,
        image,
        image,
    )


def chunks(path: Path) -> tuple[dict[str, Any], bytes]:
    body = path.read_bytes()
    length = struct.unpack_from("<I", body, 12)[0]
    return json.loads(body[20 : 20 + length]), body[28 + length :]


def test_fewer_triangles_stay_closed_and_keep_their_places_in_the_texture() -> None:
    ball = seamed_ball(6)
    less = simplified(ball, 8000)
    found = hygiene(less, None)
    assert 7000 < found["triangles"] <= 8000
    assert (found["watertight"], found["consistent"], found["parts"], found["duplicate"]) == (
        True,
        True,
        1,
        0,
    )
    assert np.abs(np.linalg.norm(less.vertices, axis=1) - 1).max() < 1e-6
    before = {row.tobytes() for row in np.column_stack([ball.vertices.astype(np.float32), ball.uv])}
    assert {row.tobytes() for row in np.column_stack([less.vertices.astype(np.float32), less.uv])} <= before
    span = np.ptp(less.uv[less.faces][..., 0], axis=1)
    assert span.max() < 0.3, "a triangle reaches from one chart into the other"


def test_levels_are_those_with_clearly_fewer_triangles() -> None:
    assert [len(seamed_ball(s).faces) for s in (4, 5, 6)] == [5120, 20480, 81920]
    assert list(levels(seamed_ball(4))) == []
    assert list(levels(seamed_ball(5))) == [8000]
    assert list(levels(seamed_ball(6))) == [30000, 8000]


def test_two_faces_back_to_back_are_removed() -> None:
    ball = seamed_ball(2)
    a, b, c = ball.faces[0]
    fin = np.concatenate([ball.faces, [[a, b, c], [c, b, a]]]).astype(np.int32)
    assert not hygiene(ball.of_faces(fin), None)["watertight"]
    assert len(without_fins(ball.of_faces(ball.faces)).faces) == len(ball.faces)
    lone = np.concatenate([ball.faces[1:], [[a, b, c], [c, b, a]]]).astype(np.int32)
    assert len(without_fins(ball.of_faces(lone)).faces) == len(ball.faces) - 1


def test_another_order_is_the_same_model() -> None:
    ball = seamed_ball(3)
    other = ordered(ball)

    def triangles(model: Model) -> set[bytes]:
        corners = np.concatenate([model.vertices[model.faces], model.uv[model.faces]], axis=2)
        first = np.lexsort(corners.transpose(2, 0, 1)[::-1], axis=1)[:, 0]
        turned = np.stack([np.roll(each, -start, axis=0) for each, start in zip(corners, first, strict=True)])
        return {each.tobytes() for each in turned}

    assert triangles(other) == triangles(ball)


@pytest.mark.parametrize("name", ["model.glb", "model_ar.glb", "model_web.glb"])
def test_every_glb_is_valid(tmp_path: Path, name: str) -> None:
    out, _ = package(tmp_path)
    verdict = issues(out / name)
    assert (verdict["numErrors"], verdict["numWarnings"]) == (0, 0), verdict["messages"]


def test_what_was_compressed_decodes_to_the_same_surface(tmp_path: Path) -> None:
    out, _ = package(tmp_path)
    document, binary = chunks(out / "model_web.glb")
    assert {"KHR_mesh_quantization", "EXT_meshopt_compression", "EXT_texture_webp"} == set(
        document["extensionsRequired"]
    )
    primitive = document["meshes"][0]["primitives"][0]

    def decoded(index: int, kind: Any) -> NDArray[Any]:
        accessor = document["accessors"][index]
        told = document["bufferViews"][accessor["bufferView"]]["extensions"]["EXT_meshopt_compression"]
        assert told["count"] == accessor["count"]
        content = np.frombuffer(binary[told["byteOffset"] :][: told["byteLength"]], np.uint8)
        if told["mode"] == "TRIANGLES":
            return np.asarray(decode_index_buffer(told["count"], 4, content)).view(np.uint32).reshape(-1, 3)
        rows = np.asarray(decode_vertex_buffer(told["count"], told["byteStride"], content))
        values = rows.view(np.uint8).reshape(told["count"], -1).view(kind)
        return np.asarray(values / np.iinfo(kind).max)

    node = document["nodes"][1]
    position = decoded(primitive["attributes"]["POSITION"], np.int16)[:, :3]
    position = position * node["scale"] + node["translation"]
    uv = decoded(primitive["attributes"]["TEXCOORD_0"], np.uint16)[:, :2]
    corners = decoded(primitive["indices"], None)
    true: Any = trimesh.load(out / "model.glb", force="mesh", process=False)
    np.testing.assert_allclose(position[corners], true.vertices[true.faces], atol=SIDE / 30000)
    np.testing.assert_allclose(uv[corners][..., 0], true.visual.uv[true.faces][..., 0], atol=1e-4)
    assert (out / "model_web.glb").stat().st_size < (out / "model.glb").stat().st_size


def test_ar_stands_on_its_base_and_the_rest_where_the_capture_has_it(tmp_path: Path) -> None:
    out, metrics = package(tmp_path, up=[0, 0, 1], scale=0.5)
    standing: Any = trimesh.load(out / "model_ar.glb")
    low, high = standing.bounds
    np.testing.assert_allclose((low + high)[[0, 2]], 0, atol=1e-6)
    assert low[1] == pytest.approx(0, abs=1e-6)
    assert high[1] == pytest.approx(0.5 * SIDE, rel=1e-5)
    stage = Usd.Stage.Open(str(out / "model.usdz"))
    reach = np.array(UsdGeom.Mesh(stage.GetPrimAtPath("/model/object")).GetExtentAttr().Get())
    np.testing.assert_allclose(reach, [low, high], atol=1e-6)
    assert metrics["files"]["model_ar.glb"]["bytes"] < variants.AR_BYTES
    placed: Any = trimesh.load(out / "model.glb")
    np.testing.assert_allclose(placed.bounds.mean(axis=0), OFFSET[[0, 2, 1]] * [0.5, 0.5, -0.5], atol=1e-5)


def test_the_origin_can_be_the_base_everywhere(tmp_path: Path) -> None:
    out, _ = package(tmp_path, origin="base")
    low, high = trimesh.load(out / "model.glb").bounds
    np.testing.assert_allclose([*(low + high)[[0, 2]], low[1]], 0, atol=1e-5)


def test_textures_for_ar_shrink_until_the_file_is_small_enough(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = mesh_folder(tmp_path)
    ball = seamed_ball(4, side=1024)
    noise = np.random.default_rng(0).integers(0, 256, (1024, 1024, 3)).astype(np.uint8)
    ball = Model(ball.vertices, ball.normals, ball.uv, ball.faces, noise, noise, noise)
    largest = sum(len(content) for content, _ in textures.small(ball, 1024, 85).values())
    monkeypatch.setattr(variants, "AR_BYTES", largest // 2)
    made = {
        name: triangles
        for name, triangles, _ in variants.write_variants(
            tmp_path, folder / "mesh", ball, np.eye(4), np.eye(4), True, {"software": "phototwin"}
        )
    }
    assert made["model_ar.glb"] == len(ball.faces)
    assert 0 < (tmp_path / "model_ar.glb").stat().st_size < largest // 2


def test_ar_takes_a_model_with_few_triangles_too_many_as_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, ball = mesh_folder(tmp_path), seamed_ball(4)
    monkeypatch.setattr(variants, "AR_TRIANGLES", len(ball.faces) - 1)
    given = np.eye(4), np.eye(4), True, {"software": "phototwin"}
    made = {
        name: count for name, count, _ in variants.write_variants(tmp_path, folder / "mesh", ball, *given)
    }
    assert (made["model_ar.glb"], made["model.usdz"]) == (len(ball.faces), len(ball.faces))


def complaints(path: Path) -> list[str]:
    """Of all of USD's own validators."""
    registry = UsdValidation.ValidationRegistry()
    every = [registry.GetOrLoadValidatorByName(known.name) for known in registry.GetAllValidatorMetadata()]
    assert len(every) > 20
    stage = Usd.Stage.Open(str(path))
    return [error.GetErrorAsString() for error in UsdValidation.ValidationContext(every).Validate(stage)]


def test_usd_finds_no_fault_with_the_usdz(tmp_path: Path) -> None:
    out, _ = package(tmp_path)
    assert complaints(out / "model.usdz") == []
    with zipfile.ZipFile(out / "model.usdz") as inside:
        assert inside.namelist() == ["model.usdc", "kd.jpg", "ks.png", "n.png"]
        assert {entry.compress_type for entry in inside.infolist()} == {zipfile.ZIP_STORED}
    stage = Usd.Stage.Open(str(out / "model.usdz"))
    assert (UsdGeom.GetStageUpAxis(stage), UsdGeom.GetStageMetersPerUnit(stage)) == ("Y", 1.0)
    surface = UsdShade.Shader(stage.GetPrimAtPath("/model/materials/surface/shader"))
    given = {one.GetBaseName(): one.GetConnectedSources()[0][0] for one in surface.GetInputs()}
    assert {name: (one.source.GetPath().name, one.sourceName) for name, one in given.items()} == {
        "diffuseColor": ("kd", "rgb"),
        "occlusion": ("ks", "r"),
        "roughness": ("ks", "g"),
        "metallic": ("ks", "b"),
        "normal": ("n", "rgb"),
    }


def test_usds_validators_can_find_fault(tmp_path: Path) -> None:
    out, _ = package(tmp_path)
    with zipfile.ZipFile(out / "model.usdz") as inside:
        inside.extract("model.usdc", tmp_path)
    writer = Sdf.ZipFileWriter.CreateNew(str(tmp_path / "bad.usdz"))
    writer.AddFile(str(tmp_path / "model.usdc"), "model.usdc")
    assert writer.Save()
    assert any("kd.jpg" in complaint for complaint in complaints(tmp_path / "bad.usdz"))


def test_the_archive_is_the_obj_set_and_the_same_every_time(tmp_path: Path) -> None:
    out, _ = package(tmp_path)
    with zipfile.ZipFile(out / "model_obj.zip") as inside:
        assert inside.namelist() == list(archive.FILES)
        for name in archive.FILES:
            assert inside.read(name) == (tmp_path / "in" / "mesh" / name).read_bytes()
    archive.write_archive(tmp_path / "again.zip", tmp_path / "in" / "mesh")
    assert (tmp_path / "again.zip").read_bytes() == (out / "model_obj.zip").read_bytes()


def test_the_files_say_where_they_come_from(tmp_path: Path) -> None:
    out, metrics = package(tmp_path)
    standing = chunks(out / "model_ar.glb")[0]["asset"]["extras"]
    assert standing["origin"] == "base"
    assert "up_of_photographers" not in standing, "it has been turned already"
    for name in ("model.glb", "model_web.glb"):
        told = chunks(out / name)[0]["asset"]["extras"]
        assert told == metrics["provenance"]
        assert told["capture"] == standing["capture"]
    assert np.linalg.norm(told["up_of_photographers"]) == pytest.approx(1)
    assert told["capture"] == {"photos": 3}
    assert told["software"].startswith("phototwin ")
    assert told["digests"]["mesh"] == {"mesh.json": "0" * 64}
    assert told["surface"]["measured"] + told["surface"]["generated"] == pytest.approx(1)
    assert (told["up"], told["scale"], told["origin"]) == ("unknown", "unknown", "world")
    stage = Usd.Stage.Open(str(out / "model.usdz"))
    assert stage.GetRootLayer().customLayerData["phototwin"] == {
        "software": told["software"],
        "unit": "unknown",
    }
