"""The computation of `tests.fakes.worker.Obedient`: does what the uploaded file `orders.json` says."""

import errno
import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from contracts.errors import TooFewImages


def run(
    inputs: Path, outputs: Path, parameters: dict[str, Any], report: Callable[[float, dict[str, Any]], None]
) -> dict[str, Any]:
    orders = json.loads((inputs / "upload" / "orders.json").read_text())
    report(0.5, {"step": "obeying"})
    with Path(orders["diary"]).open("a") as diary:
        diary.write(f"{os.getpid()}\n")
    match orders["do"]:
        case "work":
            time.sleep(orders.get("seconds", 0))
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
        case "tell":
            print("this must not disturb the answers")
            return {"metrics": {"environment": dict(os.environ)}}
    (outputs / "result.txt").write_text("done")
    return {"metrics": {"answer": 42}, "warnings": ["a warning"]}
