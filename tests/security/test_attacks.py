"""Every attack that is known ends in the error that says what is wrong, soon, and touches nothing else."""

import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from contracts.errors import InputError, leaves
from tests.security import attacks
from tests.security.attacks.clips import CANARY
from tests.security.trial import tried

SECONDS, MEGABYTES = 10.0, 1024.0
NAMES = list(attacks.every(0))
INPUT_ERRORS = {leaf.code for leaf in leaves(InputError)}
LONG_AGO = 1_000_000_000


@pytest.fixture(scope="module")
def listener() -> Iterator[socket.socket]:
    """Waits for whoever follows the address in a video."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.setblocking(False)
        yield server


@pytest.mark.parametrize("name", NAMES)
def test_an_attack_is_refused(name: str, listener: socket.socket, tmp_path: Path) -> None:
    write, ends = attacks.every(listener.getsockname()[1])[name]
    work = tmp_path / "work"
    upload, canary = work / "in" / "upload", work / "in" / CANARY
    upload.mkdir(parents=True)
    canary.write_bytes(b"\x47" + bytes(187))
    os.utime(canary, (LONG_AGO, LONG_AGO))
    write(upload)
    outcome = tried(work)
    assert outcome.code in ends, outcome
    assert outcome.code in INPUT_ERRORS | {"done"}
    assert not outcome.strayed
    assert outcome.seconds < SECONDS, outcome
    assert outcome.megabytes < MEGABYTES, outcome
    assert canary.stat().st_atime == LONG_AGO, "it was read"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["work"]
    assert {path.name for path in work.iterdir()} <= {"in", "out"}
    assert not list(Path("/tmp").glob("outside.*"))
    with pytest.raises(BlockingIOError):
        listener.accept()


def test_what_the_attacks_are_watched_by_sees(listener: socket.socket, tmp_path: Path) -> None:
    """Else the test above could not fail."""
    canary = tmp_path / CANARY
    canary.write_bytes(b"x")
    os.utime(canary, (LONG_AGO, LONG_AGO))
    canary.read_bytes()
    assert canary.stat().st_atime > LONG_AGO
    (tmp_path / "in").mkdir()
    outcome = tried(tmp_path, "tests.security.culprit")
    assert outcome.code == "done", outcome
    seen = " ".join(outcome.strayed)
    assert all(word in seen for word in ("socket.connect", "os.system", "outside", "subprocess.Popen")), seen
    assert outcome.megabytes > 300
