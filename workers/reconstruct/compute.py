"""The reconstruct stage on folders: dataset and masks in, textured mesh and figures out."""

from __future__ import annotations

from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from workers.geometry.errors import NumericError
from workers.geometry.images import write_hdr, write_png
from workers.networks.weights import verified
from workers.reconstruct.checkpoints import Checkpoints
from workers.reconstruct.cloud import write_cloud
from workers.reconstruct.contact_sheet import contact_sheet
from workers.reconstruct.dataset import read_dataset, split
from workers.reconstruct.memory import check_memory
from workers.reconstruct.methods.model import Report, Scene, Settings, TexturedMesh
from workers.reconstruct.obj import write_obj
from workers.reconstruct.previews import Previews
from workers.reconstruct.quality import PUBLISHED, Likeness, compare, renderer
from workers.reconstruct.smaller import smaller
from workers.render.environment import to_equirectangular
from workers.runtime.usage import Clock

_FEW_VIEWS = 8
_LIGHT_HEIGHT = 128  # of light.hdr, in pixels
_JUDGED = 4  # of the views it was made from
_ONE_SIDE = 1.75  # radians between the two views farthest apart: less leaves a side unseen
_NONSENSE = 0.3  # silhouette IoU below which what came out is no model of the object
_DISAGREEMENT = 0.9  # silhouette IoU below which masks and poses do not belong together


def run(
    inputs: Path, outputs: Path, parameters: dict[str, Any], report: Report, scratch: Path | None = None
) -> dict[str, Any]:
    """Reconstruct `inputs` (see `read_dataset`) into `outputs`: mesh.obj, mesh.mtl, texture_kd/ks/n.png,
    contact_sheet.png and, where the method finds the light, light.hdr (see `to_equirectangular`), and where
    it has a cloud, points.ply and colmap/ (see `write_cloud`); all in the capture's own world, and its units.

    parameters: network ({file in `inputs / "weights"`: digest}, of method single-view, where it is not the
    one that ships), profile, method (see `chosen`), seed, holdout (every how many photos one is held out;
    0: none). scratch: a folder whose `checkpoints` outlive the process (see `workers.runtime.child`).
    Returns {"metrics": {...}, "warnings": [sentences]}. NumericError: see `read_dataset` and the method;
    "method_unavailable", "weights_missing", "weights_damaged", "too_much_memory", and "masks_inconsistent"
    where the model does not look like the masks at all.
    """
    method = str(parameters.get("method", "auto"))
    if method != "auto":
        _method(method)  # there is no need to read anything for one that is not there
    settings = Settings(
        str(parameters.get("profile", "standard")),
        int(parameters.get("seed", 0)),
        Checkpoints(scratch and scratch / "checkpoints"),
        _network(inputs / "weights", parameters.get("network", {})),
    )
    clock = Clock()

    def tell(part: float, info: dict[str, Any]) -> None:
        clock.charge(str(info.get("step", "other")))
        report(part, info)

    data = read_dataset(inputs)
    method = chosen(method, data.scene)
    reconstruct = _method(method)
    check_memory(data.scene.masks.size, settings.profile)
    to_world = np.linalg.inv(data.from_world)
    previews = Previews(scratch and scratch / "previews", data.scene, to_world)
    used, held_out = split(len(data.scene.images), int(parameters.get("holdout", 8)))
    tell(0.02, {"step": "read"})
    mesh: TexturedMesh = reconstruct(
        data.scene.select(used),
        settings,
        lambda part, info: tell(0.02 + 0.93 * part, _drawn(info, previews)),
    )
    outputs.mkdir(parents=True, exist_ok=True)
    write_obj(outputs, mesh, mesh.vertices.astype(np.float64) @ to_world[:3, :3].T + to_world[:3, 3])
    if mesh.light is not None:
        turn = data.from_world[:3, :3] / np.linalg.norm(data.from_world[0, :3])
        write_hdr(outputs / "light.hdr", to_equirectangular(mesh.light, _LIGHT_HEIGHT, turn))
    cloud = mesh.cloud and mesh.cloud.transformed(to_world)
    if cloud is not None and len(cloud.points):
        write_cloud(outputs, cloud)
    tell(0.97, {"step": "write"})
    judged = {"training": used[:: max(1, len(used) // _JUDGED)]}
    if len(held_out):
        judged["holdout"] = held_out
    render = renderer(mesh)
    likeness = {
        kind: compare(render, smaller(data.scene.select(views), settings.judged))
        for kind, views in judged.items()
    }
    overlap = min(each.silhouette_iou for each in likeness.values())
    if overlap < _NONSENSE:
        message = f"the best model there is covers the masks only to {overlap:.0%}"
        raise NumericError("masks_inconsistent", message)
    sheet = contact_sheet(mesh, data.scene, held_out)
    write_png(outputs / "contact_sheet.png", sheet)
    tell(1.0, {"step": "judge"})
    metrics = {
        "method": method,
        "profile": settings.profile,
        "views": len(used),
        "views_held_out": len(held_out),
        "held_out": [data.scene.cameras.names[i] for i in held_out],
        "vertices": len(mesh.vertices),
        "faces": len(mesh.faces),
        "texture_size": mesh.kd.shape[0],
        "points": 0 if cloud is None else len(cloud.points),
        **{name: value for kind, each in likeness.items() for name, value in _figures(kind, each).items()},
        "losses": [{name: round(value, 7) for name, value in each.items()} for each in mesh.losses],
        "cpu_seconds": clock.spent,
    }
    warnings = mesh.warnings + _warnings(data.scene.select(used), mesh.vertices, overlap)
    return {"metrics": metrics, "warnings": warnings}


def chosen(method: str, scene: Scene) -> str:
    """The method of that name, "auto" being "surface", or "single-view" for a photo alone."""
    if method != "auto":
        return method
    return "surface" if len(scene.images) > 1 else "single-view"


def _method(name: str) -> Any:
    """The reconstruct function of the installed method of that name."""
    methods = {entry.name: entry for entry in entry_points(group="phototwin.methods")}
    if name not in methods:
        known = ", ".join(sorted(methods))
        message = f"there is no method {name}; there are {known}"
        raise NumericError("method_unavailable", message, method=name, available=known)
    return methods[name].load()


def _network(folder: Path, digests: dict[str, str]) -> Path | None:
    """The file of method single-view's network, verified; None for the one that ships."""
    if not digests:
        return None
    ((file, digest),) = digests.items()
    return verified(folder, file, digest)


def _figures(kind: str, likeness: Likeness) -> dict[str, float]:
    return {
        f"{kind}_silhouette_iou": round(likeness.silhouette_iou, 4),
        f"{kind}_psnr": round(likeness.psnr, 2),
        f"{kind}_loss": round(likeness.loss, 6),
        f"{kind}_loss_published": PUBLISHED[kind],
    }


def _drawn(info: dict[str, Any], previews: Previews) -> dict[str, Any]:
    """`info` with a sketch's files, where it was drawn, in place of what draws it."""
    if "sketch" not in info:
        return info
    name = previews.write(info["sketch"])
    rest = {key: value for key, value in info.items() if key != "sketch"}
    return rest if name is None else {**rest, "preview": name}


def _warnings(scene: Scene, vertices: NDArray[np.float32], overlap: float) -> list[str]:
    """Plain sentences on what the capture leaves in doubt."""
    towards = scene.cameras.centres - vertices.mean(0)
    towards /= np.linalg.norm(towards, axis=1, keepdims=True)
    widest = float(np.arccos(np.clip((towards @ towards.T).min(), -1, 1)))
    found: list[str] = []
    if len(scene.images) == 1:
        return found  # its method tells what is a guess
    if len(scene.images) < _FEW_VIEWS:
        found.append(f"Only {len(scene.images)} photos were used; hidden parts of the surface are a guess.")
    if widest < _ONE_SIDE:
        found.append("All photos were taken from one side; the far side of the object is a guess.")
    if overlap < _DISAGREEMENT:
        found.append(f"The model covers the masks only to {overlap:.0%}: masks or camera positions are off.")
    return found
