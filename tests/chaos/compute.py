"""The computation of the chaos workers: all four stages in one, as the uploaded `orders.json` says.

The orders travel on with the artefacts. `do` is one of `captures.DEEDS`, done by stage `at`; `seconds` is how
long each stage takes.
"""

import hashlib
import json
import os
import random
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from contracts.errors import TooFewImages

Report = Callable[[float, dict[str, Any]], None]
STEPS = 6
FOUND = {
    "images": 1,
    "posed": True,
    "masked": False,
    "world": {},
    "segmenter": "fake",
    "masks": {"photo": {"verdict": "good"}},
}
"""What the workers' replies want to know."""


def run(
    inputs: Path, outputs: Path, parameters: dict[str, Any], report: Report, scratch: Path
) -> dict[str, Any]:
    stage, before = _stage(inputs)
    orders = json.loads((before / "orders.json").read_text())
    report(0.5, {"step": orders["do"]})
    resumed = 0
    if orders["at"] == stage:
        resumed = _obey(orders, outputs, scratch / "checkpoints")
    time.sleep(orders["seconds"])
    (outputs / "orders.json").write_text(json.dumps(orders))
    kept = b"".join(path.read_bytes() for path in sorted(before.iterdir()))
    seed = hashlib.sha256(kept + stage.encode()).hexdigest()
    for name in ("result.bin", "cameras.json", "model.glb", "poster.png"):
        noise = random.Random(seed + name)
        (outputs / name).write_bytes(noise.randbytes(noise.randrange(1, 6000)))
    return {"metrics": FOUND | {"resumed": resumed}}


def _stage(inputs: Path) -> tuple[str, Path]:
    """Which stage that is, by what it gets, and the folder with what the one before it made."""
    for given, stage in (("upload", "prepare"), ("mesh", "package"), ("masks", "reconstruct")):
        if (inputs / given).exists():
            return stage, inputs / given
    return "segment", inputs / "dataset"


def _obey(orders: dict[str, Any], outputs: Path, checkpoints: Path) -> int:
    """The steps that were there already, of a computation that saves them."""
    match orders["do"]:
        case "differ":  # as a GPU's sums do
            (outputs / "noise.bin").write_bytes(os.urandom(1000))
        case "reject":
            raise TooFewImages("the capture has 2 images", found=2, needed=6)
        case "waver":
            with Path(orders["tally"]).open("a+") as tally:
                tally.write("x")
                tally.flush()
                turn = tally.tell()
            if turn % 2 == 0:
                raise TooFewImages("the capture has 2 images, this time", found=2, needed=6)
            time.sleep(0.5)
        case "break":
            raise ZeroDivisionError("nobody foresaw this")
        case "kill":
            os.kill(os.getppid(), signal.SIGKILL)
        case "last":
            return _step_by_step(checkpoints)
    return 0


def _step_by_step(checkpoints: Path) -> int:
    state = checkpoints / "steps.json"
    steps = json.loads(state.read_text()) if state.exists() else []
    resumed = len(steps)
    while len(steps) < STEPS:
        time.sleep(0.4)
        steps.append(sum(steps) + 1)
        part = state.with_name(".steps.json")
        part.write_text(json.dumps(steps))
        part.replace(state)
    return resumed
