"""The loop around an optimiser, which a killed process goes on with."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from workers.reconstruct.checkpoints import Checkpoints

Losses = dict[str, Tensor]

_MOMENTS = ("step", "exp_avg", "exp_avg_sq")  # what Adam keeps of each parameter
_SAVED_EVERY = 15.0  # seconds
_TOLD = 50  # times at most


@dataclass(frozen=True)
class Schedule:
    """iterations, of which `warmup` raise the rate from 0; from there it falls to a tenth."""

    iterations: int
    warmup: int = 0

    def rate(self, iteration: int) -> float:
        """The share of the learning rate."""
        if iteration < self.warmup:
            return (iteration + 1) / self.warmup
        return float(10 ** -((iteration - self.warmup) / (self.iterations - self.warmup)))


def optimise(
    step: str,
    parameters: list[tuple[Tensor, float]],
    schedule: Schedule,
    losses: Callable[[int], Losses],
    settle: Callable[[], None],
    checkpoints: Checkpoints,
    tell: Callable[[float, dict[str, float]], None],
    epsilon: float = 1e-8,
    kept: Mapping[str, NDArray[Any]] | None = None,
) -> None:
    """Change the parameters, each with its learning rate, in place by Adam, so that the losses' sum falls.

    losses: of an iteration. settle: brings parameters back into their bounds after each. tell: the part done
    and recent losses. epsilon: Adam's. kept: arrays that `losses` changes in place from one iteration to the
    next. What `checkpoints` has of the step is gone on from.
    """
    kept = kept or {}
    for tensor, _ in parameters:
        tensor.requires_grad_()
    groups = [{"params": [tensor], "lr": rate} for tensor, rate in parameters]
    optimiser = torch.optim.Adam(groups, eps=epsilon, fused=True)
    tensors = [tensor for tensor, _ in parameters]
    begin = _restore(optimiser, tensors, kept, checkpoints.load(step))
    every = -(-schedule.iterations // _TOLD)
    saved = time.monotonic()
    for iteration in range(begin, schedule.iterations):
        for group, (_, rate) in zip(optimiser.param_groups, parameters, strict=True):
            group["lr"] = rate * schedule.rate(iteration)
        optimiser.zero_grad()
        found = losses(iteration)
        torch.stack(list(found.values())).sum().backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        with torch.no_grad():
            settle()
        done = iteration + 1
        if done % every == 0 or done == schedule.iterations:
            tell(done / schedule.iterations, {name: float(loss.detach()) for name, loss in found.items()})
        if done == schedule.iterations or time.monotonic() - saved > _SAVED_EVERY:
            checkpoints.save(step, {**_state(optimiser, tensors, done), **kept})
            saved = time.monotonic()
    for tensor in tensors:
        tensor.requires_grad_(False)


def _state(
    optimiser: torch.optim.Optimizer, tensors: list[Tensor], iteration: int
) -> dict[str, NDArray[np.float32]]:
    arrays: dict[str, NDArray[np.float32]] = {"iteration": np.array(iteration, np.float32)}
    for i, tensor in enumerate(tensors):
        arrays[f"value_{i}"] = tensor.detach().cpu().numpy()
        for name in _MOMENTS:
            arrays[f"{name}_{i}"] = optimiser.state[tensor][name].cpu().numpy()
    return arrays


def _restore(
    optimiser: torch.optim.Optimizer,
    tensors: list[Tensor],
    kept: Mapping[str, NDArray[Any]],
    saved: dict[str, NDArray[Any]] | None,
) -> int:
    """The iteration to go on with; 0 where nothing that fits is saved."""
    wanted = {f"value_{i}": tuple(tensor.shape) for i, tensor in enumerate(tensors)}
    wanted |= {name: array.shape for name, array in kept.items()}
    if saved is None or any(name not in saved or saved[name].shape != wanted[name] for name in wanted):
        return 0
    for name, array in kept.items():
        array[...] = saved[name]
    with torch.no_grad():
        for i, tensor in enumerate(tensors):
            tensor.copy_(torch.from_numpy(saved[f"value_{i}"]))
            optimiser.state[tensor] = {
                name: torch.from_numpy(saved[f"{name}_{i}"]).to(tensor.device) for name in _MOMENTS
            }
    return int(saved["iteration"])
