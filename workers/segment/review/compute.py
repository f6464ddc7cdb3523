"""Dataset, proposed masks and masks of a person's in, the masks decided on out, as `segment.compute` does."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from workers.segment.review.apply import Choice, apply

Report = Callable[[float, dict[str, Any]], None]


def run(inputs: Path, outputs: Path, parameters: dict[str, Any], report: Report) -> dict[str, Any]:
    """`parameters["decisions"]`: {stem: {"decision": "keep", "discard" or "replace", "mask": path below
    `upload/`, or None}}.

    Raises the InputErrors of `apply`.
    """
    report(0.0, {"step": "applying decisions"})
    choices = {
        stem: Choice(told["decision"] != "discard", told["mask"] and inputs / "upload" / told["mask"])
        for stem, told in parameters["decisions"].items()
    }
    metrics = apply(inputs / "dataset", inputs / "masks", choices, outputs)
    report(1.0, {"step": "done"})
    return {"metrics": metrics}
