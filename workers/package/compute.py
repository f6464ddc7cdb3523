"""Textured mesh in, what people open out: `model.glb` and `poster.png`."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import trimesh
from numpy.typing import NDArray

from workers.geometry.cameras import read_cameras
from workers.geometry.images import encoded, read_rgb, write_png
from workers.package import glb
from workers.package.poster import Mesh, poster

JPEG_QUALITY = 93

Report = Callable[[float, dict[str, Any]], None]


def run(inputs: Path, outputs: Path, parameters: dict[str, Any], report: Report) -> dict[str, Any]:
    """`parameters`: up (unit vector) and scale (metres per unit) of the capture's world, or None."""
    report(0.0, {"step": "reading"})
    up, scale = parameters["up"], parameters["scale"]
    folder = inputs / "mesh"
    mesh: Any = trimesh.load(folder / "mesh.obj", process=False, force="mesh")
    arrays = (
        np.asarray(mesh.vertices, np.float64),
        np.asarray(mesh.vertex_normals, np.float64),
        np.asarray(mesh.visual.uv, np.float64),
        np.asarray(mesh.faces, np.int64),
    )
    kd = read_rgb(folder / "texture_kd.png")
    textures = {
        "kd": (_jpeg(kd), "image/jpeg"),
        "ks": ((folder / "texture_ks.png").read_bytes(), "image/png"),
        "n": ((folder / "texture_n.png").read_bytes(), "image/png"),
    }
    report(0.3, {"step": "model.glb"})
    root = glb.y_up_metres(up, scale)
    placed = {"up": up or "unknown", "scale": scale or "unknown"}
    model = glb.encode(*arrays, textures, root, placed)
    (outputs / "model.glb").write_bytes(model)
    report(0.6, {"step": "poster"})
    cameras, _ = read_cameras(inputs / "dataset" / "cameras.json")
    vertices, normals, uv, faces = arrays
    picture = poster(Mesh.of(vertices, normals, uv, faces, kd), cameras.c2w)
    write_png(outputs / "poster.png", picture)
    report(1.0, {"step": "done"})
    return {
        "metrics": {
            "glb_bytes": len(model),
            "triangles": len(faces),
            "root": root.tolist(),
            **placed,
        }
    }


def _jpeg(image: NDArray[np.uint8]) -> bytes:
    """As JPEG without chroma subsampling, which would bleed across the atlas' seams."""
    sampling = (cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444)
    return encoded(image, ".jpg", cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY, *sampling)
