"""How long it took, in the terms of the paper whose pipeline this is."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

Term = tuple[str, float | None, str]


def latency(manifests: Mapping[str, Mapping[str, Any]]) -> list[Term]:
    """Name, seconds or None where nobody here can know, and meaning.

    Transfers are between the phone and the store: whoever uploads and downloads can time them.
    """
    taken = manifests["dataset"].get("metrics", {}).get("taken")
    spent = {name: float(manifest["usage"]["wall_seconds"]) for name, manifest in manifests.items()}
    return [
        ("T_scan", taken and _between(taken), "from the first photo to the last"),
        ("T_upload", None, "photos to the store"),
        ("T_signal", None, "from the upload's end until the first worker has the event"),
        ("T_preprocessing", round(spent["dataset"] + spent["masks"], 3), "positions and masks"),
        ("T_reconstruction", round(spent["mesh"], 3), "mesh and materials; packaging comes on top"),
        ("T_download", None, "model to the phone"),
    ]


def _between(taken: Mapping[str, str]) -> float:
    first, last = (datetime.fromisoformat(taken[end]) for end in ("first", "last"))
    return round((last - first).total_seconds(), 3)
