"""Keeps the processes and files of a private test server from outliving the test run.

A `Keeper` is a small child process (this same file, run as a program) that makes a temporary directory and
starts commands on request. When its standard input closes, because `close()` was called or because the test
run died in any way at all, it kills every descendant, daemons that detached themselves included, and removes
the directory. Linux only: it needs the kernel to hand orphans to the keeper.
"""

import ctypes
import json
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Mapping
from contextlib import suppress
from http.client import HTTPException
from pathlib import Path
from typing import Any

PR_SET_CHILD_SUBREAPER = 36


class ServerError(RuntimeError):
    """A private server could not be started, or stopped answering; the message says why and what to do."""


class Keeper:
    """One temporary directory, and the processes that work in it."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-I", __file__],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            # Ctrl-C and kills aimed at the test run's process group must not hit the one who cleans up.
            start_new_session=True,
        )
        self.directory = Path(self._answer())

    def start(self, *command: str | Path, env: Mapping[str, str] | None = None) -> int:
        """Start a command in the directory and return its process id; its output goes to a log there."""
        request = {
            "command": [str(word) for word in command],
            "env": dict(env) if env else None,
            "log": str(self._log(command[0])),
        }
        pid: int = self._ask("start", request)
        return pid

    def run(self, *command: str | Path, seconds: float = 300) -> None:
        """Run a command to its end; raises ServerError when it fails or takes longer than `seconds`."""
        pid = self.start(*command)
        self.wait_until(lambda: self.exit_code(pid) is not None, command[0], seconds=seconds)
        if self.exit_code(pid) != 0:
            raise ServerError(f"{command[0]} failed: {self._last_words(command[0])}")

    def exit_code(self, pid: int) -> int | None:
        """How a started process ended; None while it runs."""
        code: int | None = self._ask("exit_code", pid)
        return code

    def kill(self, pid: int) -> None:
        """End a started process and its process group at once, as a crash would."""
        self._ask("kill", pid)

    def wait_until(
        self, answers: Callable[[], bool], command: str | Path, pid: int | None = None, seconds: float = 300
    ) -> None:
        """Wait until `answers()`; raises ServerError when `pid` ends before that, or when time is up."""
        deadline = time.monotonic() + seconds
        while not answers():
            if pid is not None and self.exit_code(pid) is not None:
                raise ServerError(f"{command} ended while starting: {self._last_words(command)}")
            if time.monotonic() > deadline:
                raise ServerError(f"{command} took over {seconds:g} s: {self._last_words(command)}")
            time.sleep(0.05)

    def close(self) -> None:
        """Kill everything that was started and remove the directory."""
        if self._process.poll() is None:
            self._process.communicate()

    def _log(self, command: str | Path) -> Path:
        return self.directory / f"{Path(command).name}.log"

    def _last_words(self, command: str | Path) -> str:
        return self._log(command).read_text(errors="replace")[-2000:].strip() or "it wrote nothing"

    def _ask(self, action: str, argument: Any) -> Any:
        assert self._process.stdin
        self._process.stdin.write(json.dumps([action, argument]) + "\n")
        self._process.stdin.flush()
        return self._answer()

    def _answer(self) -> Any:
        assert self._process.stdout
        line = self._process.stdout.readline()
        if not line:
            raise ServerError("the keeper of the test servers ended unexpectedly")
        answer = json.loads(line)
        if "error" in answer:
            raise ServerError(answer["error"])
        return answer["result"]


_OURS: list[socket.socket] = []
"""What keeps others from being given a port of ours, for as long as this process lives."""


def free_ports(count: int) -> list[int]:
    """Distinct loopback ports nobody listens on, and that no test process was given before."""
    ports: list[int] = []
    # Below the range the kernel takes outgoing ports from, so that none is lost before the server binds it.
    # Hypothesis seeds `random` alike in all test processes, which would then all choose the same.
    for port in random.SystemRandom().sample(range(15000, 32000), 1000):
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) and _claimed(port):
                ports.append(port)
        if len(ports) == count:
            return ports
    raise ServerError(f"there are no {count} free ports on 127.0.0.1")


def _claimed(port: int) -> bool:
    """Whether the port is ours alone, among the processes of all tests. Its server may bind it much later."""
    claim = socket.socket(socket.AF_UNIX)
    try:
        claim.bind(f"\0phototwin-test-port-{port}")
    except OSError:
        claim.close()
        return False
    _OURS.append(claim)
    return True


def serves(url: str) -> bool:
    """Whether a GET of this HTTP address succeeds by now."""
    with suppress(OSError, HTTPException), urllib.request.urlopen(url, timeout=5):
        return True
    return False


def _keep() -> None:
    """The keeper's own program: answer requests until standard input closes, then leave nothing behind."""
    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit())
    directory = tempfile.mkdtemp(prefix="phototwin-test-")
    children: dict[int, subprocess.Popen[bytes]] = {}
    try:
        _reply({"result": directory})
        for line in sys.stdin:
            action, argument = json.loads(line)
            try:
                _reply({"result": _serve(action, argument, children)})
            except OSError as error:
                _reply({"error": str(error)})
    except BrokenPipeError:
        pass  # the test run is gone, which the clean-up below is for
    finally:
        _kill_descendants()
        shutil.rmtree(directory, ignore_errors=True)


def _reply(answer: dict[str, Any]) -> None:
    print(json.dumps(answer), flush=True)


def _serve(action: str, argument: Any, children: dict[int, subprocess.Popen[bytes]]) -> int | None:
    if action == "start":
        child = _start(argument["command"], argument["env"], Path(argument["log"]))
        children[child.pid] = child
        return child.pid
    child = children[argument]
    if action == "kill" and child.poll() is None:
        os.killpg(child.pid, signal.SIGKILL)
        child.wait()
    return child.poll()


def _start(command: list[str], env: dict[str, str] | None, log: Path) -> subprocess.Popen[bytes]:
    with log.open("ab") as output:
        return subprocess.Popen(
            command,
            env=env,
            cwd=log.parent,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )


def _kill_descendants() -> None:
    me = os.getpid()
    while True:
        # Whoever a killed child leaves behind becomes a child of ours: go round until there is none.
        for pid in Path(f"/proc/{me}/task/{me}/children").read_text().split():
            os.kill(int(pid), signal.SIGKILL)
        try:
            os.waitpid(-1, 0)
        except ChildProcessError:
            return


if __name__ == "__main__":
    _keep()
