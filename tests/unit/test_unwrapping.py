"""The atlas is made in a process of its own."""

import signal
import sys
import threading
import time
from pathlib import Path
from subprocess import PIPE, Popen
from typing import Any

import numpy as np
import pytest

from workers.geometry.mesh import icosphere
from workers.reconstruct.methods.appearance import atlas, charts
from workers.reconstruct.methods.appearance.atlas import Charts, unwrap, unwrapping

PARENT = """
import time
from tests.unit.test_unwrapping import Noted
from workers.geometry.mesh import icosphere
from workers.reconstruct.methods.appearance import atlas
atlas.Popen = Noted
with atlas.unwrapping(*icosphere(6), 1024):
    print(Noted.last.pid, flush=True)
    time.sleep(600)
"""


class Noted(Popen):  # type: ignore[type-arg]
    last: "Noted"

    def __init__(self, *arguments: Any, **more: Any) -> None:
        super().__init__(*arguments, **more)
        Noted.last = self


def test_the_atlas_of_another_process_is_the_one_xatlas_makes_here() -> None:
    vertices, faces = icosphere(3)
    kept: list[Charts] = []
    with unwrapping(vertices, faces, 256, kept.append) as waited:
        found = waited()
    here = charts.charts(vertices, faces, 256)
    for name, array in here.items():
        assert getattr(found, name).tobytes() == array.tobytes() == kept[0][name].tobytes()
    assert np.array_equal(vertices[found.source[found.faces]], vertices[faces])


def test_what_xatlas_raises_there_is_raised_here() -> None:
    vertices, faces = icosphere(1)
    with pytest.raises(RuntimeError) as here:
        charts.charts(vertices, faces + len(vertices), 256)
    with pytest.raises(RuntimeError) as there:
        unwrap(vertices, faces + len(vertices), 256)
    assert str(there.value) == str(here.value) != ""


def test_what_cannot_be_kept_is_an_error() -> None:
    def full(charts: Charts) -> None:
        raise OSError(28, "the disk is full")

    with unwrapping(*icosphere(1), 256, full) as waited, pytest.raises(OSError, match="full"):
        waited()


def test_whoever_leaves_before_ends_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(atlas, "Popen", Noted)
    threads = set(threading.enumerate())
    with pytest.raises(KeyError), unwrapping(*icosphere(5), 1024):
        raise KeyError
    assert Noted.last.returncode == -signal.SIGKILL
    assert set(threading.enumerate()) <= threads


def test_a_death_without_an_answer_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(atlas, "Popen", Noted)
    with unwrapping(*icosphere(5), 1024) as waited:
        Noted.last.kill()
        with pytest.raises(RuntimeError, match="status -9"):
            waited()


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells a child that its parent died")
def test_it_dies_with_a_parent_that_is_killed() -> None:
    parent = Popen([sys.executable, "-c", PARENT], stdout=PIPE, text=True)
    assert parent.stdout is not None
    child = Path("/proc", parent.stdout.readline().strip())
    while len(list((child / "task").iterdir())) < 2 or "xatlas" not in (child / "maps").read_text():
        time.sleep(0.01)  # until it has begun
    time.sleep(0.2)
    parent.send_signal(signal.SIGKILL)
    parent.wait()
    parent.stdout.close()
    deadline = time.monotonic() + 3  # its work takes many times as long
    while _alive(child):
        assert time.monotonic() < deadline
        time.sleep(0.05)


def _alive(process: Path) -> bool:
    try:
        return (process / "stat").read_text().rsplit(")", 1)[1].split()[0] not in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        return False
