"""Attacks on whoever reads uploads, each made by code and named for what it is.

Of each: what writes it into the folder of an upload, and the codes of the errors it may end in; "done" where
it is harmless, and then nothing of it but what is valid is used.
"""

import atexit
import shutil
import tempfile
from collections.abc import Callable
from functools import cache
from pathlib import Path

from tests import captures
from tests.security.attacks import archives, clips, pictures, tables

Attack = tuple[Callable[[Path], object], frozenset[str]]


@cache
def _sound() -> Path:
    """A capture with nothing wrong in it."""
    folder = Path(tempfile.mkdtemp(prefix="phototwin-sound-"))
    atexit.register(shutil.rmtree, folder)
    return captures.write(folder / "capture", captures.Rig())


def _beside_photos(attack: Attack) -> Attack:
    write, ends = attack

    def spoil(folder: Path) -> None:
        shutil.copytree(_sound(), folder, dirs_exist_ok=True)
        write(folder)

    return spoil, ends


def every(port: int) -> dict[str, Attack]:
    """By name. `port`: of this machine, where somebody listens whether a video is fetched."""
    beside = {**pictures.ATTACKS, **tables.ATTACKS}
    return {
        **archives.ATTACKS,
        **{name: _beside_photos(attack) for name, attack in beside.items()},
        **clips.attacks(port),
    }
