"""HDR to sRGB against the figures that the recommendations give, and against the way there, written anew."""

from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray

from workers.prepare.readers.video.tones import KNEE, WHITE, Transfer, hlg_to_scene, pq_to_display, to_srgb

Array = NDArray[np.float64]
Encode = Callable[[Array], Array]

BT709 = ((0.640, 0.330), (0.300, 0.600), (0.150, 0.060))
BT2020 = ((0.708, 0.292), (0.170, 0.797), (0.131, 0.046))
D65 = (0.3127, 0.3290)


def to_xyz(primaries: tuple[tuple[float, float], ...]) -> Array:
    columns = np.array([[x / y, 1, (1 - x - y) / y] for x, y in primaries]).T
    white = np.array([D65[0] / D65[1], 1, (1 - D65[0] - D65[1]) / D65[1]])
    return columns * np.linalg.solve(columns, white)


def wide(linear: Array) -> Array:
    """BT.709 primaries to those of BT.2020."""
    return np.asarray(linear @ (np.linalg.inv(to_xyz(BT2020)) @ to_xyz(BT709)).T)


def hlg(display: Array) -> Array:
    """BT.2100's inverse OOTF and OETF, display light in cd/m² on a screen of 1000."""
    relative = display / 1000
    luminance = (relative @ [0.2627, 0.6780, 0.0593])[..., None]
    scene = relative * luminance ** (1 / 1.2 - 1)
    a, b, c = 0.17883277, 0.28466892, 0.55991073
    return np.where(scene <= 1 / 12, np.sqrt(3 * scene), a * np.log(np.maximum(12 * scene - b, 1e-9)) + c)


def pq(display: Array) -> Array:
    power = (display / 10000) ** 0.1593017578125
    return np.asarray(((0.8359375 + 18.8515625 * power) / (1 + 18.6875 * power)) ** 78.84375)


def srgb(linear: Array) -> Array:
    return np.asarray(
        255 * np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)
    )


def shown(signal: Array, transfer: Transfer, is_wide: bool = True) -> Array:
    codes = np.round(np.clip(signal, 0, 1) * 65535).astype(np.uint16).reshape(1, -1, 3)
    return np.asarray(to_srgb(codes, transfer, is_wide)[0], np.float64)


def test_transfer_functions_give_the_figures_of_the_recommendations() -> None:
    assert hlg_to_scene(np.array([0, 0.5, 1.0])) == pytest.approx([0, 1 / 12, 1], abs=1e-6)
    assert 1000 * hlg_to_scene(np.array([0.75])) ** 1.2 == pytest.approx(203, rel=0.005)
    assert pq_to_display(np.array([0, 0.58, 1.0])) == pytest.approx([0, 203, 10000], rel=0.01)


@pytest.mark.parametrize(("transfer", "encode"), [("hlg", hlg), ("pq", pq)])
def test_colours_below_the_knee_come_through_as_they_are(transfer: Transfer, encode: Encode) -> None:
    colours = np.array(
        [[0.3, 0.1, 0.05], [0.02, 0.4, 0.1], [0.1, 0.1, 0.5], [0.18, 0.18, 0.18], [0.5, 0.45, 0.3]]
    )
    signal = encode(wide(colours) * WHITE)
    assert np.abs(shown(signal, transfer) - srgb(colours)).max() <= 1
    assert np.abs(shown(encode(colours * WHITE), transfer, is_wide=False) - srgb(colours)).max() <= 1


@pytest.mark.parametrize(("transfer", "encode"), [("hlg", hlg), ("pq", pq)])
def test_highlights_keep_their_order_and_hue_and_never_clip(transfer: Transfer, encode: Encode) -> None:
    brightness = np.linspace(0.001, 4.9, 60)[:, None]
    greys = shown(encode(brightness * WHITE * np.ones(3)), transfer)
    assert (np.diff(greys[:, 0]) >= 0).all()
    assert np.ptp(greys, axis=1).max() <= 1
    white = shown(encode(WHITE * np.ones((1, 3))), transfer)[0, 0]
    assert srgb(np.array(KNEE)) < white < 250
    orange = shown(encode(wide(np.array([[2.0, 1.0, 0.5]])) * WHITE), transfer)[0] / 255
    linear = ((orange + 0.055) / 1.055) ** 2.4
    assert linear / linear[0] == pytest.approx([1, 0.5, 0.25], abs=0.06)


def test_large_pictures_are_done_in_strips_that_do_not_show() -> None:
    codes = np.random.default_rng(0).integers(0, 65536, (150, 40, 3)).astype(np.uint16)
    at_once = to_srgb(codes.reshape(1, -1, 3), "hlg", True).reshape(codes.shape)
    assert (to_srgb(codes, "hlg", True) == at_once).all()
