"""The textures of a model's one material, as bytes in the layout of `Mesh`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from workers.evaluate.errors import CannotEvaluate
from workers.geometry.colour import decode_srgb, encode_srgb
from workers.geometry.images import read_rgb

Image = NDArray[np.uint8]

_MOST_TILES = 4  # a texture that a mesh repeats more often than this, each way, is not laid out
_ROUNDING = 1e-3  # texture coordinates so little beyond a border are meant to be on it


@dataclass(frozen=True)
class Material:
    """kd (h,w,3) uint8 sRGB; ks (h,w,3) uint8: occlusion, roughness, metalness, None where unsaid; normal_map
    (h,w,3) uint8 or None for a flat one.
    """

    kd: Image
    ks: Image | None = None
    normal_map: Image | None = None


WHITE = Material(np.full((1, 1, 3), 255, np.uint8))


def from_gltf(given: Any) -> Material:
    """Of trimesh's PBRMaterial: textures times factors, each 1 where the file has none (glTF 2.0, 3.9)."""
    base = _factor(given.baseColorFactor)
    kd = _pixels(given.baseColorTexture)
    rough, metal = (1.0 if x is None else float(x) for x in (given.roughnessFactor, given.metallicFactor))
    ks = _pixels(given.metallicRoughnessTexture) * np.array([1, rough, metal])
    normal = None if given.normalTexture is None else _pixels(given.normalTexture)
    if (base != 1).any():
        kd = np.round(255 * encode_srgb((decode_srgb(kd) * base).astype(np.float32))).astype(np.uint8)
    return Material(kd, np.round(ks).astype(np.uint8), normal)


def from_obj(path: Path) -> Material:
    """Of the one material that an OBJ uses, in its MTL; white where it names none.

    Textures map_Kd, map_Pr, map_Pm (with -imfchan, else red) and norm or map_Bump; factors Kd (which a
    map_Kd overrides, as people write both), Pr and Pm. CannotEvaluate for several materials and for files
    that are missing.
    """
    lines = [line.split(maxsplit=1) for line in path.read_text(errors="replace").splitlines()]
    said = [
        (line[0], line[1].strip()) for line in lines if len(line) == 2 and line[0] in ("usemtl", "mtllib")
    ]
    used = {name for key, name in said if key == "usemtl"}
    if len(used) > 1:
        raise CannotEvaluate(f"{path.name} has {len(used)} materials; one can be evaluated")
    entries = _entries([path.parent / name for key, name in said if key == "mtllib"], used)
    if not entries:
        return WHITE
    kd = _texture(path.parent, entries, "map_kd")
    if kd is None:
        colour = np.array(entries.get("kd", "1 1 1").split()[:3], np.float32)
        kd = np.round(255 * encode_srgb(colour)).astype(np.uint8).reshape(1, 1, 3)
    normal = _texture(path.parent, entries, "norm", "map_bump", "bump")
    return Material(kd, _rough_and_metal(path.parent, entries), normal)


def unrolled(material: Material, uv: NDArray[np.float64], name: str) -> tuple[Material, NDArray[np.float64]]:
    """The material with its textures laid out as often as `uv` (V,2) repeats them, and uv in [0,1] of that.

    CannotEvaluate where that is too often.
    """
    low, high = np.floor(uv.min(0) + _ROUNDING), np.ceil(uv.max(0) - _ROUNDING)
    across, up = np.maximum(high - low, 1).astype(int)
    if max(across, up) > _MOST_TILES:
        raise CannotEvaluate(f"{name} repeats its texture {across} by {up} times; {_MOST_TILES} is the most")
    uv = (uv - low) / [across, up]
    if across == up == 1:
        return material, uv
    ks, normal_map = (
        None if image is None else np.tile(image, (up, across, 1))
        for image in (material.ks, material.normal_map)
    )
    return Material(np.tile(material.kd, (up, across, 1)), ks, normal_map), uv


def _entries(libraries: list[Path], used: set[str]) -> dict[str, str]:
    """Keys in lower case and values of the used material, or of the first where none is named."""
    materials: dict[str, dict[str, str]] = {}
    entries: dict[str, str] = {}
    for library in libraries:
        if not library.is_file():
            raise CannotEvaluate(f"the material file {library} is missing")
        for line in library.read_text(errors="replace").splitlines():
            key, _, value = line.strip().partition(" ")
            if key == "newmtl":
                entries = materials.setdefault(value.strip(), {})
            elif value:
                entries[key.lower()] = value.strip()
    return next((materials[name] for name in [*used, *materials] if name in materials), {})


def _texture(folder: Path, entries: dict[str, str], *keys: str) -> Image | None:
    """The picture that the first of these keys present names; its last word is the file's name."""
    said = next((entries[key] for key in keys if key in entries), None)
    if said is None:
        return None
    path = folder / said.split()[-1]
    if not path.is_file():
        raise CannotEvaluate(f"the texture {path} is missing")
    try:
        return read_rgb(path)
    except ValueError as error:
        raise CannotEvaluate(str(error)) from None


def _rough_and_metal(folder: Path, entries: dict[str, str]) -> Image | None:
    """(h,w,3) occlusion, roughness, metalness; None where the MTL does not speak of the last two.

    An MTL has no word for occlusion: a picture that holds roughness in green is taken to hold it in red.
    """
    channels: list[Image] = []
    occlusion = np.full((1, 1), 255, np.uint8)
    for key in ("pr", "pm"):
        picture = _texture(folder, entries, f"map_{key}")
        if picture is not None:
            words = entries[f"map_{key}"].split()
            letter = words[words.index("-imfchan") + 1] if "-imfchan" in words else "r"
            channels.append(picture[..., "rgb".index(letter)])
            if (key, letter) == ("pr", "g"):
                occlusion = picture[..., 0]
        elif key in entries:
            channels.append(np.full((1, 1), round(255 * float(entries[key])), np.uint8))
    if len(channels) < 2:
        return None
    shape = np.maximum(channels[0].shape, channels[1].shape)
    if any(channel.shape not in ((1, 1), tuple(shape)) for channel in channels):
        raise CannotEvaluate("the pictures of roughness and metalness differ in size")
    return np.stack([np.broadcast_to(channel, shape) for channel in (occlusion, *channels)], axis=2)


def _factor(value: Any) -> NDArray[np.float64]:
    """(3,) linear in [0,1]: trimesh keeps bytes or floats."""
    if value is None:
        return np.ones(3)
    given = np.asarray(value)[:3]
    return given / 255 if given.dtype == np.uint8 else given.astype(np.float64)


def _pixels(picture: Any) -> Image:
    """(h,w,3) of a PIL image; one white pixel for None."""
    return WHITE.kd if picture is None else np.asarray(picture.convert("RGB"), np.uint8)
