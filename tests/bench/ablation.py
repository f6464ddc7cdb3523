"""What pyramid and labels are worth to method `single-view`: `python -m tests.bench.ablation`.

As in table 2 of its paper: {CNN, CNN + FPN} x {binary, v(d, 0.5), v(d, s)}, three seeds each, every run with
the same time to train: its first epoch is timed, and as many are trained as fit. Judged by the IoU on parts
held out, where the network says 1/2, and at that level between 0.05 and 0.95 which is best on the parts it
learned from: labels that fall off outside of the object put their 1/2 outside, too.
"""

import argparse
import statistics
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from workers.reconstruct.methods.single_view.network import Design, Network, fed
from workers.training.examples import Batch, Examples
from workers.training.judging import overlaps
from workers.training.labels import EVERY
from workers.training.optimisation import Labels, Plan, train
from workers.training.shapes import HELD_OUT, Kept, generate

SEEDS = (0, 1, 2)
VARIANTS: dict[str, tuple[bool, Labels]] = {
    "CNN, binary": (False, "binary"),
    "CNN, v(d, 0.5)": (False, "fixed"),
    "CNN, v(d, s)": (False, "adaptive"),
    "CNN + FPN, binary": (True, "binary"),
    "CNN + FPN, v(d, 0.5)": (True, "fixed"),
    "CNN + FPN, v(d, s)": (True, "adaptive"),
}
LEVELS = np.arange(0.05, 0.96, 0.05)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.ablation", description=__doc__)
    parser.add_argument("--minutes", type=float, default=6.5, help="to train each")
    parser.add_argument("--width", type=float, default=0.25)
    parser.add_argument("--shapes", type=int, default=1024)
    parser.add_argument("--points", type=int, default=1000)
    parser.add_argument("--out", type=Path, default=Path("build/ablation"))
    arguments = parser.parse_args()
    learned = generate(arguments.out / "shapes", range(arguments.shapes), Kept(), lambda part: None)
    judged = generate(arguments.out / "shapes", range(HELD_OUT, HELD_OUT + 128), Kept(), lambda part: None)
    even = min(128, arguments.points // 8)
    print("| variant | IoU at 1/2, mean (least, most) | IoU at the best level | level | epochs |")
    print("| --- | --- | --- | --- | --- |")
    for name, (pyramid, labels) in VARIANTS.items():
        plan = Plan(
            Design(arguments.width, pyramid), labels, near=arguments.points - even, even=even, rate=1e-3
        )
        runs = [_run(replace(plan, seed=seed), learned, judged, 60 * arguments.minutes) for seed in SEEDS]
        half, best, level, epochs = zip(*runs, strict=True)
        told = [f"{statistics.fmean(each):.3f} ({min(each):.3f}, {max(each):.3f})" for each in (half, best)]
        print(f"| {name} | {' | '.join(told)} | {statistics.fmean(level):.2f} | {min(epochs)} |", flush=True)


def _run(plan: Plan, learned: Examples, judged: Examples, seconds: float) -> tuple[float, float, float, int]:
    """IoU where it says 1/2; IoU at the best level; that level; epochs."""
    begun = time.monotonic()
    train(replace(plan, epochs=1), learned, lambda network: 0.0, None, lambda epoch, state: None)
    epochs = max(EVERY, int(seconds / (time.monotonic() - begun)))
    network, _ = train(
        replace(plan, epochs=epochs), learned, lambda network: 0.0, None, lambda epoch, state: None
    )
    by_level = {level: _overlap(network, learned, level) for level in LEVELS}
    level = max(by_level, key=lambda each: by_level[each])
    return _overlap(network, judged, 0.5), _overlap(network, judged, level), float(level), epochs


@torch.no_grad()
def _overlap(network: Network, examples: Examples, level: float) -> float:
    logit = float(np.log(level / (1 - level)))

    def inside(batch: Batch) -> np.ndarray[tuple[int, ...], np.dtype[np.bool_]]:
        said: np.ndarray[tuple[int, ...], np.dtype[np.bool_]] = (
            network(fed(batch.pictures), torch.from_numpy(batch.points)) > logit
        ).numpy()
        return said

    return float(overlaps(inside, examples).mean())


if __name__ == "__main__":
    main()
