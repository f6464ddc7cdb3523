"""What a model costs and how good it is: `python -m tests.bench [CAPTURE[=MESH] ...]`.

Without captures, simulated ones are made and judged against their own truth. CPU seconds are given
beside the seconds that a fixed piece of work took in the same run: their ratio can be compared between
machines, and between a busy and an idle hour.
"""

import argparse
import asyncio
import tempfile
import time
from pathlib import Path

import numpy as np
import trimesh
from scipy.spatial import cKDTree

from contracts.events import Options
from workers import local
from workers.runtime import logs
from workers.simulate.capture import simulate

STAGES = ("prepare", "segment", "reconstruct", "package")
SAMPLES = 200_000


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument("captures", nargs="*", help="a capture, with =MESH the true mesh in its world")
    parser.add_argument("--profile", default="standard", choices=("preview", "standard", "high"))
    arguments = parser.parse_args()
    logs.configure("CRITICAL")
    with tempfile.TemporaryDirectory() as folder:
        cases = [_case(text) for text in arguments.captures] or _simulated(Path(folder))
        unit = reference()
        print(f"reference work: {unit:.2f} CPU s; profile {arguments.profile}; no views held out")
        heads = [*STAGES, "all", "all/ref", "wall", "MB", "F1@1%", "F@0.5%", "IoU"]
        print(f"{'case':<28}" + "".join(f"{head:>12}" for head in heads))
        for name, capture, truth in cases:
            print(
                f"{name:<28}" + _measured(capture, truth, arguments.profile, unit, Path(folder)), flush=True
            )


def reference() -> float:
    """CPU seconds of a fixed piece of arithmetic, the median of five."""
    values = np.random.default_rng(0).random((1 << 20,))
    taken = []
    for _ in range(5):
        start = time.process_time()
        for _ in range(60):
            np.sin(np.exp(values))
        taken.append(time.process_time() - start)
    return float(np.median(taken))


def f_scores(mesh: Path, truth: Path) -> tuple[float, float]:
    """F-score at 1 % and at 0.5 % of the truth's diagonal (Knapitsch et al. 2017), over all surface."""
    found, true = (trimesh.load(path, force="mesh") for path in (mesh, truth))
    a, _ = trimesh.sample.sample_surface(found, SAMPLES, seed=0)
    b, _ = trimesh.sample.sample_surface(true, SAMPLES, seed=1)
    there, back = cKDTree(b).query(a)[0], cKDTree(a).query(b)[0]
    scores = []
    for share in (0.01, 0.005):
        limit = share * true.scale
        precision, recall = float((there < limit).mean()), float((back < limit).mean())
        scores.append(2 * precision * recall / max(precision + recall, 1e-9))
    return scores[0], scores[1]


def _measured(capture: Path, truth: Path | None, profile: str, unit: float, folder: Path) -> str:
    out = folder / "out"
    start = time.monotonic()
    local.claim(out)
    options = Options.model_validate({"profile": profile, "holdout": 0})
    result = asyncio.run(local.run(capture, out, options, lambda _: None))
    wall = time.monotonic() - start
    seconds = [result["stages"][stage]["cpu_seconds"] for stage in STAGES]
    peak = max(result["stages"][stage]["peak_rss_mb"] for stage in STAGES)
    iou = result["stages"]["reconstruct"]["metrics"]["training_silhouette_iou"]
    columns = [f"{value:>12.1f}" for value in (*seconds, sum(seconds), sum(seconds) / unit, wall, peak)]
    scores = f_scores(out / "mesh.obj", truth) if truth else (float("nan"), float("nan"))
    return "".join([*columns, *(f"{value:>12.4f}" for value in (*scores, iou))])


def _case(text: str) -> tuple[str, Path, Path | None]:
    capture, _, mesh = text.partition("=")
    return Path(capture).parts[-1][:27], Path(capture), Path(mesh) if mesh else None


def _simulated(folder: Path) -> list[tuple[str, Path, Path | None]]:
    cases: list[tuple[str, Path, Path | None]] = []
    for name, plain in (("simulated", False), ("simulated, plain", True)):
        simulate(folder / name, views=60, seed=7, plain=plain)
        cases.append((name, folder / name / "capture", folder / name / "truth" / "mesh.ply"))
    return cases


if __name__ == "__main__":
    main()
