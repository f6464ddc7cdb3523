"""How good the models are and what they cost: `python -m tests.bench [DATA_DIR]`.

DATA_DIR: a folder with rendered cases (CASE/clean/transforms_train.json, CASE/gt/mesh.glb) and real captures
(transforms.json whose frames have masks). Without it, captures are simulated. Every model is made in a
process of its own, from the training views alone. CPU seconds are also given by those of a fixed piece of
work, timed in the same run. Writes table.md, figures.json, sheet.png and, where the
method tells its losses, losses.png.
"""

import argparse
import asyncio
import json
import multiprocessing
import sys
from collections.abc import Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

from contracts.events import Options
from tests.bench.cases import Case, found, noisy, simulated
from tests.bench.pictures import views_of, write_losses, write_sheet
from tests.bench.reference import reference
from workers import local
from workers.evaluate.report import evaluate
from workers.reconstruct.quality import PUBLISHED
from workers.runtime import logs
from workers.upload import CaptureError

COLUMNS = {
    "F1@1%": ("evaluation.geometry.f_score_1", 4),
    "F@0.5%": ("evaluation.geometry.f_score_05", 4),
    "Chamfer %": ("evaluation.geometry.chamfer", 3),
    "F1@1% seen": ("evaluation.geometry.f_score_1_vis", 4),
    "F@0.5% seen": ("evaluation.geometry.f_score_05_vis", 4),
    "Chamfer seen %": ("evaluation.geometry.chamfer_vis", 3),
    "IoU": ("evaluation.images.iou", 4),
    "PSNR fg": ("evaluation.images.psnr_fg", 2),
    "albedo dB": ("evaluation.materials.albedo_psnr", 2),
    "roughness": ("evaluation.materials.roughness_error", 3),
    "metalness": ("evaluation.materials.metalness_error", 3),
    "normal deg": ("evaluation.materials.normal_error", 2),
    "loss": ("stages.reconstruct.metrics.training_loss", 6),
    "loss held out": ("stages.reconstruct.metrics.holdout_loss", 6),
    "reconstruct CPU s": ("stages.reconstruct.cpu_seconds", 1),
    "package CPU s": ("stages.package.cpu_seconds", 1),
    "all CPU s": ("cpu_seconds", 1),
    "all/ref": ("cpu_per_reference", 1),
    "wall/CPU": ("wall_per_cpu", 2),
    "peak MB": ("peak_rss_mb", 0),
}
"""Of the table: where each figure is found, and its decimals."""
PUBLISHED_LOSSES = "Published losses: {training:.6f}, held out {holdout:.6f}.".format(**PUBLISHED)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument("data", nargs="?", type=Path, help="folder of captures; default: simulated ones")
    parser.add_argument("--cases", help="names of the cases to take, with commas between; default: all")
    parser.add_argument("--profile", default="standard", choices=("preview", "standard", "high"))
    parser.add_argument("--method", default="surface")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--holdout", type=int, default=0, help="keep every so many-th view out; default: none"
    )
    parser.add_argument(
        "--noise", action="store_true", help="cameras 1 px off, masks 2 px too small or large"
    )
    parser.add_argument("--out", type=Path, default=Path("build/bench"))
    arguments = parser.parse_args()
    options = {name: getattr(arguments, name) for name in ("profile", "method", "seed", "holdout")}
    out: Path = arguments.out
    results: dict[str, dict[str, Any]] = {}
    unit = reference()
    rows = []
    for case in _cases(arguments, out / "captures"):
        model = out / "models" / case.name
        print(f"{case.name} …", flush=True)
        results[case.name] = result = measured(case, model, options, unit)
        if "error" in result:
            print(result["error"], flush=True)
        else:
            rows.append(views_of(model, case.truth, case.name))
    if not results:
        parser.error("there is no such case")
    told = f"Options: {json.dumps(options)}. Mean errors of roughness and metalness. {PUBLISHED_LOSSES}"
    text = f"{told}\n\n{table(results)}\n"
    (out / "table.md").write_text(text)
    (out / "figures.json").write_text(json.dumps({"options": options, "cases": results}, indent=1))
    if rows:
        write_sheet(out / "sheet.png", rows)
    write_losses(
        out / "losses.png", {name: _reconstruct(result).get("losses") for name, result in results.items()}
    )
    print(f"\n{text}\nwritten to {out}")
    return int(any("error" in result for result in results.values()))


def _cases(arguments: argparse.Namespace, work: Path) -> Iterator[Case]:
    work.mkdir(parents=True, exist_ok=True)
    names = arguments.cases.split(",") if arguments.cases else None

    def wanted(name: str) -> bool:
        return names is None or name in names

    for case in found(arguments.data, work, wanted) if arguments.data else simulated(work, wanted):
        yield noisy(case, work, arguments.seed) if arguments.noise else case


def measured(case: Case, model: Path, options: Mapping[str, Any], unit: float) -> dict[str, Any]:
    """Make the model in a new process and judge it: `result.json`'s stages, the evaluation, and sums over the
    stages; or {"error": why there is no model}. unit: CPU seconds of `reference`.
    """
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        try:
            stages = pool.submit(run, case.capture, model, options).result()
        except (CaptureError, RuntimeError) as error:
            return {"error": f"{case.name}: {error}"}
    cpu, wall = (sum(stage[name] for stage in stages.values()) for name in ("cpu_seconds", "wall_seconds"))
    return {
        "cpu_seconds": cpu,
        "cpu_per_reference": cpu / unit,
        "wall_per_cpu": wall / cpu,
        "peak_rss_mb": max(stage["peak_rss_mb"] for stage in stages.values()),
        "evaluation": evaluate(model, case.truth),
        "stages": stages,
    }


def run(capture: Path, out: Path, options: Mapping[str, Any]) -> Any:
    """The stages of `phototwin run`, as result.json tells of them. RuntimeError where the capture failed."""
    logs.configure("CRITICAL")
    local.claim(out)
    try:
        work = local.run(capture, out, Options.model_validate(options), lambda _: None)
        return asyncio.run(work)["stages"]
    except local.CaptureFailure as failure:
        raise RuntimeError(str(failure)) from None  # one that can be sent between processes


def table(results: Mapping[str, Mapping[str, Any]]) -> str:
    """In Markdown, with a row of means over the cases that have a figure."""
    figures = {name: [_at(result, path) for path, _ in COLUMNS.values()] for name, result in results.items()}
    known = [
        [value for value in column if value is not None] for column in zip(*figures.values(), strict=True)
    ]
    means = [sum(column) / len(column) if column else None for column in known]
    steps = {name: _reconstruct(result).get("cpu_seconds", {}) for name, result in results.items()}
    lines = [["case", *COLUMNS, "steps of reconstruct, CPU s"], ["---"] * (len(COLUMNS) + 2)]
    for name, values in [*figures.items(), ("mean", means)]:
        cells = [
            "" if value is None else f"{value:.{decimals}f}"
            for value, (_, decimals) in zip(values, COLUMNS.values(), strict=True)
        ]
        taken = ", ".join(f"{step} {seconds:.1f}" for step, seconds in steps.get(name, {}).items())
        lines.append([name, *cells, taken])
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _reconstruct(result: Mapping[str, Any]) -> Any:
    """The metrics of the reconstruct stage; none for a case that failed."""
    return _at(result, "stages.reconstruct.metrics") or {}


def _at(nest: Any, path: str) -> Any:
    for key in path.split("."):
        nest = nest.get(key, {})
    return nest if nest != {} else None


if __name__ == "__main__":
    sys.exit(main())
