"""What it buys to draw rays by error: `python -m tests.bench.rays INPUTS ...`.

INPUTS: folders as `phototwin run CAPTURE --until segment --out INPUTS` leaves them. Each is learned by
method `neus` for three seeds: from rays drawn evenly, and in SHARE of the iterations from rays drawn evenly
and by error. Judged by the views that are held out, within the boxes around their masks.
"""

import argparse
import statistics
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from workers.reconstruct.checkpoints import Checkpoints
from workers.reconstruct.dataset import read_dataset, split
from workers.reconstruct.methods import neus
from workers.reconstruct.methods.model import Scene
from workers.reconstruct.methods.neus.field import Field
from workers.reconstruct.methods.neus.learning import learn, sharpness, trace
from workers.reconstruct.methods.neus.pixels import Pixels, through
from workers.reconstruct.methods.neus.profiles import Profile, profile
from workers.reconstruct.methods.neus.sampling import Space
from workers.reconstruct.methods.surface import profiles as carving
from workers.reconstruct.methods.surface.silhouettes import cut_to_object, usable
from workers.reconstruct.methods.surface.views import views_of

SHARE = 0.7
SEEDS = (0, 1, 2)
EVERY = 8  # photos, of which one is held out
STRIDE = 3  # pixels, of which one is judged


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.rays", description=__doc__)
    parser.add_argument("inputs", nargs="+", type=Path)
    parser.add_argument("--iterations", type=int, default=1000)
    arguments = parser.parse_args()
    work = replace(profile("standard", "cpu"), iterations=arguments.iterations)
    short = replace(work, iterations=round(SHARE * work.iterations))
    print(f"| case | seed | even, dB, CPU s | in {SHARE} even | in {SHARE} by error |")
    print("| --- | --- | --- | --- | --- |")
    to_whole, to_short = [], []
    for inputs in arguments.inputs:
        training, judged, base = _scenes(inputs, work)
        for seed in SEEDS:
            runs = [
                _learned(training, judged, base, budget, seed, adaptive=adaptive)
                for budget, adaptive in ((work, False), (short, False), (short, True))
            ]
            whole, even, found = (psnr for psnr, _ in runs)
            to_whole.append(found - whole)
            to_short.append(found - even)
            told = " | ".join(f"{psnr:.2f}, {cost:.0f}" for psnr, cost in runs)
            print(f"| {inputs.name} | {seed} | {told} |", flush=True)
    for gains, than in ((to_whole, "in all of the time"), (to_short, f"in {SHARE} of it too")):
        mean, low, high = statistics.fmean(gains), min(gains), max(gains)
        print(f"\nIn {SHARE} of the time {mean:+.2f} dB of even rays {than}, {low:+.2f} to {high:+.2f}.")


def _scenes(inputs: Path, work: Profile) -> tuple[Scene, Scene, torch.Tensor]:
    """The views to learn from and to judge by, cut to the object, and what the distance begins with."""
    views = views_of(usable(read_dataset(inputs).scene), carving.profile(work.views))
    cut = cut_to_object(views.shape, views.half, work.size)
    used, held_out = split(len(cut.images), EVERY)
    base = neus.begun(views.shape.select(used), views.half, carving.profile(work.views))
    return cut.select(used), cut.select(held_out), torch.from_numpy(base)


def _learned(
    training: Scene, judged: Scene, base: torch.Tensor, work: Profile, seed: int, *, adaptive: bool
) -> tuple[float, float]:
    """PSNR, and CPU seconds."""
    field = Field.start(work.grid, base, neus.SIDE, len(training.images), seed)
    space = Space(field)
    begun = time.process_time()
    learn(
        field,
        Pixels(training, adaptive=adaptive),
        space,
        work,
        seed,
        Checkpoints(),
        lambda part, losses: None,
    )
    cost = time.process_time() - begun
    return _psnr(field, space, judged, work), cost


@torch.no_grad()
def _psnr(field: Field, space: Space, judged: Scene, work: Profile) -> float:
    """Of all boxes' pixels together, on black."""
    errors = []
    for view, mask in enumerate(judged.masks):
        rows, columns = (np.flatnonzero(mask.any(axis)) for axis in (1, 0))
        inside = np.zeros(judged.masks.shape, bool)
        inside[view, rows[0] : rows[-1] + 1 : STRIDE, columns[0] : columns[-1] + 1 : STRIDE] = True
        batch = through(judged, np.flatnonzero(inside), np.zeros(int(inside.sum()), np.int64))
        even = np.full((len(batch.masks), 2 * work.samples), 0.5, np.float32)
        traced = trace(field, space, batch, even, sharpness(1.0), work.grid.levels, "solid")
        seen = np.zeros_like(batch.colours)
        seen[traced.met] = traced.colour.numpy()
        errors.append((seen - batch.colours * batch.masks[:, None]) ** 2)
    return float(-10 * np.log10(np.concatenate(errors).mean()))


if __name__ == "__main__":
    main()
