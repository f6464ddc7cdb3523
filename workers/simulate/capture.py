"""Write a capture of a procedural object as a phone's app would send it, and the truth it was made from."""

import json
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from workers.simulate.cameras import Lens, random_lens, walk
from workers.simulate.paint import random_paint
from workers.simulate.render import Scene, render
from workers.simulate.room import random_room
from workers.simulate.session import record
from workers.simulate.shape import bounding_sphere, bounds, random_shape
from workers.simulate.table import bake, random_cover
from workers.simulate.truth import encode_srgb, write_ply

CELL = 0.0007  # m: of the truth's marching cubes
EXPOSURE = 1.5  # linear value of a radiance of 1
NOISE = 0.006  # standard deviation of the sensor's noise, as a share of full scale after encoding
SENSOR = 7.0  # mm: the long side of the sensor that the EXIF data speak of
START = datetime(2024, 5, 17, 14, 30)
SECONDS_BETWEEN = 2


def simulate(
    out: Path,
    *,
    views: int = 36,
    seed: int = 0,
    plain: bool = False,
    masks: bool = True,
    size: tuple[int, int] = (720, 960),
    session: bool = False,
    report: Callable[[float], None] = lambda share: None,
) -> None:
    """Make `out/capture/`, as a phone sends it, and `out/truth/`, its ideal result; same seed, same bytes.

    capture/: images/photo_000.jpg …, transforms.json (nerfstudio's, OpenGL camera-to-world poses in metres, y
    up, the table at y = 0) and with `masks` masks/photo_000.png, 0 or 255. truth/: mesh.ply, masks/ as 8-bit
    coverage, transforms.json, truth.json. `plain` takes all texture and gloss off the object; `size` is (w,
    h) in pixels; with `session` the capture has session.jsonl, as a drifting phone records it, in the place
    of its transforms.json, and truth/truth.json tells the drift; `report` hears the share done after each
    photo. ValueError for fewer than one view.
    """
    if views < 1:
        raise ValueError(f"a capture needs at least one view, not {views}")
    rng = np.random.default_rng(seed)
    shape, paint = random_shape(rng), random_paint(rng, plain)
    room, cover = random_room(rng), random_cover(rng)
    centre, radius = bounding_sphere(shape)
    ball = float(centre[0]), float(centre[1]), float(centre[2]), radius
    scene = Scene(shape, paint, room, bake(shape, room, cover), ball)
    lens = random_lens(rng, size)
    poses = walk(rng, views, centre, radius)

    capture, truth = out / "capture", out / "truth"
    for folder in (capture / "images", truth / "masks", *([capture / "masks"] if masks else [])):
        folder.mkdir(parents=True, exist_ok=True)
    for i, pose in enumerate(poses):
        picture = render(scene, pose, lens)
        cover_share = picture[..., 3]
        photo = _develop(picture[..., :3], rng)
        Image.fromarray(photo).save(
            capture / f"images/photo_{i:03}.jpg", quality=92, subsampling=0, exif=_exif(lens, i)
        )
        Image.fromarray(np.uint8(np.round(255 * cover_share))).save(truth / f"masks/photo_{i:03}.png")
        if masks:
            Image.fromarray(np.uint8(255 * (cover_share >= 0.5))).save(capture / f"masks/photo_{i:03}.png")
        report((i + 1) / (views + 1))

    _write_json(truth / "transforms.json", _transforms(lens, poses, None))
    low, high = bounds(shape)
    facts = {
        "seed": seed, "views": views, "plain": plain, "unit": "metre", "scale": 1.0, "up": "y",
        "bounds": [low.tolist(), high.tolist()], "mesh_cell": CELL, "shape": shape._asdict(),
    }  # fmt: skip
    if session:
        own = np.random.default_rng([seed, 1])
        lines, facts["session"] = record(own, lens, poses, centre, radius, SECONDS_BETWEEN)
        (capture / "session.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    else:
        _write_json(capture / "transforms.json", _transforms(lens, poses, "masks" if masks else None))
    _write_json(truth / "truth.json", facts)
    write_ply(truth / "mesh.ply", shape, paint, CELL)
    report(1.0)


def _develop(linear: NDArray[np.float32], rng: np.random.Generator) -> NDArray[np.uint8]:
    """(h, w, 3) bytes of a photo from linear light: exposure as the phone guesses it, sRGB, sensor noise."""
    encoded = encode_srgb(linear * np.float32(EXPOSURE * rng.uniform(0.97, 1.03)))
    grain = rng.standard_normal(encoded.shape, np.float32) * np.float32(NOISE)
    return np.round(255 * np.clip(encoded + grain, 0, 1)).astype(np.uint8)


def _exif(lens: Lens, index: int) -> Image.Exif:
    taken = (START + timedelta(seconds=SECONDS_BETWEEN * index)).strftime("%Y:%m:%d %H:%M:%S")
    share = lens.f / max(lens.w, lens.h)
    exif = Image.Exif()
    exif[0x010F] = exif[0x0110] = "phototwin simulator"  # Make, Model
    exif[0x0112] = 1  # Orientation: as stored
    details = exif.get_ifd(0x8769)
    details[0x9003] = taken  # DateTimeOriginal
    details[0x920A] = round(share * SENSOR, 3)  # FocalLength, mm
    details[0xA405] = round(share * 36)  # FocalLengthIn35mmFilm, of a 36 mm long side
    return exif


def _transforms(lens: Lens, poses: NDArray[np.float64], masks: str | None) -> dict[str, Any]:
    """The nerfstudio description of photos at poses (N, 4, 4); masks names the masks' folder, if any."""
    frames = []
    for i, pose in enumerate(poses):
        frame = {"file_path": f"images/photo_{i:03}.jpg", "transform_matrix": pose.tolist()}
        if masks:
            frame["mask_path"] = f"{masks}/photo_{i:03}.png"
        frames.append(frame)
    return {
        "camera_model": "OPENCV", "w": lens.w, "h": lens.h,
        "fl_x": lens.f, "fl_y": lens.f, "cx": lens.cx, "cy": lens.cy,
        "k1": 0.0, "k2": 0.0, "p1": 0.0, "p2": 0.0,
        "world_up": [0.0, 1.0, 0.0], "metres_per_unit": 1.0, "frames": frames,
    }  # fmt: skip


def _write_json(path: Path, content: dict[str, Any]) -> None:
    path.write_text(json.dumps(content, indent=1) + "\n")
