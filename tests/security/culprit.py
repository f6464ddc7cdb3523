"""A computation that does all that none may, for those who watch it."""

import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any


def run(inputs: Path, _outputs: Path, _parameters: dict[str, Any], _report: Any) -> dict[str, Any]:
    with socket.socket() as connection:
        connection.connect_ex(("127.0.0.1", 9))
    os.system("true")
    subprocess.run([sys.executable, "--version"], check=True)
    outside = inputs.parent.parent / "outside"
    outside.write_bytes(b"x")
    outside.unlink()
    return {"metrics": {"touched": len(bytearray(os.urandom(1 << 20)) * 300) > 0}}
