"""The model as the OBJ set that every 3D program opens, in one file to send around."""

from __future__ import annotations

import zipfile
from pathlib import Path

FILES = ("mesh.obj", "mesh.mtl", "texture_kd.png", "texture_ks.png", "texture_n.png")
_EPOCH = (1980, 1, 1, 0, 0, 0)  # zip's first: the same files are the same archive


def write_archive(path: Path, folder: Path) -> None:
    """`FILES` of the folder, side by side; pictures are compressed already."""
    with zipfile.ZipFile(path, "w") as archive:
        for name in FILES:
            entry = zipfile.ZipInfo(name, _EPOCH)
            entry.external_attr = 0o644 << 16
            entry.compress_type = zipfile.ZIP_STORED if name.endswith(".png") else zipfile.ZIP_DEFLATED
            archive.writestr(entry, (folder / name).read_bytes(), compresslevel=6)
