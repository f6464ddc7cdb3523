"""Pictures of a part, each from another side and in another light, with nothing behind it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from workers.geometry.cameras import Cameras
from workers.geometry.colour import encode_srgb
from workers.render.depth import clip_positions
from workers.render.environment import Prefilter, irradiance, look_up
from workers.render.rasterizer import rasterize
from workers.render.shading import probe
from workers.simulate.parts.light import SIZE, light
from workers.simulate.parts.part import Part
from workers.simulate.parts.shade import shade
from workers.simulate.parts.surface import Surface, around, depths, surface, turned

Float = NDArray[np.float32]
Array = NDArray[np.float64]
Image = NDArray[np.uint8]

LAMPS = 6
SKY = 24  # directions in which it is looked how much of its surroundings the part sees
_SKY_SIDE, _LAMP_SIDE = 96, 160
FAR = 40.0  # longest sides: a camera there sees as good as no perspective


@dataclass(frozen=True)
class Picture:
    """rgba: (size,size,4) uint8, sRGB and alpha, not premultiplied; 0 where there is nothing. rotation: (3,3)
    from the part's frame to the camera's: x right, y up, z towards the viewer. camera: the one it was taken
    with, in the part's frame.
    """

    rgba: Image
    rotation: Array
    camera: Cameras


def pictures(part: Part, count: int, seed: int, size: int) -> list[Picture]:
    """So many pictures of size x size pixels, always the same ones for a seed; more do not change the first.

    The part lies in the middle and takes 70 to 95 % of the side. Cameras are 2.5 to 8 of its longest sides
    away, some `FAR`; -10 to 70 degrees high, mostly 10 to 45; rolled by up to 10.
    """
    drawn = surface(part.vertices, part.faces)
    sky = around(SKY)
    turns = turned(sky)
    seen = depths(drawn, turns, _SKY_SIDE)
    return [
        _picture(part, drawn, (sky, turns, seen), np.random.default_rng((seed, k)), size)
        for k in range(count)
    ]


def _picture(
    part: Part, drawn: Surface, sky: tuple[Float, Float, Float], rng: np.random.Generator, size: int
) -> Picture:
    azimuth = float(rng.uniform(-np.pi, np.pi))
    camera = _camera(rng, azimuth, part.vertices, size)
    cube = light(rng, azimuth)
    lit = probe(Prefilter.of_size(SIZE), cube.reshape(-1, 3), lamps=LAMPS)
    rest = cube.reshape(-1, 3).copy()
    rest[lit.inside] = 0
    even = look_up(irradiance(rest.reshape(cube.shape)), drawn.normals.astype(np.float64))
    lamp_turns = turned(lit.towards.T)
    grain = np.array(
        [*rng.uniform(0, 100, 3), rng.uniform(4, 14), *rng.uniform(0, (0.12, 0.25)), rng.uniform(0, 0.35)],
        np.float32,
    )
    rast = rasterize(clip_positions(drawn.points, camera), drawn.faces, (2 * size, 2 * size))[0]
    samples = np.zeros((2 * size, 2 * size, 4), np.float32)
    shade(
        rast,
        drawn.faces,
        np.concatenate([drawn.points, drawn.normals, even], axis=1),
        part.materials,
        _linear(part),
        grain,
        camera.centres[0].astype(np.float32),
        lit,
        lamp_turns,
        depths(drawn, lamp_turns, _LAMP_SIDE),
        *sky,
        samples,
    )
    _expose(rng, samples)
    return Picture(_reduced(samples), camera.w2c()[0, :3, :3].copy(), camera)


def _camera(rng: np.random.Generator, azimuth: float, vertices: Float, size: int) -> Cameras:
    usual = rng.random() < 0.8
    high = np.radians(rng.uniform(10, 45) if usual else rng.uniform(-10, 70))
    roll = np.radians(rng.uniform(-10, 10))
    distance = FAR if rng.random() < 0.15 else np.exp(rng.uniform(np.log(2.5), np.log(8)))
    back = np.array([np.sin(azimuth) * np.cos(high), np.sin(high), np.cos(azimuth) * np.cos(high)])
    right = np.array([np.cos(azimuth), 0, -np.sin(azimuth)])
    up = np.cross(back, right)
    pose = np.eye(4)
    pose[:3, 0], pose[:3, 1] = (
        np.cos(roll) * right + np.sin(roll) * up,
        np.cos(roll) * up - np.sin(roll) * right,
    )
    pose[:3, 2], pose[:3, 3] = back, distance * back
    # The focal length and the middle of the picture by where the part is seen.
    x, y, z = ((vertices.astype(np.float64) - pose[:3, 3]) @ pose[:3, :3]).T
    u, v = x / -z, y / z
    focal = rng.uniform(0.7, 0.95) * size / max(float(np.ptp(u)), float(np.ptp(v)))
    middle = [size / 2 - focal * (at.min() + at.max()) / 2 for at in (u, v)]
    return Cameras(("part",), np.array([[focal, focal, *middle]]), size, size, pose[None])


def _linear(part: Part) -> Float:
    """(M,6) linear colour, roughness, metalness, brushed."""
    rows = np.array([(*m.colour, m.roughness, m.metalness, m.brushed) for m in part.palette], np.float64)
    rows[:, :3] = np.where(
        rows[:, :3] <= 0.04045, rows[:, :3] / 12.92, ((rows[:, :3] + 0.055) / 1.055) ** 2.4
    )
    return rows.astype(np.float32)


def _expose(rng: np.random.Generator, samples: Float) -> None:
    """As a camera would, of what is seen alone: dark parts stay darker, little is burnt out."""
    seen = samples[..., 3] > 0
    bright = samples[..., :3][seen] @ np.array([0.2126, 0.7152, 0.0722], np.float32)
    gain = np.exp(rng.uniform(np.log(0.13), np.log(0.4))) / max(float(bright.mean()), 1e-4)
    gain = min(np.clip(gain, 0.5, 3), 1.1 / max(float(np.quantile(bright, 0.95)), 1e-4))
    samples[..., :3] *= np.float32(gain)


def _reduced(samples: Float) -> Image:
    """(h,w,4) bytes of (2h,2w,4) linear samples: their mean."""
    cut: Float = np.clip(samples, 0, 1)
    rows: Float = cut[::2] + cut[1::2]
    mean: Float = np.multiply(rows[:, ::2] + rows[:, 1::2], np.float32(0.25))
    straight: Float = np.divide(mean[..., :3], np.maximum(mean[..., 3:], np.float32(1e-6)))
    return np.round(255 * np.concatenate([encode_srgb(straight), mean[..., 3:]], axis=2)).astype(np.uint8)
