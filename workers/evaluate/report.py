"""All figures of a model, for programs and for people."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from workers.evaluate.geometry import SAMPLES, compare_geometry
from workers.evaluate.images import compare_images
from workers.evaluate.lit import renderer_for
from workers.evaluate.materials import compare_materials
from workers.evaluate.mesh import load_mesh
from workers.evaluate.truth import read_truth

_DIGITS = 5

_ROWS = {
    "geometry": {
        "chamfer": ("Chamfer distance", "%.3f %% of the diagonal"),
        "f_score_1": ("F-score at 1 %", "%.4f"),
        "f_score_05": ("F-score at 0.5 %", "%.4f"),
        "normal_consistency": ("normal consistency", "%.4f"),
        "visible": ("seen by a camera", "%.4f of the true surface"),
        "chamfer_vis": ("Chamfer distance, seen", "%.3f %% of the diagonal"),
        "f_score_1_vis": ("F-score at 1 %, seen", "%.4f"),
        "f_score_05_vis": ("F-score at 0.5 %, seen", "%.4f"),
        "normal_consistency_vis": ("normal consistency, seen", "%.4f"),
    },
    "images": {
        "iou": ("outline IoU", "%.4f"),
        "iou_min": ("outline IoU, worst view", "%.4f"),
        "psnr": ("PSNR, whole picture", "%.2f dB"),
        "ssim": ("SSIM, whole picture", "%.4f"),
        "psnr_fg": ("PSNR, object", "%.2f dB"),
        "ssim_fg": ("SSIM, object", "%.4f"),
    },
    "materials": {
        "albedo_psnr": ("albedo PSNR, scaled", "%.2f dB"),
        "albedo_psnr_raw": ("albedo PSNR", "%.2f dB"),
        "roughness_error": ("roughness error", "%.4f"),
        "metalness_error": ("metalness error", "%.4f"),
        "normal_error": ("shading normal error", "%.2f degrees"),
        "coverage": ("pixels compared", "%.4f"),
    },
}


def evaluate(model: Path, truth: Path, samples: int = SAMPLES) -> dict[str, Any]:
    """Every figure that the truth allows: see `read_truth` for its layouts, and `compare_geometry`,
    `compare_images` and `compare_materials` for what is in "geometry", "images" and "materials".

    Renders are lit by the light.hdr beside the model, where there is one (see `renderer_for`).
    The first and last are there only where the true mesh is. CannotEvaluate for what is missing or broken.
    """
    known, mesh = read_truth(truth), load_mesh(model)
    report: dict[str, Any] = {"model": str(model), "truth": str(truth), "layout": known.layout}
    if known.mesh is not None:
        cameras = [view.camera for view in known.views]
        report["geometry"] = compare_geometry(mesh, known.mesh, cameras, samples)
    renderer, how = renderer_for(model, mesh)
    judged = {"judged_on": known.judged_are, "rendered": how}
    report["images"] = {**judged, **compare_images(mesh, known.judged, renderer)}
    if known.mesh is not None:
        report["materials"] = compare_materials(mesh, known.mesh, [view.camera for view in known.judged])
    return {part: rounded(figures) for part, figures in report.items()}


def rounded(value: Any) -> Any:
    """The same nest of dicts and lists with its floats cut to five decimals."""
    if isinstance(value, Mapping):
        return {key: rounded(part) for key, part in value.items()}
    if isinstance(value, list):
        return [rounded(part) for part in value]
    return round(value, _DIGITS) if isinstance(value, float) else value


def in_words(report: Mapping[str, Any]) -> str:
    """One line a figure, for reading."""
    lines = []
    for part, rows in _ROWS.items():
        figures = report.get(part, {})
        if not figures:
            continue
        how = [figures[key] for key in ("judged_on", "rendered") if key in figures]
        lines.append(f"{part} ({', '.join(how)})" if how else part)
        lines += [
            f"  {label:<26}{form % figures[name]}" for name, (label, form) in rows.items() if name in figures
        ]
    return "\n".join(lines)
