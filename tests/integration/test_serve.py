"""`phototwin serve`, as a process."""

import subprocess
import sys
from pathlib import Path

ENDED_WHEN_TOLD = """
import asyncio, os, signal, sys
from pathlib import Path
from workers.gateway import serve

serve._say = lambda *_: os.kill(os.getpid(), signal.{})
asyncio.run(serve.with_workers(Path(sys.argv[1]), "127.0.0.1", 0))
print("ended")
"""


def test_it_can_be_ended_as_soon_as_it_has_said_where_it_is(tmp_path: Path) -> None:
    for number in ("SIGTERM", "SIGINT"):
        ended = subprocess.run(
            [sys.executable, "-c", ENDED_WHEN_TOLD.format(number), str(tmp_path / "served")],
            capture_output=True,
            text=True,
            timeout=120,
        )
        assert (ended.stdout, ended.returncode) == ("ended\n", 0), ended.stderr
