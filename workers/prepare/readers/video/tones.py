"""High dynamic range to sRGB: the transfer functions of ITU-R BT.2100, and a simple tone map.

Numeric. White is what BT.2408 calls HDR reference white, 203 cd/m².
"""

from functools import cache
from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray

Transfer = Literal["hlg", "pq"]

WHITE = 203.0
HLG_PEAK, HLG_GAMMA = 1000.0, 1.2
KNEE = 0.6
"""Of white: up to there nothing changes; from there all that is brighter is pressed below 1."""
STRIP = 64
"""Rows worked on at once, so that 4K in floats stays small."""

LUMINANCE = np.array([[0.2627, 0.6780, 0.0593]], np.float32)
BT2020_TO_BT709 = np.array(
    [[1.660491, -0.587641, -0.072850], [-0.124550, 1.132900, -0.008349], [-0.018151, -0.100579, 1.118730]],
    np.float32,
)
"""ITU-R BT.2407, linear light."""


def to_srgb(signal: NDArray[np.uint16], transfer: Transfer, wide: bool) -> NDArray[np.uint8]:
    """(H, W, 3) non-linear R'G'B', 65535 for 1, to sRGB. wide: its primaries are those of BT.2020."""
    result = np.empty(signal.shape, np.uint8)
    for top in range(0, len(signal), STRIP):
        light = _light(signal[top : top + STRIP], transfer)
        if wide:
            light = np.asarray(cv2.transform(light, BT2020_TO_BT709), np.float32)
        brightest = np.maximum(light.max(axis=2, keepdims=True), np.float32(1e-6))
        light *= _pressed(brightest) / brightest
        levels = (np.clip(light, 0, 1) * 65535 + 0.5).astype(np.uint16)
        result[top : top + STRIP] = _srgb_table()[levels]
    return result


def hlg_to_scene(signal: NDArray[np.float64]) -> NDArray[np.float64]:
    """Scene light, 0 to 1: the inverse of BT.2100's OETF."""
    a = 0.17883277
    b, c = 1 - 4 * a, 0.5 - a * np.log(4 * a)
    return np.where(signal <= 0.5, signal**2 / 3, (np.exp((signal - c) / a) + b) / 12)


def pq_to_display(signal: NDArray[np.float64]) -> NDArray[np.float64]:
    """Display light in cd/m²: BT.2100's EOTF."""
    m1, m2 = 2610 / 16384, 2523 / 4096 * 128
    c1, c2, c3 = 3424 / 4096, 2413 / 4096 * 32, 2392 / 4096 * 32
    root = signal ** (1 / m2)
    return np.asarray(10000 * (np.maximum(root - c1, 0) / (c2 - c3 * root)) ** (1 / m1))


def _light(signal: NDArray[np.uint16], transfer: Transfer) -> NDArray[np.float32]:
    """Display light, 1 for white. HLG's needs BT.2100's OOTF, for a display of 1000 cd/m²."""
    light = _light_table(transfer)[signal]
    if transfer == "hlg":
        relative = np.asarray(cv2.transform(light, LUMINANCE), np.float32) * np.float32(WHITE / HLG_PEAK)
        light *= relative.reshape(*light.shape[:2], 1) ** np.float32(HLG_GAMMA - 1)
    return light


def _pressed(brightness: NDArray[np.float32]) -> NDArray[np.float32]:
    """0 to infinity onto 0 to 1, with a slope that does not jump."""
    above = np.maximum(brightness - np.float32(KNEE), 0)
    room = np.float32(1 - KNEE)
    return np.asarray(np.minimum(brightness, np.float32(KNEE)) - room * np.expm1(-above / room), np.float32)


@cache
def _light_table(transfer: Transfer) -> NDArray[np.float32]:
    signal = np.arange(65536) / 65535
    light = hlg_to_scene(signal) * HLG_PEAK if transfer == "hlg" else pq_to_display(signal)
    return (light / WHITE).astype(np.float32)


@cache
def _srgb_table() -> NDArray[np.uint8]:
    linear = np.arange(65536) / 65535
    encoded = np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)
    return np.round(encoded * 255).astype(np.uint8)
