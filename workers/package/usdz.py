"""A textured mesh as USDZ, which iPhones and iPads show in the room (AR Quick Look)."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from pxr import Gf, Sdf, Usd, UsdGeom, UsdShade, Vt

from workers.geometry.images import encoded
from workers.package.model import Model
from workers.package.textures import jpeg

_EPOCH = 315_619_200
"""2 January 1980: zip knows no earlier year, in any zone."""
_ROOT, _MATERIAL = "/model", "/model/materials/surface"


def write_usdz(path: Path, model: Model, metres: bool, made_by: dict[str, str]) -> None:
    """model: y up, standing on the origin; metres: whether its unit is known to be the metre, otherwise it is
    taken for one all the same. made_by: for the layer's custom data."""
    with tempfile.TemporaryDirectory() as folder:
        files = {
            "kd.jpg": jpeg(model.kd),
            "ks.png": encoded(model.ks, ".png"),
            "n.png": encoded(model.normal_map, ".png"),
        }
        layer = Path(folder, "model.usdc")
        stage = Usd.Stage.CreateNew(str(layer))
        _describe(stage, model, {**made_by, "unit": "metre" if metres else "unknown"})
        stage.GetRootLayer().Save()
        for name, content in files.items():
            Path(folder, name).write_bytes(content)
        writer = Sdf.ZipFileWriter.CreateNew(str(path))
        added = []
        for name in (layer.name, *files):  # the layer first: it is what a reader opens
            os.utime(Path(folder, name), (_EPOCH, _EPOCH))  # the same model is the same file
            added.append(writer.AddFile(str(Path(folder, name)), name))
        if not (all(added) and writer.Save()):
            raise OSError(f"{path.name} could not be written")


def _describe(stage: Any, model: Model, made_by: dict[str, str]) -> None:
    UsdGeom.SetStageUpAxis(stage, UsdGeom.Tokens.y)
    UsdGeom.SetStageMetersPerUnit(stage, 1.0)
    stage.GetRootLayer().customLayerData = {"phototwin": made_by}
    root = UsdGeom.Xform.Define(stage, _ROOT)
    stage.SetDefaultPrim(root.GetPrim())
    Usd.ModelAPI(root.GetPrim()).SetKind("component")
    mesh = UsdGeom.Mesh.Define(stage, f"{_ROOT}/object")
    points, corners = model.points
    mesh.CreatePointsAttr(Vt.Vec3fArray.FromNumpy(points.astype(np.float32)))
    mesh.CreateFaceVertexCountsAttr(Vt.IntArray.FromNumpy(np.full(len(corners), 3, np.int32)))
    mesh.CreateFaceVertexIndicesAttr(Vt.IntArray.FromNumpy(corners.reshape(-1)))
    mesh.CreateSubdivisionSchemeAttr(UsdGeom.Tokens.none)
    mesh.CreateExtentAttr([Gf.Vec3f(*map(float, end)) for end in (points.min(axis=0), points.max(axis=0))])
    # For each corner of a face, as a point on a seam has several places in the texture.
    each = model.faces.reshape(-1)
    mesh.CreateNormalsAttr(Vt.Vec3fArray.FromNumpy(model.normals[each]))
    mesh.SetNormalsInterpolation(UsdGeom.Tokens.faceVarying)
    uv = UsdGeom.PrimvarsAPI(mesh).CreatePrimvar(
        "st", Sdf.ValueTypeNames.TexCoord2fArray, UsdGeom.Tokens.faceVarying
    )
    uv.Set(Vt.Vec2fArray.FromNumpy(model.uv))
    uv.SetIndices(Vt.IntArray.FromNumpy(each))
    UsdShade.MaterialBindingAPI.Apply(mesh.GetPrim()).Bind(_surface(stage))


def _surface(stage: Any) -> Any:
    """The material: UsdPreviewSurface with the three textures."""
    material = UsdShade.Material.Define(stage, _MATERIAL)
    shader = _node(stage, "shader", "UsdPreviewSurface")
    reader = _node(stage, "st", "UsdPrimvarReader_float2")
    reader.CreateInput("varname", Sdf.ValueTypeNames.String).Set("st")
    place = reader.CreateOutput("result", Sdf.ValueTypeNames.Float2)
    colour = _texture(stage, "kd", "kd.jpg", "sRGB", place)
    packed = _texture(stage, "ks", "ks.png", "raw", place)
    bent = _texture(stage, "n", "n.png", "raw", place)
    bent.CreateInput("scale", Sdf.ValueTypeNames.Float4).Set(Gf.Vec4f(2, 2, 2, 1))
    bent.CreateInput("bias", Sdf.ValueTypeNames.Float4).Set(Gf.Vec4f(-1, -1, -1, 0))
    kinds = Sdf.ValueTypeNames
    for name, kind, source, output in (
        ("diffuseColor", kinds.Color3f, colour, "rgb"),
        ("occlusion", kinds.Float, packed, "r"),
        ("roughness", kinds.Float, packed, "g"),
        ("metallic", kinds.Float, packed, "b"),
        ("normal", kinds.Normal3f, bent, "rgb"),
    ):
        given = source.CreateOutput(output, kinds.Float3 if output == "rgb" else kinds.Float)
        shader.CreateInput(name, kind).ConnectToSource(given)
    material.CreateSurfaceOutput().ConnectToSource(shader.CreateOutput("surface", kinds.Token))
    return material


def _texture(stage: Any, name: str, file: str, space: str, place: Any) -> Any:
    texture = _node(stage, name, "UsdUVTexture")
    texture.CreateInput("file", Sdf.ValueTypeNames.Asset).Set(Sdf.AssetPath(file))
    texture.CreateInput("sourceColorSpace", Sdf.ValueTypeNames.Token).Set(space)
    texture.CreateInput("st", Sdf.ValueTypeNames.Float2).ConnectToSource(place)
    for axis in ("wrapS", "wrapT"):
        texture.CreateInput(axis, Sdf.ValueTypeNames.Token).Set("clamp")
    return texture


def _node(stage: Any, name: str, kind: str) -> Any:
    node = UsdShade.Shader.Define(stage, f"{_MATERIAL}/{name}")
    node.CreateIdAttr(kind)
    return node
