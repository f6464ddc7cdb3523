"""The cube-map light, what it is filtered to, and pictures lit by it."""

import numpy as np
import pytest

from tests.unit.scenes import _ring
from workers.geometry.mesh import icosphere
from workers.reconstruct.methods.model import TexturedMesh
from workers.render.environment import (
    ROUGHNESS,
    Prefilter,
    cube_directions,
    from_equirectangular,
    irradiance,
    look_up,
    solid_angles,
    split_sum,
    texel_directions,
    texels_at,
    to_equirectangular,
)
from workers.render.lamps import sent_on
from workers.render.lit import Lit
from workers.render.shading import add_lamps, mirrored, probe, split_at


@pytest.fixture(scope="module")
def prefilter() -> Prefilter:
    return Prefilter.of_size(16)


def _gradient_light(size: int) -> np.ndarray:
    """Bright from above, a little red from +x."""
    x, y, _ = texel_directions(size).T
    light = 1 + 0.8 * y[:, None] + 0.3 * x[:, None] * np.array([1, 0, 0])
    return np.asarray(light.reshape(6, size, size, 3), np.float32)


def test_texels_cover_the_sphere_once_and_find_themselves() -> None:
    assert solid_angles(16).sum() == pytest.approx(4 * np.pi, rel=2e-3)
    found = texels_at(cube_directions(16).reshape(-1, 3), 16)
    assert (found == np.arange(6 * 16 * 16)).all()


def test_levels_keep_even_light_and_transpose_exactly(prefilter: Prefilter) -> None:
    even = np.full((6 * 16 * 16, 3), 0.7, np.float32)
    np.testing.assert_allclose(prefilter.levels(even), 0.7, rtol=1e-5)
    rng = np.random.default_rng(0)
    light = rng.random(even.shape, np.float32)
    weight = rng.random(prefilter.levels(light).shape, np.float32)
    forward = (prefilter.levels(light).astype(np.float64) * weight).sum()
    assert (prefilter.transposed(weight).astype(np.float64) * light).sum() == pytest.approx(forward, rel=1e-5)


def test_rougher_levels_are_blurrier(prefilter: Prefilter) -> None:
    light = np.zeros((6 * 16 * 16, 1), np.float32)
    light[texels_at(np.array([[0.2, 1.0, 0.1]]), 16)] = 1
    levels = prefilter.levels(light)
    peaks = [levels[a:b].max() for a, b in zip(prefilter.starts[:-1], prefilter.starts[1:], strict=True)]
    assert len(peaks) == len(ROUGHNESS)
    assert (np.diff(peaks) < 0).all()


def test_lobe_follows_its_integral() -> None:
    """Against a direct sum over a fine cube, for a light that varies slowly."""
    prefilter = Prefilter.of_size(32)
    light = _gradient_light(32).reshape(-1, 3)
    level, alpha2 = ROUGHNESS.index(0.5), 0.5**4
    found = prefilter.levels(light)[prefilter.starts[level] : prefilter.starts[level + 1]]
    fine, looks = texel_directions(32), texel_directions(prefilter.sizes[level])
    cosine = looks @ fine.T
    ndf = 1 / ((1 + cosine) / 2 * (alpha2 - 1) + 1) ** 2
    weight = ndf * np.maximum(cosine, 0) * solid_angles(32)
    expected = weight @ light / weight.sum(1, keepdims=True)
    np.testing.assert_allclose(found, expected, atol=0.03)


@pytest.mark.parametrize("roughness", [0.2, 0.5])
def test_a_lamp_shows_as_its_integral_says(roughness: float) -> None:
    """A ball of white metal with one lamp in the dark, against GGX summed over the lamp's texels: where the
    lamp is mirrored, and far from there, where little of it but still something is seen.
    """
    lamp = np.array([0.5, 0.5, 0.7])
    directions, angles = texel_directions(32), solid_angles(32)
    shining = directions @ lamp > 0.98
    radiance = np.where(shining, 300, 0.003).astype(np.float32)[:, None].repeat(3, 1)
    towards = np.array([0, 0, 1], np.float32)
    normals = icosphere(3)[0]
    normals = normals[normals[:, 2] > 0.15].astype(np.float32)
    light, alpha2 = probe(Prefilter.of_size(32), radiance), roughness**4
    index, weight = np.empty(4, np.int64), np.empty(4, np.float32)
    free, sent = np.ones(len(light.cells), np.float32), np.empty((2, len(light.cells)), np.float32)
    found, expected = [], []
    for normal in normals:
        view, mirror, split = float(normal[2]), np.zeros(3, np.float32), np.zeros(6, np.float32)
        mirrored(light, np.float32(roughness), normal, towards, np.float32(view), index, weight, mirror)
        split_at(light, np.float32(roughness), np.float32(view), split)
        of_f0, apart = split[0] * mirror, split[1] * mirror
        add_lamps(light, roughness, normal, towards, view, free, mirror, sent, of_f0, apart)
        found.append(of_f0[0] + apart[0])
        up = np.maximum(directions @ normal, 0)
        half = directions + towards
        half /= np.linalg.norm(half, axis=1, keepdims=True) + 1e-9
        ndf = alpha2 / np.pi / ((half @ normal) ** 2 * (alpha2 - 1) + 1) ** 2
        masking = up * np.sqrt(view**2 * (1 - alpha2) + alpha2) + view * np.sqrt(
            up**2 * (1 - alpha2) + alpha2
        )
        expected.append((ndf * 0.5 / masking * up * angles * radiance[:, 0]).sum())
    ours, true = np.sqrt(np.minimum(found, 1)), np.sqrt(np.minimum(expected, 1))
    assert np.abs(ours - true).mean() < 0.06 * true.mean()


@pytest.mark.parametrize("roughness", [0.2, 0.35, 0.5])
def test_a_lamps_size_neither_adds_nor_takes_light(roughness: float) -> None:
    """Of even light, cut into lamps, a white metal sends on what the split sum says, whatever their size; and
    far from where a lamp is mirrored, a larger one of the same power shows as bright.
    """
    directions, angles = texel_directions(128), solid_angles(128)
    towards, normal = np.array([0.6, 0, 0.8], np.float32), np.array([0, 0, 1], np.float32)
    split = np.zeros(6, np.float32)
    split_at(probe(Prefilter.of_size(16), np.ones((1536, 3), np.float32)), roughness, 0.8, split)
    sums, far = [], directions @ normal * (directions[:, 0] > 0.3) > 0.3
    for size in (1e-6, 0.03):
        sent = np.empty((2, len(directions)), np.float32)
        sizes = np.full(len(directions), size, np.float32)
        sent_on(np.ascontiguousarray(directions.T), sizes, roughness, normal, towards, 0.8, sent)
        sums.append(((sent[0] * angles).sum(), (sent[0] * angles)[far].sum()))
    assert sums[1][0] == pytest.approx(split[0] + split[1], rel=0.02)
    assert sums[1][1] == pytest.approx(sums[0][1], rel=0.05)


def test_split_sum_against_its_integral() -> None:
    """Of one cell, by brute force over the hemisphere of light directions."""
    rough, mu = (20 + 0.5) / 32, (24 + 0.5) / 32
    rng = np.random.default_rng(0)
    z, turn = rng.random(400_000), 2 * np.pi * rng.random(400_000)
    light = np.stack([np.sqrt(1 - z * z) * np.cos(turn), np.sqrt(1 - z * z) * np.sin(turn), z], axis=1)
    view = np.array([np.sqrt(1 - mu * mu), 0, mu])
    half = light + view
    half /= np.linalg.norm(half, axis=1, keepdims=True)
    alpha2 = rough**4
    ndf = alpha2 / np.pi / (half[:, 2] ** 2 * (alpha2 - 1) + 1) ** 2
    masking = z * np.sqrt(mu * mu * (1 - alpha2) + alpha2) + mu * np.sqrt(z * z * (1 - alpha2) + alpha2)
    brdf = ndf * 0.5 / masking  # height-correlated Smith, the 4 n.l n.v taken in
    fresnel = (1 - half @ view) ** 5
    expected = [(brdf * z * part).mean() * 2 * np.pi for part in (1 - fresnel, fresnel)]
    np.testing.assert_allclose(split_sum()[20, 24], expected, rtol=0.02)


def test_equirectangular_and_back_and_turned() -> None:
    light = _gradient_light(32)
    picture = to_equirectangular(light, 128, np.eye(3))
    assert picture[0].mean() > 1.7
    assert picture[-1].mean() < 0.3
    np.testing.assert_allclose(from_equirectangular(picture, 32), light, atol=0.03)
    turn = np.array([[0, -1, 0], [1, 0, 0], [0, 0, 1.0]])  # the picture's +x is the light's +y
    turned = from_equirectangular(to_equirectangular(light, 128, turn), 32)
    directions = texel_directions(32).astype(np.float64)
    expected = look_up(light, directions @ turn.T)
    np.testing.assert_allclose(turned.reshape(-1, 3), expected, atol=0.03)


def _ball(roughness: int, metalness: int) -> TexturedMesh:
    vertices, faces = icosphere(4)
    size = (4, 4, 3)
    return TexturedMesh(
        vertices,
        faces,
        vertices,
        np.full((len(vertices), 2), 0.5, np.float32),
        np.full(size, 188, np.uint8),
        np.full(size, (255, roughness, metalness), np.uint8),
        np.full(size, (128, 128, 255), np.uint8),
    )


def test_a_white_ball_in_even_light_loses_hardly_any_of_it() -> None:
    """The furnace: a rough dielectric of linear albedo 0.5 shows about that; a metal a little less than its
    colour, since the split sum leaves out light that bounces twice between facets.
    """
    light = np.ones((6, 16, 16, 3), np.float32)
    camera = _ring(4, 4.0, np.zeros(3), 64, 80.0).select([0])
    for metalness, lost in ((0, 0.0), (255, 0.05)):
        picture = Lit(_ball(140, metalness), light)(camera)
        inside = picture[28:36, 28:36, 0].mean() / 255
        linear = ((inside + 0.055) / 1.055) ** 2.4
        assert linear == pytest.approx(0.5 - lost, abs=0.03)
    assert picture[2, 2, 3] == 0


def test_a_lamp_throws_a_shadow() -> None:
    """Of a small plate onto a floor below it; where the floor is not below the plate it is lit."""
    at = np.linspace(-1, 1, 41, dtype=np.float32)
    x, y = (axis.ravel() for axis in np.meshgrid(at, at))
    cells = (np.arange(40)[:, None] * 41 + np.arange(40)).ravel()
    half = np.stack([cells, cells + 1, cells + 42], axis=1), np.stack([cells, cells + 42, cells + 41], axis=1)
    floor, plate = np.stack([x, y, 0 * x], axis=1), np.stack([0.3 * x, 0.3 * y, 0 * x + 0.6], axis=1)
    faces = np.concatenate([*half, *(each + 1681 for each in half)]).astype(np.int32)
    vertices = np.concatenate([floor, plate])
    up, uv = np.tile(np.array([0, 0, 1], np.float32), (len(vertices), 1)), np.full((len(vertices), 2), 0.5)
    grey, flat = np.full((4, 4, 3), 188, np.uint8), np.full((4, 4, 3), (128, 128, 255), np.uint8)
    ks = np.full((4, 4, 3), (255, 250, 0), np.uint8)
    mesh = TexturedMesh(vertices, faces, up, uv.astype(np.float32), grey, ks, flat)
    light = np.full((6, 32, 32, 3), 0.02, np.float32)
    light.reshape(-1, 3)[texel_directions(32)[:, 2] > 0.99] = 20
    camera = _ring(4, 4.0, np.zeros(3), 96, 110.0).select([1])  # from the side, above the floor
    picture = Lit(mesh, light)(camera)
    project = camera.projection()[0]

    def shown(x: float, y: float) -> float:
        column, row, depth = project @ [x, y, 0, 1]
        return float(picture[int(row / depth), int(column / depth), 0])

    assert shown(0.0, 0.0) < 0.5 * shown(0.8, 0.0)
    assert shown(-0.8, 0.8) == pytest.approx(shown(0.8, 0.0), abs=6)


def test_a_mirror_ball_shows_the_light_behind_the_camera() -> None:
    light = np.full((6, 16, 16, 3), 0.05, np.float32)
    camera = _ring(4, 4.0, np.zeros(3), 64, 80.0).select([0])
    towards = camera.centres[0] / np.linalg.norm(camera.centres[0])
    near = texel_directions(16) @ towards > 0.8
    light.reshape(-1, 3)[near] = 1.0
    picture = Lit(_ball(20, 255), light)(camera)
    assert picture[32, 32, 0] > 150
    assert picture[32, 14, 0] < 80


def test_irradiance_of_even_light_is_even() -> None:
    np.testing.assert_allclose(irradiance(np.ones((6, 16, 16, 3), np.float32)), 1, rtol=1e-5)
