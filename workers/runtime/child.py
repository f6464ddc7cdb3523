"""The process that computes: started warm, one task at a time, killed when it must stop.

Run as `python -m workers.runtime.child MODULE ...` it imports the modules, says it is ready, and then
answers one JSON line on stdin with JSON lines on stdout:

    <- {"module": "workers.prepare.compute", "inputs", "outputs", "scratch": paths, "parameters": {...}}
    -> {"progress": 0.25, "info": {"step": "hull"}}          any number of these
    -> {"done": {...}, "usage": {...}}                       or
    -> {"error": {"code", "message", "params", "stack"}}

A task is `module.run(inputs: Path, outputs: Path, parameters: dict, report) -> dict`: it reads one
folder, fills the other, and returns what is worth knowing about it. It calls `report(fraction, info)` as
often as it likes; of `info` the shell understands `step` (a word on what is being done), `losses` ({name:
number}) and `preview`.

A task that takes long has a fifth parameter, `scratch: Path | None`, a folder with two folders in it:

    checkpoints/    What an earlier run of the same job saved here, one that was killed say, is here again.
                    Files are kept as they appear, names with a leading dot aside: so write under such a
                    name and rename what is complete. What a file holds must follow from inputs and
                    parameters alone: which of several runs saved it is left open.
    previews/       For `NAME.glb` and `NAME.png`, shown to whoever waits once `info["preview"]` is NAME.

The process gets none of the worker's secrets, so a picture that takes over its decoder finds no key to the
store.
"""

import errno
import importlib
import inspect
import json
import os
import queue
import sys
import tempfile
import threading
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TextIO

from workers.runtime.usage import metered

NICE = 5
"""So much the worker goes before what it computes: heartbeats and metrics are on time under full load."""


def main(modules: list[str]) -> None:
    answers = _claim_stdout()
    os.nice(NICE)
    for module in modules:
        importlib.import_module(module)
    _say(answers, {"ready": True})
    for task in _tasks():
        _say(answers, _perform(task, answers))


def _perform(task: dict[str, Any], answers: TextIO) -> dict[str, Any]:
    def report(fraction: float, info: dict[str, Any]) -> None:
        _say(answers, {"progress": fraction, "info": info})

    try:
        module = importlib.import_module(task["module"])
        long = "scratch" in inspect.signature(module.run).parameters
        more = {"scratch": Path(task["scratch"])} if long else {}
        # What it leaves in the temporary folder, even where it is killed, goes with the job's own.
        os.environ["TMPDIR"] = tempfile.tempdir = str(Path(task["inputs"]).parent)
        with metered() as usage:
            done = module.run(Path(task["inputs"]), Path(task["outputs"]), task["parameters"], report, **more)
        return {"done": done, "usage": usage}
    except Exception as error:
        full = isinstance(error, OSError) and error.errno == errno.ENOSPC
        code = "disk_full" if full else getattr(error, "code", "compute_failed")
        params = getattr(error, "params", {})
        stack = traceback.format_exc(limit=-20)
        message = str(error) if hasattr(error, "code") else f"{type(error).__name__}: {error}"
        return {"error": {"code": code, "message": message, "params": params, "stack": stack}}


def _claim_stdout() -> TextIO:
    """Our answers alone go to the real stdout; what libraries print goes to stderr."""
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    return answers


def _say(answers: TextIO, message: dict[str, Any]) -> None:
    try:
        answers.write(json.dumps(message) + "\n")
        answers.flush()
    except BrokenPipeError:  # the worker is gone, as when its stdin ends: see `_tasks`
        os._exit(0)


def _tasks() -> Iterator[dict[str, Any]]:
    """Tasks from stdin. Its end means that the worker is gone, and ends this process at once, also
    in the middle of a task: nobody would take the result."""
    waiting: queue.Queue[dict[str, Any]] = queue.Queue()

    def read() -> None:
        for line in sys.stdin:
            waiting.put(json.loads(line))
        os._exit(0)

    threading.Thread(target=read, daemon=True).start()
    while True:
        yield waiting.get()


if __name__ == "__main__":
    main(sys.argv[1:])
