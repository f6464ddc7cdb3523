"""The computation of `tests.fakes.worker.Obedient`: does what the uploaded file `orders.json` says."""

import errno
import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from contracts.errors import TooFewImages
from workers.reconstruct.checkpoints import Checkpoints

Report = Callable[[float, dict[str, Any]], None]


def run(
    inputs: Path, outputs: Path, parameters: dict[str, Any], report: Report, scratch: Path
) -> dict[str, Any]:
    orders = json.loads((inputs / "upload" / "orders.json").read_text())
    report(0.5, {"step": "obeying"})
    with Path(orders["diary"]).open("a") as diary:
        diary.write(f"{os.getpid()}\n")
    match orders["do"]:
        case "work":
            time.sleep(orders.get("seconds", 0))
            _wait_for(orders.get("until"))
        case "reject":
            file = orders.get("file", "")
            more = {"file": file} if file else {}
            raise TooFewImages(f"the capture has 2 images {file}", found=2, needed=6, **more)
        case "fill the disk":
            raise OSError(errno.ENOSPC, "No space left on device")
        case "break":
            raise ZeroDivisionError("nobody foresaw this")
        case "die":
            os._exit(9)
        case "die once":
            if len(Path(orders["diary"]).read_text().splitlines()) == 1:
                os._exit(9)
        case "add up":
            (outputs / "result.txt").write_text(str(_add_up(orders, scratch / "checkpoints")))
            return {}
        case "show":
            _show(orders, scratch / "previews", report)
        case "tell":
            print("this must not disturb the answers")
            return {"metrics": {"environment": dict(os.environ)}}
    (outputs / "result.txt").write_text("done")
    return {"metrics": {"answer": 42}, "warnings": ["a warning"]}


def _add_up(orders: dict[str, Any], folder: Path) -> list[int]:
    """The sums of the first whole numbers: one a step, each step noted in the diary's sequel and saved. After
    step `hold` it waits for the file `until`."""
    checkpoints = Checkpoints(folder)
    saved = checkpoints.load("sums")
    if saved is not None and orders.get("stumbles"):
        raise ZeroDivisionError("over its own checkpoint")
    sums = [] if saved is None else saved["sums"].tolist()
    while len(sums) < orders["steps"]:
        if len(sums) == orders.get("hold"):
            _wait_for(orders["until"])
        time.sleep(orders["seconds"])
        sums.append(sum(sums[-1:]) + len(sums) + 1)
        with Path(orders["diary"] + ".steps").open("a") as diary:
            diary.write(f"{len(sums)}\n")
        checkpoints.save("sums", {"sums": np.array(sums)})
    return sums


def _show(orders: dict[str, Any], folder: Path, report: Report) -> None:
    """Previews, one after another. With `pace`, each but the first waits for the file of that name and its
    number, and what follows the last as well."""
    for number in range(orders.get("previews", 1)):
        name = f"preview_{number:03d}"
        (folder / f"{name}.glb").write_bytes(b"glTF" + bytes([number]))
        (folder / f"{name}.png").write_bytes(b"PNG" + bytes([number]))
        report(0.6, {"step": "showing", "preview": name, "losses": {"image": 0.25, "lost": float("nan")}})
        time.sleep(orders.get("seconds", 0))
        _wait_for(f"{orders['pace']}{number + 1}" if "pace" in orders else None)
    report(0.7, {"preview": orders.get("nonsense")})
    report(0.8, {"losses": "nonsense"})
    report(0.9, {})


def _wait_for(path: str | None) -> None:
    while path and not Path(path).exists():
        time.sleep(0.02)
