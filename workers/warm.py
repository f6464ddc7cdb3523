"""Compile the numeric kernels ahead of the first job: `python -m workers.warm`.

Runs a tiny simulated capture through every stage; numba keeps what it compiles beside the code.
"""

import asyncio
import tempfile
from pathlib import Path

from contracts.events import Options
from workers import local
from workers.render.cpu.compile import compile_kernels
from workers.runtime import logs
from workers.simulate.capture import simulate


def main() -> None:
    logs.configure("ERROR")
    compile_kernels()
    with tempfile.TemporaryDirectory() as folder:
        simulate(Path(folder), views=8, size=(180, 240))
        options = Options(profile="standard", holdout=0)
        local.claim(Path(folder, "out"))
        asyncio.run(local.run(Path(folder, "capture"), Path(folder, "out"), options, lambda _: None))


if __name__ == "__main__":
    main()
