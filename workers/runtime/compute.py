"""The worker's end of the computing child process."""

import asyncio
import json
import os
import signal
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from contracts.dataset import Usage
from contracts.errors import ComputeDied, TimeLimitExceeded, from_code

OnProgress = Callable[[float, dict[str, Any]], None]
LINE_LIMIT = 16 << 20
# All that the child sees of our environment: enough to find Python, its caches and the locale.
INHERITED = ("PATH", "HOME", "LANG", "LC_ALL", "TMPDIR", "NUMBA_CACHE_DIR", "LD_LIBRARY_PATH")


@dataclass(frozen=True)
class Computed:
    """What a task returned (`metrics`, `warnings`) and what it cost."""

    metrics: dict[str, Any]
    warnings: tuple[str, ...]
    usage: Usage


class Compute:
    """Runs tasks one after another in a child process that is kept warm.

    `modules` are imported before a task needs them; `threads` bounds the numeric kernels.
    """

    def __init__(self, modules: tuple[str, ...], threads: int) -> None:
        self._modules = modules
        self._threads = threads
        self._process: Process | None = None
        self._turn = asyncio.Lock()
        self._idle = True

    async def start(self) -> None:
        """Start the child, so that a later task finds it warm."""
        if self._process is not None and self._process.returncode is None:
            return
        environment = {name: os.environ[name] for name in INHERITED if name in os.environ}
        # The child imports what we would, and (-P) nothing from wherever we happen to have been started.
        environment["PYTHONPATH"] = os.pathsep.join(sys.path)
        environment["NUMBA_NUM_THREADS"] = str(self._threads)
        # Their matrices are small, and their threads spin while they wait: two or three times the CPU time.
        for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
            environment[name] = "1"
        environment["OMP_WAIT_POLICY"] = "passive"  # and so do a network's, which wants more of them
        self._process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-P",
            "-m",
            "workers.runtime.child",
            *self._modules,
            stdin=PIPE,
            stdout=PIPE,
            env=environment,
            limit=LINE_LIMIT,
            start_new_session=True,
        )

    async def run(
        self,
        module: str,
        inputs: Path,
        outputs: Path,
        scratch: Path,
        parameters: dict[str, Any],
        on_progress: OnProgress,
        limit: float,
    ) -> Computed:
        """`module.run` on its folders (see `runtime.child`), within `limit` seconds.

        Raises whatever typed error the task raised, ComputeDied, TimeLimitExceeded. When cancelled
        or over the limit the child is killed.
        """
        task = {
            "module": module,
            "inputs": str(inputs),
            "outputs": str(outputs),
            "scratch": str(scratch),
            "parameters": parameters,
        }
        async with self._turn:
            try:
                await self.start()
                async with asyncio.timeout(limit):
                    return await self._converse(task, on_progress)
            except TimeoutError:
                raise TimeLimitExceeded(f"{module} took longer than {limit:g} s", limit=limit) from None
            finally:
                if not self._idle:
                    await self.close()

    async def _converse(self, task: dict[str, Any], on_progress: OnProgress) -> Computed:
        process = self._process
        if process is None or process.stdin is None or process.stdout is None:
            raise ComputeDied("the computing process is not running")
        self._idle = False
        with suppress(ConnectionError):
            process.stdin.write(json.dumps(task).encode() + b"\n")
            await process.stdin.drain()
        async for line in process.stdout:
            answer = json.loads(line)
            if "progress" in answer:
                on_progress(answer["progress"], answer["info"])
            elif "done" in answer:
                self._idle = True
                done = answer["done"]
                return Computed(
                    done.get("metrics", {}), tuple(done.get("warnings", ())), Usage(**answer["usage"])
                )
            elif "error" in answer:
                self._idle = True
                error = answer["error"]
                params = error["params"]
                if error["code"] == "compute_failed":
                    params = {**params, "stack": error["stack"]}
                raise from_code(error["code"], error["message"], **params)
        raise ComputeDied(f"the process computing {task['module']} ended with status {await process.wait()}")

    async def close(self) -> None:
        """Kill the child and wait until it is gone, and with it whatever a library started in it: that would
        keep its pipes open, and us waiting."""
        process, self._process, self._idle = self._process, None, True
        if process is not None:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            await process.wait()
