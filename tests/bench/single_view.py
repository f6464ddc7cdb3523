"""What it saves to look for the surface from coarse to fine: `python -m tests.bench.single_view`.

The network that ships is asked for generated parts that are held out: for the whole grid of 256 cells on a
side, and as the method does, for what the surface passes. Both have to find the same surface.
"""

import time

import numpy as np
import torch

from workers.evaluate.shapes import iou
from workers.reconstruct.methods.single_view import extraction
from workers.reconstruct.methods.single_view.network import REACH, fed
from workers.reconstruct.methods.single_view.weights import shipped
from workers.training import evaluation
from workers.training.shapes import HELD_OUT

PARTS = 2
CELLS = 256


def main() -> None:
    torch.set_num_threads(2)
    network = shipped()
    axis = np.linspace(-REACH, REACH, CELLS + 1, dtype=np.float32)
    plane = np.stack(np.meshgrid(axis, axis, indexing="ij"), axis=-1).reshape(-1, 2)
    print("| part | points asked for | CPU s | CPU s of the whole grid | ratio | overlap of the two |")
    print("| --- | --- | --- | --- | --- | --- |")
    for task in evaluation.parts(range(HELD_OUT, HELD_OUT + PARTS)):
        with torch.no_grad():
            maps = network.features(fed(task.picture[None]))

        def ask(points: extraction.Float, maps: list[torch.Tensor] = maps) -> extraction.Float:
            return extraction.asked(network, maps, points)

        begun = time.process_time()
        found = extraction.refined(ask, CELLS)
        spent = time.process_time() - begun
        begun = time.process_time()
        slabs = [ask(np.insert(plane, 0, x, axis=1)).reshape(CELLS + 1, CELLS + 1) for x in axis]
        whole = time.process_time() - begun
        same = iou(found.field < 0, np.stack(slabs) < 0)
        share = found.asked / (CELLS + 1) ** 3
        print(f"| {task.name} | {share:.1%} | {spent:.1f} | {whole:.1f} | {spent / whole:.3f} | {same:.5f} |")


if __name__ == "__main__":
    main()
