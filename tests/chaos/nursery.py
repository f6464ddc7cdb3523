"""`python -m tests.chaos.nursery FOLDER`: as many workers of each stage as are asked for, on the servers of
the environment; one that dies is replaced at once, as Kubernetes would.

They are forked from a process that has imported everything, so that hundreds of deaths cost little.
"""

import argparse
import asyncio
import ctypes
import json
import os
import signal
import sys
import time
from collections import deque
from pathlib import Path

from contracts.events import Stage
from tests.chaos.diary import Diary
from tests.chaos.sabotage import SAFEGUARDS, Fate, arm, keep
from workers import service
from workers.runtime.settings import from_environment
from workers.stages import WORKERS

FATES = "PHOTOTWIN_CHAOS_FATES"
"""In JSON: pairs of a boundary and which passing of it is a worker's last; one for each that is born."""
PR_SET_PDEATHSIG = 1
PAUSE = 0.5


class Nursery:
    def __init__(self, folder: Path, without: str | None) -> None:
        self._folder, self._without = folder, without
        self._diary = Diary(folder / "diary")
        self._fates = deque(json.loads(os.environ.get(FATES, "[]")))
        self._living: dict[int, tuple[Stage, list[str | int] | None]] = {}
        self._ending = False

    def run(self, each: int) -> None:
        """Until SIGTERM, which is passed on."""
        signal.signal(signal.SIGTERM, self._end)
        for stage in list(WORKERS) * each:
            self._bear(stage)
        while self._living:
            pid, status = os.wait()
            stage, fate = self._living.pop(pid)
            self._diary.note("died", of=pid, stage=stage, status=os.waitstatus_to_exitcode(status))
            if fate and not self._done(pid).exists():
                self._fates.appendleft(fate)
            if not os.WIFSIGNALED(status) and not self._ending:
                time.sleep(PAUSE)
            if not self._ending:
                self._bear(stage)

    def _bear(self, stage: Stage) -> None:
        # A capture ends in its last stage as a rule: elsewhere a worker could wait for that for ever.
        fits = (fate for fate in self._fates if stage == "package" or fate[0] != "ending recorded")
        if (fate := next(fits, None)) is not None:
            self._fates.remove(fate)
        pid = os.fork()
        if pid == 0:
            self._live(stage, fate)
        self._living[pid] = stage, fate
        self._diary.note("born", of=pid, stage=stage)

    def _live(self, stage: Stage, fate: list[str | int] | None) -> None:
        status = 1
        try:
            die_with_parent(signal.SIGKILL)
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            keep(self._diary)
            if fate is not None:
                boundary, passing = fate
                arm(Fate(str(boundary), int(passing), self._done(os.getpid()), self._diary))
            if self._without is not None:
                SAFEGUARDS[self._without]()
            asyncio.run(service.run(stage, from_environment()))
            status = 0
        except Exception as error:
            print(f"{stage}: {type(error).__name__}: {error}", file=sys.stderr, flush=True)
        finally:
            os._exit(status)

    def _done(self, pid: int) -> Path:
        return self._folder / f"{pid}.done"

    def _end(self, *_: object) -> None:
        self._ending = True
        for pid in self._living:
            os.kill(pid, signal.SIGTERM)


def die_with_parent(number: signal.Signals) -> None:
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, number, 0, 0, 0)


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("--each", type=int, default=1)
    parser.add_argument("--without", choices=SAFEGUARDS)
    parser.add_argument("--real", action="store_true", help="with the computations of the real pipeline")
    asked = parser.parse_args()
    die_with_parent(signal.SIGTERM)
    if not asked.real:
        for worker in WORKERS.values():
            worker.compute = "tests.chaos.compute"
            worker.algorithm = "chaos"
    Nursery(asked.folder, asked.without).run(asked.each)
