"""Training the network, which a stopped process goes on with."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch.nn.functional import binary_cross_entropy_with_logits

from workers.reconstruct.methods.single_view.network import Design, Network, fed
from workers.training.examples import EVEN, NEAR, Batch, Examples
from workers.training.labels import EVERY, binary, f1, labels, sharpness

_FULL = Design()

_FIRST = 0.5  # s, while nothing is known of how good the network is
Labels = Literal["binary", "fixed", "adaptive"]


@dataclass(frozen=True)
class Plan:
    """How a network is trained.

    design: see `Design`. labels: binary; fixed, which is v(d, 0.5); or adaptive, v(d, s). near, even: points
    of each shape in an epoch. rate: Adam's, which falls along a cosine to nothing.
    """

    design: Design = _FULL
    labels: Labels = "adaptive"
    epochs: int = 50
    batch: int = 16
    near: int = NEAR
    even: int = EVEN
    rate: float = 1e-4
    seed: int = 0


@dataclass
class State:
    """After each epoch: the loss, F1 of what is inside among the points learned from, s, and the IoU on
    shapes held out.
    """

    losses: list[float]
    scores: list[float]
    sharpness: list[float]
    held_out: list[float]


Told = Callable[[int, State], None]


def train(
    plan: Plan,
    examples: Examples,
    judge: Callable[[Network], float],
    checkpoint: Path | None,
    tell: Told,
) -> tuple[Network, State]:
    """A trained network, and how it went. Deterministic for a seed on the CPU with one number of threads.

    judge: the IoU on shapes held out, asked for after every epoch. checkpoint: a file that is gone on from
    where it was made by the same plan, and written after each epoch. tell: called after each epoch with its
    number from 1. ValueError where the checkpoint is damaged, or of another plan or other shapes, and where
    the loss is no longer finite.
    """
    torch.manual_seed(plan.seed)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    network = Network(plan.design).to(device)
    optimiser = torch.optim.Adam(network.parameters(), lr=plan.rate, fused=True)
    steps = -(-len(examples) // plan.batch)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, plan.epochs * steps)
    state = State([], [], [], [])
    begun, made_by = 0, _made_by(plan, examples)
    if checkpoint is not None and checkpoint.exists():
        begun, state = _restored(checkpoint, made_by, network, optimiser, schedule)
    s = _sharpness(plan, state, begun)
    for epoch in range(begun, plan.epochs):
        if epoch % EVERY == 0:
            s = _sharpness(plan, state, epoch)
        network.train()
        total, right = 0.0, _Count()
        rng = np.random.default_rng((plan.seed, epoch))
        for batch in examples.batches(plan.batch, plan.near, plan.even, rng):
            wanted = binary(batch.distances) if plan.labels == "binary" else labels(batch.distances, s)
            logits = network(fed(batch.pictures).to(device), torch.from_numpy(batch.points).to(device))
            loss = binary_cross_entropy_with_logits(logits, torch.from_numpy(wanted).to(device))
            optimiser.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimiser.step()
            schedule.step()
            total += float(loss.detach()) * len(batch.pictures)
            right.add(logits.detach().cpu().numpy(), batch)
        if not math.isfinite(total):
            raise ValueError(f"the loss is not finite after epoch {epoch + 1}: take a lower --rate")
        state.losses.append(total / len(examples))
        state.scores.append(right.f1())
        state.sharpness.append(s)
        network.eval()
        state.held_out.append(judge(network))
        if checkpoint is not None:
            _save(checkpoint, made_by, epoch + 1, state, network, optimiser, schedule)
        tell(epoch + 1, state)
    network.eval()
    return network.cpu(), state


class _Count:
    """Which points are said to be inside, and which are."""

    def __init__(self) -> None:
        self.said: list[np.ndarray[Any, np.dtype[np.bool_]]] = []
        self.so: list[np.ndarray[Any, np.dtype[np.bool_]]] = []

    def add(self, logits: np.ndarray[Any, Any], batch: Batch) -> None:
        self.said.append((logits > 0).ravel())
        self.so.append((batch.distances <= 0).ravel())

    def f1(self) -> float:
        return f1(np.concatenate(self.said), np.concatenate(self.so))


def _sharpness(plan: Plan, state: State, epoch: int) -> float:
    """s for the epoch: by the score of the one before."""
    if plan.labels != "adaptive":
        return 0.5
    before = epoch - epoch % EVERY
    return sharpness(state.scores[before - 1]) if before else _FIRST


def _made_by(plan: Plan, examples: Examples) -> dict[str, Any]:
    """What has to be the same for a training to be gone on with, by the names of the command's options."""
    said = asdict(plan)
    return {
        **said.pop("design")._asdict(),
        "points": said.pop("near") + plan.even,
        **said,
        "shapes": examples.digest(),
    }


def _save(checkpoint: Path, made_by: dict[str, Any], epoch: int, state: State, *parts: Any) -> None:
    aside = checkpoint.with_suffix(".part")
    torch.save(
        {
            "made_by": json.dumps(made_by),
            "epoch": epoch,
            "state": asdict(state),
            "parts": [part.state_dict() for part in parts],
        },
        aside,
    )
    aside.replace(checkpoint)


def _restored(checkpoint: Path, made_by: dict[str, Any], *parts: Any) -> tuple[int, State]:
    """ValueError: see `train`."""
    try:
        saved = torch.load(checkpoint, weights_only=True)
        was = json.loads(saved["made_by"])
        others = [_other(name, value, was[name]) for name, value in made_by.items() if value != was[name]]
        if not others:
            for part, values in zip(parts, saved["parts"], strict=True):
                part.load_state_dict(values)
            state = State(**saved["state"])
            if any(len(each) != saved["epoch"] for each in vars(state).values()):
                raise ValueError("more epochs, or fewer, than it tells of")
    except Exception as error:  # there is no end to what a damaged file can raise
        why = type(error).__name__
        raise ValueError(f"{checkpoint} cannot be read; remove it to begin anew ({why})") from error
    if others:
        raise ValueError(
            f"{checkpoint} was made by another plan ({'; '.join(others)}); take another folder, or remove it"
        )
    return saved["epoch"], state


def _other(name: str, value: Any, was: Any) -> str:
    return "other shapes" if name == "shapes" else f"{name} {value}, was {was}"
