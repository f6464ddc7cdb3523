"""An upload tried on the real computation, in a process of its own that is watched."""

import json
import multiprocessing
import os
import resource
import sys
import time
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from workers.prepare.compute import DEFAULTS
from workers.runtime.child import _perform

PATIENCE = 180.0
FORBIDDEN = ("socket.connect", "socket.getaddrinfo", "subprocess.Popen", "os.system", "os.fork", "os.exec")
WRITING = ("os.mkdir", "os.rename", "os.symlink", "os.link", "os.remove", "os.truncate", "os.chmod")

_processes = multiprocessing.get_context("forkserver")
_processes.set_forkserver_preload(["workers.prepare.compute", "tests.security.trial"])


@dataclass(frozen=True)
class Outcome:
    """How a trial ended: the error's code, "done", or "killed" for a process that died; what it did that it
    must not have, and the seconds of the CPU and megabytes it took."""

    code: str
    message: str
    strayed: tuple[str, ...]
    seconds: float
    megabytes: float


def tried(work: Path, module: str = "workers.prepare.compute") -> Outcome:
    """The upload in the folder `work/in/upload`, prepared."""
    mine, theirs = _processes.Pipe(duplex=False)
    process = _processes.Process(target=_child, args=(theirs, work, module))
    process.start()
    theirs.close()
    try:
        if mine.poll(PATIENCE):
            return Outcome(**mine.recv())
        return Outcome("killed", f"it took more than {PATIENCE} s", (), PATIENCE, 0.0)
    except EOFError:
        process.join()
        return Outcome("killed", f"it died of {process.exitcode}", (), 0.0, 0.0)
    finally:
        process.kill()
        process.join()


def _child(answer: Connection, work: Path, module: str) -> None:
    os.chdir(work)
    (work / "out").mkdir()
    task = {
        "module": module,
        "inputs": str(work / "in"),
        "outputs": str(work / "out"),
        "parameters": DEFAULTS,
    }
    strayed: list[str] = []
    sys.addaudithook(lambda event, args: _watch(event, args, work, strayed))
    started = time.process_time()
    with Path(os.devnull).open("w") as nowhere:
        told: dict[str, Any] = _perform(task, nowhere)
    seconds, peak = time.process_time() - started, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    error = told.get("error", {"code": "done", "message": ""})
    stack = error.get("stack", "") if error["code"] == "compute_failed" else ""
    assert len(json.dumps(told)) < 1 << 20, "more than a worker listens to"
    answer.send(
        {
            "code": error["code"],
            "message": f"{error['message']} {stack}",
            "strayed": tuple(strayed),
            "seconds": seconds,
            "megabytes": peak / 1024,
        }
    )


def _watch(event: str, args: tuple[Any, ...], work: Path, strayed: list[str]) -> None:
    """Python's own account (PEP 578) of what is opened, started and connected to."""
    writes = event == "open" and isinstance(args[2], int) and args[2] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT)
    if event in FORBIDDEN:
        strayed.append(f"{event} {args!r:.600}")
    elif (writes or event in WRITING) and isinstance(args[0], str | bytes | os.PathLike):
        path = os.path.abspath(os.fsdecode(args[0]))
        if not path.startswith((f"{work}{os.sep}", os.devnull, "/proc/self/")) and "__pycache__" not in path:
            strayed.append(f"{event} {path}")
