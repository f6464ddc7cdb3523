"""What pyramid and labels are worth to method `single-view`: `python -m tests.bench.ablation`.

As in table 2 of its paper: {CNN, CNN + FPN} x {binary, v(d, 0.5), v(d, s)}, three seeds each, every run with
the same CPU time to train: what a step costs with either network is measured first, by turns, and as many
epochs are trained as fit. Each run has one core; what was done stays in the folder, and is gone on from.
Judged by the IoU on parts held out, where the network says 1/2, and at that level which is best on parts it
learned from: labels that fall off outside of the object put their 1/2 outside, too.
"""

import argparse
import json
import os
import statistics
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from multiprocessing import get_context
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

from workers.reconstruct.methods.single_view.network import Design
from workers.training.examples import Examples
from workers.training.judging import by_network, calibrate, overlaps
from workers.training.labels import EVERY
from workers.training.optimisation import Labels, Plan, train
from workers.training.shapes import HELD_OUT, Kept, generate

SEEDS = (0, 1, 2)
JUDGED = 128
LEVELLED = 256  # parts that the best level is found on
ROUNDS = 3  # in which what an epoch costs is measured
VARIANTS: dict[str, tuple[bool, Labels]] = {
    "CNN, binary": (False, "binary"),
    "CNN, v(d, 0.5)": (False, "fixed"),
    "CNN, v(d, s)": (False, "adaptive"),
    "CNN + FPN, binary": (True, "binary"),
    "CNN + FPN, v(d, 0.5)": (True, "fixed"),
    "CNN + FPN, v(d, s)": (True, "adaptive"),
}


class Run(NamedTuple):
    """IoU where the network says 1/2 and at the best level; that level, in logits; epochs."""

    half: float
    best: float
    level: float
    epochs: int


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.ablation", description=__doc__)
    parser.add_argument("--minutes", type=float, default=13, help="of one core, to train each")
    parser.add_argument("--width", type=float, default=0.25)
    parser.add_argument("--shapes", type=int, default=1024)
    parser.add_argument("--points", type=int, default=1000)
    parser.add_argument("--out", type=Path, default=Path("build/ablation"))
    arguments = parser.parse_args()
    _shapes(arguments.out, arguments.shapes)
    even = min(128, arguments.points // 8)
    plan = Plan(Design(arguments.width), near=arguments.points - even, even=even, rate=1e-3)
    with ProcessPoolExecutor(os.cpu_count(), get_context("spawn"), initializer=_alone) as pool:
        measured = arguments.out / f"epochs-{arguments.minutes:g}.json"
        if not measured.exists():
            seconds = 60 * arguments.minutes
            found = pool.submit(_epochs, plan, arguments.out, arguments.shapes, seconds).result()
            measured.write_text(json.dumps(found))
        epochs = json.loads(measured.read_text())
        plans = {
            (name, seed): replace(
                plan, design=Design(plan.design.width, pyramid), labels=labels, epochs=epochs[pyramid],
                seed=seed,
            )
            for seed in SEEDS
            for name, (pyramid, labels) in VARIANTS.items()
        }  # fmt: skip
        running = {
            key: pool.submit(_run, each, arguments.out, arguments.shapes) for key, each in plans.items()
        }
        for (name, seed), each in running.items():
            print(name, seed, each.result(), flush=True)
    print("| variant | IoU at 1/2, mean (least, most) | IoU at the best level | level's logit | epochs |")
    print("| --- | --- | --- | --- | --- |")
    for name in VARIANTS:
        runs = [running[name, seed].result() for seed in SEEDS]
        told = [_spread([each.half for each in runs]), _spread([each.best for each in runs])]
        level = statistics.fmean(each.level for each in runs)
        print(f"| {name} | {' | '.join(told)} | {level:.2f} | {runs[0].epochs} |")


def _alone() -> None:
    torch.set_num_threads(1)


def _shapes(out: Path, count: int) -> tuple[Examples, Examples]:
    """Those learned from, and those held out."""
    learned = generate(out / "shapes", range(count), Kept(), lambda part: None)
    return learned, generate(out / "shapes", range(HELD_OUT, HELD_OUT + JUDGED), Kept(), lambda part: None)


def _epochs(plan: Plan, out: Path, count: int, seconds: float) -> list[int]:
    """How many fit into the seconds without a pyramid, and with one."""
    few = _shapes(out, count)[0].first(8 * plan.batch)
    spent = np.zeros((1 + ROUNDS, 2))
    for turn in range(1 + ROUNDS):
        for pyramid in (False, True):
            one = replace(plan, design=Design(plan.design.width, pyramid), epochs=1)
            begun = time.process_time()
            train(one, few, lambda network: 0.0, None, lambda epoch, state: None)
            spent[turn, int(pyramid)] = time.process_time() - begun
    epoch = spent[1:].mean(0) * count / len(few)  # without the first, which warms up
    return [max(EVERY, int(each)) for each in seconds / epoch]


def _run(plan: Plan, out: Path, count: int) -> Run:
    learned, judged = _shapes(out, count)
    checkpoint = out / f"{'fpn' if plan.design.pyramid else 'cnn'}-{plan.labels}-{plan.seed}.pt"
    network, _ = train(plan, learned, lambda network: 0.0, checkpoint, lambda epoch, state: None)

    def overlap() -> float:
        return float(overlaps(lambda batch: by_network(network, batch), judged).mean())

    half = overlap()
    level = calibrate(network, learned.first(LEVELLED))
    return Run(half, overlap(), level, plan.epochs)


def _spread(found: list[float]) -> str:
    return f"{statistics.fmean(found):.3f} ({min(found):.3f}, {max(found):.3f})"


if __name__ == "__main__":
    main()
