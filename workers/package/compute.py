"""Textured mesh in, what people open out: the model in its variants, pictures of it, and a report."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from workers.geometry.cameras import Cameras, read_cameras
from workers.geometry.images import write_png
from workers.package import glb
from workers.package.hygiene import hygiene
from workers.package.model import read_model
from workers.package.pictures import Photographer
from workers.package.provenance import provenance, read_manifests
from workers.package.report import words
from workers.package.report.judged import judge
from workers.package.report.latency import latency
from workers.package.report.page import page
from workers.package.variants import on_base, write_variants
from workers.runtime.usage import Clock

GENERATING = "single-view"
"""The method whose surface is a network's guess, of which nothing was measured."""

Report = Callable[[float, dict[str, Any]], None]


def run(inputs: Path, outputs: Path, parameters: dict[str, Any], report: Report) -> dict[str, Any]:
    """`inputs`: the folders dataset, masks and mesh, each with its `manifest.json`, where there is one.
    `parameters`: up (unit vector) and scale (metres per unit) of the capture's world, or None; origin,
    "world" or "base"; turntable, whether there is to be one."""
    clock = Clock()

    def tell(part: float, step: str) -> None:
        clock.charge(step)
        report(part, {"step": step})

    up, scale, origin = parameters["up"], parameters["scale"], parameters["origin"]
    manifests = read_manifests(inputs)
    model = read_model(inputs / "mesh")
    cameras = _with_masks(inputs)
    tell(0.05, "read")
    views, seen = judge(inputs, model, cameras, manifests["mesh"]["metrics"].get("held_out", []))
    judged = words.summary(views)
    tell(0.25, "judge")
    clean = hygiene(model, scale)
    tell(0.3, "hygiene")
    root = glb.y_up_metres(up, scale)
    heads = _heads(cameras)
    stand = on_base(model, glb.y_up_metres(up or heads, scale))
    placed = {"up": up or "unknown", "scale": scale or "unknown", "origin": origin}
    if up is None and origin == "world":
        placed["up_of_photographers"] = heads  # the next best, for whoever shows it
    generated = manifests["mesh"]["metrics"].get("method") == GENERATING
    told = provenance(manifests, placed, 0.0 if generated else seen.share)
    chosen = stand if origin == "base" else root
    files = {
        name: {"bytes": (outputs / name).stat().st_size, "triangles": triangles, "use": use}
        for name, triangles, use in write_variants(
            outputs, inputs / "mesh", model, chosen, stand, scale is not None, told
        )
    }
    tell(0.4, "variants")
    upright = glb.y_up_metres(up or heads, None)
    photographer = Photographer(model.placed(upright), cameras.transformed(upright))
    poster, turntable = photographer.poster(), None
    write_png(outputs / "poster.png", poster)
    if parameters["turntable"]:
        turntable = photographer.turntable(lambda part: tell(0.5 + 0.4 * part, "pictures"))
        (outputs / "turntable.webp").write_bytes(turntable)
    tell(0.9, "pictures")
    dataset, masks = manifests["dataset"]["metrics"], manifests["masks"]["metrics"]
    metrics = {
        "glb_bytes": files["model.glb"]["bytes"],
        "triangles": len(model.faces),
        "root": chosen.tolist(),
        **placed,
        "judged": judged,
        "outlines": {view.name: round(view.iou, 4) for view in views},
        "surface": told["surface"],
        "hygiene": clean,
        "weak": words.weaknesses(views, seen.share, generated, clean, dataset, masks.get("masks", {}), scale),
        "advice": words.MORE_PHOTOS if generated else dataset.get("quality", {}).get("advice"),
        "latency": {name: seconds for name, seconds, _ in latency(manifests)},
        "files": files,
        "provenance": told,
    }
    html = page(views, cameras, model, upright[1, :3], poster, turntable, manifests, metrics)
    (outputs / "report.html").write_text(html, encoding="utf-8")
    tell(1.0, "report")
    return {"metrics": {**metrics, "cpu_seconds": clock.spent}}


def _with_masks(inputs: Path) -> Cameras:
    """Of the photos that the model was made from, or could have been: those whose mask was kept."""
    cameras, _ = read_cameras(inputs / "dataset" / "cameras.json")
    return cameras.select([(inputs / "masks" / f"{Path(name).stem}.png").exists() for name in cameras.names])


def _heads(cameras: Cameras) -> list[float]:
    """Unit vector: where the photographers' heads were."""
    up: list[float] = glb.unit(cameras.c2w[:, :3, 1].sum(axis=0)).tolist()
    return up
