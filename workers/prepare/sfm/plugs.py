"""What structure from motion does in more ways than one: without networks unless their weights are named."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from workers.prepare.sfm.features import Features, sift
from workers.prepare.sfm.matching import Matches, matched
from workers.prepare.sfm.pairs import vlad
from workers.prepare.sfm.weights import Networks, ready

Grey = NDArray[np.uint8]


@dataclass(frozen=True)
class Plugs:
    """find: features of a reduced photo (h,w), whose own (width, height) comes beside it. match: (M,2)
    indices of what is the same in two photos. describe: (N,D) vectors of length 1, alike for photos that look
    alike. upright: whether `find` needs photos that are not turned against each other.

    They are called from several threads.
    """

    find: Callable[[Grey, tuple[int, int]], Features] = sift
    match: Callable[[Features, Features], Matches] = matched
    describe: Callable[[Sequence[Grey], Sequence[Features]], NDArray[np.float32]] = vlad
    upright: bool = False
    way: str = ""
    """What sets `match` apart from others."""


def plugged(networks: Networks, folder: Path) -> Plugs:
    """With the weights in `folder`. Raises NumericError as `ready`, and "weights_unusable"."""
    files = ready(networks, folder)
    if not files:
        return Plugs()
    from workers.prepare.sfm import learned  # loaded only when asked for: torch and kornia take long

    plugs = Plugs(way=json.dumps(networks, sort_keys=True))
    if "aliked" in files:
        plugs = replace(plugs, find=learned.aliked(*files["aliked"]), upright=True)
    if "lightglue" in files:
        plugs = replace(plugs, match=learned.lightglue(*files["lightglue"]))
    if "retrieval" in files:
        plugs = replace(plugs, describe=learned.retrieval(files["retrieval"]))
    return plugs
