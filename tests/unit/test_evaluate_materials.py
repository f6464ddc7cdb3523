"""Materials that differ by known amounts, on a square seen from the front."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.unit.test_evaluate_geometry import square
from workers.evaluate.materials import compare_materials
from workers.evaluate.mesh import Mesh
from workers.evaluate.surface import look_up
from workers.geometry.cameras import Cameras
from workers.geometry.colour import decode_srgb, encode_srgb

POSE = np.array([[1, 0, 0, 0.5], [0, 1, 0, 0.5], [0, 0, 1, 2], [0, 0, 0, 1.0]])
CAMERA = Cameras(("front",), np.array([[60.0, 60, 32, 32]]), 64, 64, POSE[None])
UV = np.array([[0, 0], [1, 0], [1, 1], [0, 1]], np.float32)


def texels(values: Any) -> NDArray[np.uint8]:
    return np.array(values, np.uint8)


def shape(values: Any) -> NDArray[np.float32]:
    return np.array(values, np.float32)


def painted(kd: Any, ks: Any = None, n: Any = None) -> Mesh:
    """The unit square, u along x and v along y; each texture a picture or one texel, or None."""
    base, *others = (None if image is None else texels(image) for image in (kd, ks, n))
    assert base is not None
    pictures = [None if image is None else image.reshape(1, 1, 3) for image in others]
    whole = base if base.ndim == 3 else base.reshape(1, 1, 3)
    return replace(square(0), uv=UV, kd=whole, ks=pictures[0], normal_map=pictures[1])


def gradient(factor: float = 1.0) -> NDArray[np.uint8]:
    """(64,64,3) sRGB, its linear values scaled by the factor."""
    ramp = np.linspace(0.1, 0.4, 64, dtype=np.float32)
    linear = np.stack([*np.meshgrid(ramp, ramp), np.full((64, 64), 0.3, np.float32)], axis=2)
    return np.round(255 * encode_srgb((linear * factor).astype(np.float32))).astype(np.uint8)


def test_a_known_scale_of_albedo_is_found() -> None:
    figures = compare_materials(painted(gradient(0.5)), painted(gradient()), [CAMERA])
    assert figures["coverage"] == 1
    assert figures["albedo_scale"] == pytest.approx([2, 2, 2], rel=0.01)
    assert figures["albedo_psnr"] > 50  # bytes


def test_albedo_unscaled() -> None:
    """A constant error: its PSNR is a formula."""
    figures = compare_materials(painted([110, 110, 110]), painted([100, 100, 100]), [CAMERA])
    assert figures["albedo_psnr_raw"] == pytest.approx(20 * np.log10(25.5), abs=0.01)
    assert figures["albedo_scale"] == pytest.approx(
        [float(np.divide(decode_srgb(texels(100)), decode_srgb(texels(110))))] * 3
    )


def test_each_channel_has_a_scale_of_its_own() -> None:
    figures = compare_materials(painted([50, 100, 200]), painted([100, 100, 100]), [CAMERA])
    expected = np.divide(decode_srgb(texels([100])), decode_srgb(texels([50, 100, 200])))
    assert figures["albedo_scale"] == pytest.approx(expected.tolist(), rel=1e-3)
    assert figures["albedo_psnr"] > 60


def test_roughness_and_metalness() -> None:
    ours, truth = painted([9, 9, 9], [255, 51, 204]), painted([9, 9, 9], [0, 102, 51])
    figures = compare_materials(ours, truth, [CAMERA])
    assert figures["roughness_error"] == pytest.approx(0.2)
    assert figures["metalness_error"] == pytest.approx(0.6)


def test_what_a_model_does_not_say_is_not_judged() -> None:
    figures = compare_materials(painted([9, 9, 9]), painted([9, 9, 9], [0, 102, 51]), [CAMERA])
    assert not {"roughness_error", "metalness_error"} & set(figures)


def test_colours_at_vertices_stand_for_a_texture() -> None:
    ours = replace(painted([0, 0, 0]), colours=np.full((4, 3), 120, np.uint8))
    figures = compare_materials(ours, painted([120, 120, 120]), [CAMERA])
    assert figures["albedo_psnr_raw"] > 90


def test_only_what_both_show_is_compared() -> None:
    """Half of the true square was found; the other half's colour does not matter."""
    half = replace(painted([80, 80, 80]), vertices=square(0).vertices * shape([0.5, 1, 1]))
    two = texels([[[80, 80, 80]] * 9 + [[200, 0, 0]] * 7])
    figures = compare_materials(half, painted(np.repeat(two, 16, axis=0)), [CAMERA])
    assert figures["coverage"] == pytest.approx(0.5, abs=0.02)
    assert figures["albedo_psnr_raw"] > 90
    away = replace(half, vertices=half.vertices + shape([5, 0, 0]))
    assert compare_materials(away, painted([80, 80, 80]), [CAMERA]) == {"coverage": 0.0}


def tilted(x: float, y: float) -> list[int]:
    """The texel of a normal map whose normal is (x, y, rest)."""
    return [round(255 * (value / 2 + 0.5)) for value in (x, y, (1 - x * x - y * y) ** 0.5)]


@pytest.mark.parametrize(("x", "y"), [(0.5, 0), (-0.5, 0), (0, 0.5), (0.3, -0.4)])
def test_normal_maps_tilt_along_the_texture(x: float, y: float) -> None:
    """+x of the map is along u and +y along v: here the world's x and y, unless it lies otherwise."""
    angle = np.degrees(np.arcsin(np.hypot(x, y)))
    mapped = painted([9, 9, 9], n=tilted(x, y))
    figures = compare_materials(mapped, painted([9, 9, 9]), [CAMERA])
    assert figures["normal_error"] == pytest.approx(angle, abs=0.3)
    z = (1 - x * x - y * y) ** 0.5
    for mirror, turned in ((UV, (x, y)), (UV * [-1, 1] + [1, 0], (-x, y)), (UV[:, ::-1], (y, x))):
        laid = replace(mapped, uv=mirror.astype(np.float32))
        normals = look_up(laid, CAMERA).normals
        assert np.abs(normals - [*turned, z]).max() < 0.01


def test_smooth_normals_are_those_of_the_vertices() -> None:
    bent = replace(painted([9, 9, 9]), normals=np.tile(shape([0.6, 0, 0.8]), (4, 1)))
    figures = compare_materials(bent, painted([9, 9, 9]), [CAMERA])
    assert figures["normal_error"] == pytest.approx(np.degrees(np.arcsin(0.6)), abs=0.01)
