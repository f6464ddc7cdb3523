"""Where a model comes from: said in the files themselves, which travel without their manifest."""

from __future__ import annotations

import json
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

STAGES = {"dataset": "prepare", "masks": "segment", "mesh": "reconstruct"}
"""Manifests that a model is made from, by the folders they lie in."""
NOTHING: Mapping[str, Any] = {
    "capture_id": "unknown",
    "parameters": {},
    "producer": {"algorithm": "unknown"},
    "artefacts": [],
    "usage": {"wall_seconds": 0.0},
    "metrics": {},
    "warnings": [],
}


def read_manifests(inputs: Path) -> dict[str, dict[str, Any]]:
    """Of `STAGES`, as JSON: `manifest.json` in each folder, and where there is none one that says nothing."""
    found = {}
    for name, stage in STAGES.items():
        path = inputs / name / "manifest.json"
        found[name] = json.loads(path.read_bytes()) if path.exists() else {**NOTHING, "stage": stage}
    return found


def provenance(
    manifests: Mapping[str, Mapping[str, Any]], placed: Mapping[str, Any], measured: float
) -> dict[str, Any]:
    """For glTF's `asset.extras`, and the model's own manifest. It says nothing of when and for whom the
    model was made, so that the same photos make the same files.

    manifests: see `STAGES`, as JSON. placed: up, scale and origin. measured: share of the surface, by area.
    """
    mesh = manifests["mesh"]
    prepared = manifests["dataset"].get("metrics", {})
    return {
        "software": f"phototwin {version('phototwin')}",
        "capture": {
            "photos": prepared.get("images"),
            **({"taken": prepared["taken"]} if "taken" in prepared else {}),
        },
        "method": mesh.get("metrics", {}).get("method", "unknown"),
        "settings": mesh["parameters"],
        "algorithms": {stage: manifests[name]["producer"]["algorithm"] for name, stage in STAGES.items()},
        "digests": {name: _content(manifests[name]) for name in STAGES},
        "surface": {"measured": round(measured, 4), "generated": round(1 - measured, 4)},
        **placed,
    }


def _content(manifest: Mapping[str, Any]) -> dict[str, str]:
    """SHA-256 of the artefacts that can be told apart by name; photos and masks are too many."""
    few = [each for each in manifest["artefacts"] if "/" not in each["name"]]
    return {each["name"]: each["sha256"] for each in few}
