"""Networks in torch, and their weights from files of which nothing but tensors is read."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch

from workers.networks.weights import unusable

Tensors = Mapping[str, torch.Tensor]


def read(path: Path) -> Tensors:
    """By name. NumericError "weights_unusable"."""
    try:
        tensors = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch has many ways to say that a file is none of its own
        raise unusable(path, error) from None
    if not isinstance(tensors, Mapping):
        raise unusable(path, "it holds no tensors by name")
    return tensors


def filled(
    network: torch.nn.Module, tensors: Tensors, path: Path, derived: tuple[str, ...] = ()
) -> torch.nn.Module:
    """The network with the tensors of the file, ready to run. More than is needed may be there; what is
    `derived` from others, by how names end, may be absent. NumericError "weights_unusable"."""
    try:
        absent = network.load_state_dict(tensors, strict=False).missing_keys
    except Exception as error:  # and to say that they are of another network
        raise unusable(path, error) from None
    may_be = (*derived, "num_batches_tracked")  # the latter for training alone
    if absent := [name for name in absent if not name.endswith(may_be)]:
        raise unusable(path, f"{len(absent)} tensors are missing, {absent[0]} among them")
    return network.eval()
