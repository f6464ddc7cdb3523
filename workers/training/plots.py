"""Pictures of how a training goes."""

from __future__ import annotations

from pathlib import Path

from matplotlib.figure import Figure

from workers.training.optimisation import State


def write_progress(path: Path, state: State) -> None:
    """A PNG of the loss, of the IoU on shapes held out, and of how sharp the labels are, by epoch."""
    figure = Figure(figsize=(8, 6), layout="constrained")
    above, below = figure.subplots(2, 1, sharex=True)
    epochs = range(1, len(state.losses) + 1)
    above.plot(epochs, state.losses)
    above.set_ylabel("loss (BCE)")
    below.plot(epochs, state.held_out, label="IoU, held out")
    below.plot(epochs, state.scores, label="F1, learned from")
    below.plot(epochs, state.sharpness, label="s")
    below.set_xlabel("epoch")
    below.set_ylim(0, 1)
    below.legend()
    figure.savefig(path, dpi=100)
