"""`phototwin serve` as a process, and walks through its page: see walk.mjs."""

import json
import os
import re
import select
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from workers.geometry.images import read_rgb

HERE = Path(__file__).parent


class Server:
    """`phototwin serve` on a folder, on one port for as long as it is started again and again."""

    def __init__(self, folder: Path, host: str = "127.0.0.1") -> None:
        self._folder, self._host, self._port = folder, host, 0
        self._process: subprocess.Popen[str] | None = None
        self.address = ""

    def start(self) -> None:
        words = ["-c", "from workers.cli import main; main()", "serve", "--folder", str(self._folder)]
        self._process = subprocess.Popen(
            [sys.executable, *words, "--host", self._host, "--port", str(self._port)],
            cwd=HERE.parents[1],
            stdout=subprocess.PIPE,
            text=True,
        )
        said = _line(self._process, 300)
        found = re.search(r"http://[^/\s:]+:(\d+)/\S*", said)
        assert found, f"phototwin serve said {said!r}"
        self._port = int(found[1])
        self.address = re.sub(r"//[^/:]+", "//127.0.0.1", found[0])

    def stop(self, number: int = signal.SIGTERM) -> None:
        if self._process is not None:
            self._process.send_signal(number)
            self._process.wait(180)
            self._process = None


@contextmanager
def serving(folder: Path, host: str = "127.0.0.1") -> Iterator[Server]:
    server = Server(folder, host)
    server.start()
    try:
        yield server
    finally:
        server.stop()


def walked(
    walk: str,
    address: str,
    out: Path,
    size: str = "desktop",
    colours: str = "light",
    capture: Path | None = None,
    deeds: Mapping[str, Callable[[], None]] | None = None,
    hosts: str = "",
) -> dict[str, Any]:
    """What walk.mjs saw, which finds no fault with the page, and nothing asked of other hosts. deeds: what it
    asks to have done meanwhile. hosts: whose addresses the gateway hands out."""
    command = [
        "node",
        "walk.mjs",
        walk,
        address,
        size,
        colours,
        str(out),
        *([str(capture)] if capture else []),
    ]
    with subprocess.Popen(
        command,
        cwd=HERE,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "HOSTS": hosts},
    ) as ran:
        assert ran.stdin is not None
        try:
            told: dict[str, Any] = json.loads(_line(ran, 1500))
            while "please" in told:
                (deeds or {})[told["please"]]()
                ran.stdin.write("done\n")
                ran.stdin.flush()
                told = json.loads(_line(ran, 1500))
        finally:
            ran.kill()
    assert "failed" not in told, f"{told['failed']}\n{told['page']}"
    assert told["elsewhere"] == []
    assert {shot: found for shot, found in told["faults"].items() if found} == {}
    return told


def _line(process: subprocess.Popen[str], seconds: float) -> str:
    assert process.stdout is not None
    ready, _, _ = select.select([process.stdout], [], [], seconds)
    assert ready, f"a process said nothing for {seconds} s"
    return process.stdout.readline()


def drawn(told: dict[str, Any], shot: str) -> NDArray[np.uint8]:
    return read_rgb(Path(told["shots"][shot]))


def object_part(picture: NDArray[np.uint8]) -> float:
    """How much of a picture is unlike its left edge, in colour: an object, on a ground without any."""
    inner = picture[4:-80, 4:-4].astype(int)  # buttons are at the bottom
    colour = inner.max(axis=2) - inner.min(axis=2)
    return float((colour > colour[:, :8].max() + 15).mean())
