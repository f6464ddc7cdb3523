"""What `phototwin view` and `phototwin fbx` do with a model that is there."""

import asyncio
import os
import shutil
import tempfile
import webbrowser
from pathlib import Path

from workers.upload import CaptureError
from workers.viewer.page import page


async def show(model: Path, out: Path | None, *, open_it: bool) -> None:
    """Writes the page to `out`, or into a new folder, says where, and opens it. Raises CaptureError for what
    is no model, OSError."""
    path = _glb(model)
    content = path.read_bytes()
    title = path.resolve().parent.name if path.name == "model.glb" else path.stem
    place = out or Path(tempfile.mkdtemp(prefix="phototwin-view-")) / f"{title}.html"
    place.write_text(page(content, title), encoding="utf-8")
    print(place)
    if open_it:
        webbrowser.open(place.absolute().as_uri())


async def to_fbx(model: Path, out: Path) -> None:
    """By Blender, where that is installed, the textures in the file. Raises CaptureError where it is not, or
    cannot do it, and for what is no model."""
    path, blender = _glb(model), shutil.which("blender")
    if blender is None:
        raise CaptureError(
            "FBX is written by Blender, which is not here (Debian: apt-get install blender python3-numpy)"
        )
    out.unlink(missing_ok=True)
    script = Path(__file__).with_name("fbx_in_blender.py")
    process = await asyncio.create_subprocess_exec(
        blender,
        *("--background", "--factory-startup", "--python-exit-code", "1", "--python", str(script)),
        *("--", str(path.absolute()), str(out.absolute())),
        env={"HOME": os.environ.get("HOME", "/"), "PATH": "/usr/bin:/bin"},  # its own Python, not ours
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    said, _ = await process.communicate()
    if process.returncode != 0 or not out.exists():
        raise CaptureError(f"Blender could not write {out}: {said.decode(errors='replace').strip()[-300:]}")


def _glb(model: Path) -> Path:
    """A run's model.glb, or the file itself. Raises CaptureError for what is no GLB."""
    path = model / "model.glb" if model.is_dir() else model
    if not path.is_file():
        raise CaptureError(f"there is no model {path}")
    with path.open("rb") as file:
        if file.read(4) != b"glTF":
            raise CaptureError(f"{path} is no GLB file")
    return path
