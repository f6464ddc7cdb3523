"""`python -m tests.fakes prepare`: the obedient worker as a process, on the servers of the environment."""

import asyncio
import sys

from tests.fakes.worker import Obedient
from workers import service
from workers.runtime.run_loop import Until
from workers.runtime.settings import from_environment
from workers.stages import WORKERS

if __name__ == "__main__":
    assert Obedient.stage in sys.argv
    WORKERS[Obedient.stage] = Obedient
    until: Until = "once" if "--once" in sys.argv else "empty" if "--drain" in sys.argv else "stopped"
    asyncio.run(service.run(Obedient.stage, from_environment(), until=until))
