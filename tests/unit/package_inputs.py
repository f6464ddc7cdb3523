"""What the package stage is given, small: a cube far from the origin, and three photos of it."""

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import trimesh
from numpy.typing import NDArray

from workers.geometry.cameras import Cameras, write_cameras
from workers.geometry.images import write_png
from workers.package import compute
from workers.package.model import Model, read_model
from workers.render.preview import unlit

TEXTURE = 64
OFFSET = np.array([120.0, 3.0, -45.0])
SIDE = 0.3
PHOTO = 256
HELD_OUT = "b.png"


def mesh_folder(folder: Path, scale: float = SIDE) -> Path:
    """A job's inputs: a cube whose six sides show the same picture, red in its lower left quarter; photos
    from in front, from the right and from above, the second held out."""
    mesh = folder / "mesh"
    mesh.mkdir(parents=True)
    box = trimesh.creation.box()
    lines, texture = ["mtllib mesh.mtl", "usemtl material"], np.full((TEXTURE, TEXTURE, 3), 200, np.uint8)
    lines += [f"v {x} {y} {z}" for x, y, z in box.vertices * scale + OFFSET]
    corners = [(0.02, 0.02), (0.98, 0.02), (0.02, 0.98)]
    lines += [f"vt {u} {v}" for u, v in corners]
    lines += [f"vn {x} {y} {z}" for x, y, z in box.face_normals]
    for index, (a, b, c) in enumerate(box.faces + 1):
        lines.append(f"f {a}/1/{index + 1} {b}/2/{index + 1} {c}/3/{index + 1}")
    (mesh / "mesh.obj").write_text("\n".join(lines) + "\n")
    (mesh / "mesh.mtl").write_text("newmtl material\nmap_Kd texture_kd.png\n")
    texture[TEXTURE // 2 :, : TEXTURE // 2] = (0, 0, 255)  # BGR; rows go down, v goes up
    cv2.imwrite(str(mesh / "texture_kd.png"), texture)
    cv2.imwrite(str(mesh / "texture_ks.png"), np.full_like(texture, (0, 150, 255)))
    cv2.imwrite(str(mesh / "texture_n.png"), np.full_like(texture, (255, 128, 128)))
    photograph(folder, read_model(mesh), looking([(0, 0, 1), (1, 0, 0), (0.1, 1, 0.2)], 4 * scale))
    for name, metrics in (
        ("dataset", {"images": 3}),
        ("masks", {"masks": {"a": {"verdict": "good"}, "b": {"verdict": "doubtful", "reasons": ["small"]}}}),
        ("mesh", {"method": "surface", "held_out": [HELD_OUT], "losses": [{"round": 0, "image": 0.1}]}),
    ):
        (folder / name / "manifest.json").write_text(json.dumps(manifest(name, metrics)))
    return folder


def manifest(name: str, metrics: dict[str, Any]) -> dict[str, Any]:
    return {
        "stage": {"dataset": "prepare", "masks": "segment", "mesh": "reconstruct"}[name],
        "capture_id": "shelf-42",
        "generation": 0,
        "created": "2026-11-22T05:00:00Z",
        "parameters": {"profile": "standard"},
        "producer": {"algorithm": "1"},
        "artefacts": [
            {"name": f"{name}.json", "sha256": "0" * 64},
            {"name": "images/a.png", "sha256": "1" * 64},
        ],
        "usage": {"wall_seconds": 2.5, "cpu_seconds": 3.0, "peak_rss_mb": 100.0},
        "metrics": metrics,
        "warnings": [f"Said by {name}."],
    }


def looking(directions: list[tuple[float, float, float]], distance: float) -> Cameras:
    """At `OFFSET`, from these sides of it."""
    poses = []
    for direction in directions:
        back = np.array(direction) / np.linalg.norm(direction)
        right = np.cross([0, 1, 0], back) / np.linalg.norm(np.cross([0, 1, 0], back))
        pose = np.eye(4)
        pose[:3, :3] = np.stack([right, np.cross(back, right), back], axis=1)
        pose[:3, 3] = OFFSET + back * distance
        poses.append(pose)
    names = tuple(f"{letter}.png" for letter in "abcdefgh"[: len(poses)])
    intrinsics = np.tile([2.0 * PHOTO, 2.0 * PHOTO, PHOTO / 2, PHOTO / 2], (len(poses), 1))
    return Cameras(names, intrinsics, PHOTO, PHOTO, np.stack(poses))


def photograph(folder: Path, model: Model, cameras: Cameras) -> None:
    """The dataset and the masks: the model as it is, its base colour alone."""
    away = np.eye(4)
    away[:3, 3] = -OFFSET
    near, moved = model.placed(away).single, cameras.transformed(away)
    (folder / "dataset" / "images").mkdir(parents=True)
    (folder / "masks").mkdir()
    for i, name in enumerate(cameras.names):
        picture: NDArray[np.uint8] = unlit(near, moved.select([i]))
        write_png(folder / "dataset" / "images" / name, np.ascontiguousarray(picture[..., :3]))
        write_png(folder / "masks" / name, np.where(picture[..., 3] > 127, 255, 0).astype(np.uint8))
    size = [PHOTO, PHOTO]
    world = {"up": None, "scale": None, "to_normalised": np.eye(4)}
    write_cameras(
        folder / "dataset" / "cameras.json",
        cameras,
        [name[0] for name in cameras.names],
        [size] * len(cameras),
        [[0, 0, *size]] * len(cameras),
        world,
    )


def package(tmp_path: Path, **parameters: Any) -> tuple[Path, dict[str, Any]]:
    """The output folder and the metrics."""
    out = tmp_path / "out"
    out.mkdir()
    given = {"up": None, "scale": None, "origin": "world", "turntable": True, **parameters}
    result = compute.run(mesh_folder(tmp_path / "in"), out, given, lambda *_: None)
    return out, result["metrics"]
