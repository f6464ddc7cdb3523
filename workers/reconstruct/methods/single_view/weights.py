"""A trained network as a file: safetensors, with its design in the header."""

from __future__ import annotations

import json
from functools import cache
from importlib.resources import files
from pathlib import Path

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from workers.reconstruct.methods.single_view.network import Design, Network

SHIPPED = "weights.safetensors"


@cache
def shipped() -> Network:
    """The one that comes with the package (see MODEL_CARD.md beside it)."""
    return read_network(Path(str(files(__package__) / SHIPPED)))


def read_network(path: Path) -> Network:
    """The network in a file that `write_network` wrote, ready to answer. ValueError where it is none."""
    try:
        with safe_open(path, framework="pt") as file:
            design = Design(**json.loads(file.metadata()["design"]))
            values = {name: file.get_tensor(name).float() for name in file.keys()}  # noqa: SIM118
    except (OSError, SafetensorError, KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{path.name} is no network of method single-view ({error})") from error
    network = Network(design)
    counters = {name: value for name, value in network.state_dict().items() if not value.is_floating_point()}
    try:
        network.load_state_dict(values | counters)
    except RuntimeError as error:
        raise ValueError(f"{path.name} does not hold what its design says ({error})") from error
    return network.eval()


def write_network(path: Path, network: Network, told: dict[str, str]) -> None:
    """To half precision. told: what else its header says."""
    values = {
        name: value.detach().cpu().half().contiguous()
        for name, value in network.state_dict().items()
        if value.is_floating_point()
    }
    save_file(values, path, metadata={"design": json.dumps(network.design._asdict()), **told})
