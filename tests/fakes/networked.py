"""A worker that wants weights, and the computation that says which it found."""

from pathlib import Path
from typing import Any

from tests.fakes.worker import Obedient
from workers.runtime.settings import Settings


class Networked(Obedient):
    compute = "tests.fakes.networked"

    @classmethod
    def networks(cls, settings: Settings) -> bool:
        return True


def run(inputs: Path, _outputs: Path, _parameters: dict[str, Any], _report: Any) -> dict[str, Any]:
    found = {path.name: path.read_text() for path in (inputs / "weights").iterdir()}
    return {"metrics": {"images": 1, "weights": found}}
