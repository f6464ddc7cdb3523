"""A trained network as a file: safetensors, with its design in the header."""

from __future__ import annotations

import json
from functools import cache
from importlib.resources import files
from pathlib import Path

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from workers.reconstruct.methods.single_view.network import Design, Network

SHIPPED = "weights.safetensors"
WIDTHS = (0.05, 1.0)
"""That there are; as `phototwin train single-view --width` has them."""


@cache
def shipped() -> Network:
    """The one that comes with the package (see MODEL_CARD.md beside it)."""
    return read_network(Path(str(files(__package__) / SHIPPED)))


def read_network(path: Path) -> Network:
    """The network in a file that `write_network` wrote, ready to answer. ValueError where it is none."""
    if not path.is_file():
        raise ValueError(f"{path} is no file")
    try:
        with safe_open(path, framework="pt") as file:
            design = _design(file.metadata())
            values = {name: file.get_tensor(name).float() for name in file.keys()}  # noqa: SIM118
    except (OSError, SafetensorError, ValueError) as error:
        raise ValueError(f"{path.name} is no network of method single-view ({error})") from error
    network = Network(design)
    counters = {name: value for name, value in network.state_dict().items() if not value.is_floating_point()}
    try:
        network.load_state_dict(values | counters)
    except RuntimeError as error:
        told = f"width {design.width}, {'a' if design.pyramid else 'no'} pyramid"
        raise ValueError(f"{path.name} does not hold what its design says ({told})") from error
    if not _finite(values):
        raise ValueError(f"{path.name} holds values that are not finite")
    return network.eval()


def _design(header: dict[str, str] | None) -> Design:
    """ValueError where it is none that can be trained, so that nothing of any other size is made."""
    try:
        found = Design(**json.loads((header or {})["design"]))
    except (KeyError, TypeError, ValueError, RecursionError) as error:
        raise ValueError("its header has no design") from error
    width, pyramid = found
    numeric = isinstance(width, int | float) and not isinstance(width, bool)
    if not numeric or not WIDTHS[0] <= width <= WIDTHS[1] or not isinstance(pyramid, bool):
        raise ValueError("its design is none that there is")
    return found


def _finite(values: dict[str, Tensor]) -> bool:
    return all(bool(value.isfinite().all()) for value in values.values())


def write_network(path: Path, network: Network, told: dict[str, str]) -> None:
    """To half precision. told: what else its header says. ValueError where values are too large for that."""
    values = {
        name: value.detach().cpu().half().contiguous()
        for name, value in network.state_dict().items()
        if value.is_floating_point()
    }
    if not _finite(values):
        raise ValueError("the network has values that are not finite in half precision: take a lower --rate")
    save_file(values, path, metadata={"design": json.dumps(network.design._asdict()), **told})
