"""Matching by brightness where there is no texture: the noise, brightness that stays, hollows found."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from workers.geometry.cameras import Cameras, view_angles
from workers.reconstruct.methods.surface.sweep import choose_neighbours, sweep
from workers.reconstruct.methods.surface.tones import brightness_drift, noise_level

Float = NDArray[np.float32]

_SIZE = 96
_DEEP = 0.3  # how far the surface z = 0 lies behind the guide


def _above() -> Cameras:
    """Seven cameras around the z axis, 0.26 radians off it, looking at the origin."""
    turn = np.arange(7) * 2 * np.pi / 7
    tilt = np.full(7, np.sin(0.26))
    back = np.stack([tilt * np.cos(turn), tilt * np.sin(turn), np.full(7, np.cos(0.26))], axis=1)
    right = np.cross([0, 1.0, 0], back)
    right /= np.linalg.norm(right, axis=1, keepdims=True)
    c2w = np.tile(np.eye(4), (7, 1, 1))
    c2w[:, :3] = np.stack([right, np.cross(back, right), back, 3 * back], axis=2)
    intrinsics = np.tile([2.5 * _SIZE, 2.5 * _SIZE, _SIZE / 2, _SIZE / 2], (7, 1))
    return Cameras(tuple(f"{i}.png" for i in range(7)), intrinsics, _SIZE, _SIZE, c2w)


def _plane(cameras: Cameras, z: float) -> tuple[Float, NDArray[np.float64]]:
    """(N,h,w) depth of the plane at height z, and what each pixel sees of it (N,h,w,2): x and y."""
    pixel = (np.arange(_SIZE) + 0.5 - _SIZE / 2) / (2.5 * _SIZE)
    x, y = np.meshgrid(pixel, -pixel)
    rays = np.stack([x, y, np.full_like(x, -1)], axis=-1) @ cameras.c2w[:, None, :3, :3].transpose(0, 1, 3, 2)
    depth = (z - cameras.centres[:, None, None, 2]) / rays[..., 2]
    places = cameras.centres[:, None, None, :2] + depth[..., None] * rays[..., :2]
    return depth.astype(np.float32), places


def _shaded(places: NDArray[np.float64]) -> Float:
    """A curved shade without any texture, in whole steps of 8 bit."""
    shade = 0.5 + 0.25 * places[..., 0] - 0.2 * places[..., 1] ** 2
    return (np.round(255 * shade) / 255).astype(np.float32)


def test_noise_is_told_from_shading_and_follows_brightness() -> None:
    rng = np.random.default_rng(0)
    shade = np.linspace(0.1, 0.9, 128, dtype=np.float32)[None, None].repeat(128, 1).repeat(3, 0)
    true = np.where(shade < 0.5, 0.01, 0.03)
    found = noise_level((shade + true * rng.standard_normal(shade.shape)).astype(np.float32), shade > 0)
    assert np.median(found[..., :50]) == pytest.approx(0.01, rel=0.25)
    assert np.median(found[..., 80:]) == pytest.approx(0.03, rel=0.25)


def test_matt_is_steady_and_what_shines_from_view_to_view_is_not() -> None:
    cameras = _above()
    depth, places = _plane(cameras, 0.0)
    neighbours = choose_neighbours(view_angles(cameras), 4)
    grey = _shaded(places)
    drift, steady = brightness_drift(grey, depth, cameras, neighbours)
    assert steady == 1
    assert drift.max() < 2 / 255
    flicker = (grey + 0.1 * np.cos(3 * np.arange(7))[:, None, None]).astype(np.float32)
    drift, steady = brightness_drift(flicker, depth, cameras, neighbours)
    assert steady == 0
    assert np.median(drift) > 0.05


def test_a_hollow_without_texture_is_found_by_its_brightness() -> None:
    cameras = _above()
    truth, places = _plane(cameras, 0.0)
    guide, _ = _plane(cameras, _DEEP)
    grey = _shaded(places)
    neighbours = choose_neighbours(view_angles(cameras), 4)
    offsets = np.arange(-0.06, 0.5, 0.02, dtype=np.float32)
    masks = np.ones(grey.shape, bool)
    noise = noise_level(grey, masks)

    def error(steady: float) -> float:
        tones = (noise, np.full_like(grey, 1 / 255), np.full_like(grey, steady))
        depth, _ = sweep(grey, masks, cameras, guide, neighbours, offsets, 2, np.arange(7), tones, 3)
        inner = (slice(None), slice(20, -20), slice(20, -20))
        return float(np.median(np.abs(depth - truth)[inner]))

    assert error(1.0) < 0.02
    assert error(0.0) > 0.1
