"""Materials and light from what photos show of a known shape."""

import itertools
from pathlib import Path

import numpy as np
import pytest

from tests.unit.scenes import _ring
from workers.geometry.mesh import icosphere
from workers.reconstruct.checkpoints import Checkpoints
from workers.reconstruct.methods.appearance.albedo import Points, albedo
from workers.reconstruct.methods.appearance.bake import Photos, prepare
from workers.reconstruct.methods.appearance.fit import Appearance, Report, begin, fit
from workers.reconstruct.methods.appearance.gradients import Surface, gradients
from workers.reconstruct.methods.appearance.observations import Observations, gather
from workers.reconstruct.methods.appearance.occlusion import SIZE, cosine_weights, visible_directions
from workers.reconstruct.methods.appearance.priors import laplacian, of_colour, relaxed
from workers.reconstruct.methods.model import Scene, TexturedMesh
from workers.render.environment import Prefilter, texel_directions
from workers.render.lamps import lamps_of
from workers.render.lit import Lit
from workers.render.shading import Probe, by_light, probe

COUNT, PIXELS = 36, 128


def _light(size: int = 32) -> np.ndarray:
    """A dim room with a window, a lamp and a floor."""
    x, y, z = texel_directions(size).T
    light = np.full((6 * size * size, 3), 0.25, np.float32)
    light[(np.abs(x - 0.7) < 0.2) & (np.abs(y) < 0.3)] = (3.0, 3.2, 3.5)
    light[(z > 0.75) & (np.abs(y - 0.2) < 0.25)] = (2.5, 2.2, 1.8)
    light[z < -0.6] = (0.12, 0.1, 0.08)
    return light.reshape(6, size, size, 3)


def _painted(kd: np.ndarray, ks: np.ndarray) -> TexturedMesh:
    """A ball, its texture's left half of one material and its right half of another; kd (2,3), ks (2,3)."""
    vertices, faces = icosphere(5)
    ball = (vertices * 0.5).astype(np.float32)
    uv = np.stack([np.where(vertices[:, 0] < 0, 0.25, 0.75), np.full(len(vertices), 0.5)], axis=1)
    colour, rough = (np.repeat(each[None].repeat(4, 0), 2, axis=1).astype(np.uint8) for each in (kd, ks))
    flat = np.full((4, 4, 3), (128, 128, 255), np.uint8)
    return TexturedMesh(ball, faces, vertices, uv.astype(np.float32), colour, rough, flat)


@pytest.fixture(scope="module")
def photographed() -> tuple[TexturedMesh, Scene]:
    """A red plastic and a steel half, and photos of them."""
    kd = np.array([[200, 60, 50], [200, 200, 205]])
    ks = np.array([[255, 150, 0], [255, 90, 255]])
    mesh = _painted(kd, ks)
    cameras = _ring(COUNT, 2.0, np.zeros(3), PIXELS, 1.5 * PIXELS)
    renders = np.stack([Lit(mesh, _light())(cameras.select([i])) for i in range(COUNT)])
    frames = np.tile([0, 0, PIXELS, PIXELS], (COUNT, 1))
    return mesh, Scene(renders[..., :3], renders[..., 3] > 127, cameras, frames)


@pytest.fixture(scope="module")
def fitted(photographed: tuple[TexturedMesh, Scene]) -> tuple[Appearance, Observations, Photos]:
    mesh, scene = photographed
    photos = prepare(scene, mesh.vertices, mesh.faces)
    seen = gather(mesh.vertices, mesh.normals, photos)
    visible = visible_directions(mesh.vertices, mesh.faces, mesh.normals, 0.6)
    rounds = (mesh.faces, mesh.normals, visible, seen, COUNT, 160, 0)
    return fit(*rounds, lambda part, losses, colours: None), seen, photos


def _linear(byte: np.ndarray) -> np.ndarray:
    code = np.asarray(byte) / 255
    return np.where(code <= 0.04045, code / 12.92, ((code + 0.055) / 1.055) ** 2.4)


def test_plastic_and_metal_are_told_apart(
    photographed: tuple[TexturedMesh, Scene], fitted: tuple[Appearance, Observations, Photos]
) -> None:
    mesh, (found, seen, _) = photographed[0], fitted
    left = mesh.vertices[:, 0] < -0.05
    right, known = mesh.vertices[:, 0] > 0.05, seen.enough()
    plastic, steel = (np.median(found.ks[known & side], axis=0) for side in (left, right))
    assert plastic[1] < 0.25
    assert steel[1] > 0.6
    assert plastic[0] == pytest.approx(150 / 255, abs=0.15)
    assert steel[0] == pytest.approx(90 / 255, abs=0.12)


def test_what_changes_from_view_to_view_begins_as_a_mirror() -> None:
    """And a dark plastic with one highlight does not, nor anything matt."""
    views = 10
    mirror = np.where(np.arange(views) % 2, 0.9, 0.1)
    dark = np.where(np.arange(views) == 3, 0.06, 0.02)
    brightness = np.stack([mirror, np.full(views, 0.3), dark]).astype(np.float32)
    seen = Observations(
        np.arange(4) * views,
        np.tile(np.arange(views, dtype=np.int32), 3),
        np.zeros((3 * views, 3), np.float32),
        brightness.reshape(-1, 1).repeat(3, 1),
        np.full(3 * views, 1 / views, np.float32),
    )
    roughness, metalness = begin(seen, seen.mean(), 0.3).T
    assert roughness[0] < 0.3
    assert metalness[0] > 0.8
    assert roughness[1] == 0.5
    assert roughness[2] > 0.45
    assert metalness[2] < 0.4


def test_albedo_holds_no_light(
    photographed: tuple[TexturedMesh, Scene], fitted: tuple[Appearance, Observations, Photos]
) -> None:
    """Within one material it hardly varies, though what the photos show varies by far more."""
    mesh, (found, seen, _) = photographed[0], fitted
    for side in (mesh.vertices[:, 0] < -0.05, mesh.vertices[:, 0] > 0.05):
        chosen = side & seen.enough()
        spread = found.kd[chosen].std(0) / found.kd[chosen].mean(0)
        shown = seen.mean()[chosen]
        assert spread.max() < 0.3 * (shown.std(0) / shown.mean(0)).max()
    plastic = np.median(found.kd[(mesh.vertices[:, 0] < -0.05) & seen.enough()], axis=0)
    true = _linear(np.array([200, 60, 50]))
    np.testing.assert_allclose(plastic / plastic.sum(), true / true.sum(), atol=0.06)


def test_the_losses_fall_and_the_same_seed_gives_the_same(
    photographed: tuple[TexturedMesh, Scene], fitted: tuple[Appearance, Observations, Photos]
) -> None:
    mesh, (found, seen, _) = photographed[0], fitted
    assert found.losses[-1, 1] < 0.1 * found.losses[0, 1]
    visible = visible_directions(mesh.vertices, mesh.faces, mesh.normals, 0.6)
    again = [
        fit(mesh.faces, mesh.normals, visible, seen, COUNT, 12, 5, lambda part, losses, colours: None)
        for _ in range(2)
    ]
    assert again[0].kd.tobytes() == again[1].kd.tobytes()
    assert again[0].light.tobytes() == again[1].light.tobytes()


def test_a_fit_that_was_interrupted_goes_on_to_the_same(
    photographed: tuple[TexturedMesh, Scene],
    fitted: tuple[Appearance, Observations, Photos],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """At a round after the normals began to turn, between two looks at what they face."""
    mesh, seen = photographed[0], fitted[1]
    visible = visible_directions(mesh.vertices, mesh.faces, mesh.normals, 0.6)
    parts: list[float] = []

    def tell(part: float, *_: object) -> None:
        parts.append(part)
        if len(parts) == 8:
            raise KeyboardInterrupt

    def whole(checkpoints: Checkpoints, report: Report) -> Appearance:
        return fit(mesh.faces, mesh.normals, visible, seen, COUNT, 40, 5, report, checkpoints)

    undisturbed = whole(Checkpoints(), lambda *_: None)
    monkeypatch.setattr("workers.reconstruct.methods.appearance.fit._SAVED_EVERY", 0)
    with pytest.raises(KeyboardInterrupt):
        whole(Checkpoints(tmp_path), tell)
    resumed = whole(Checkpoints(tmp_path), tell)
    assert parts[7:] == [29 / 40, 33 / 40, 37 / 40]
    for name, array in undisturbed.arrays().items():
        assert array.tobytes() == resumed.arrays()[name].tobytes(), name


def test_texels_get_their_colour_back(
    photographed: tuple[TexturedMesh, Scene],
) -> None:
    """Under the true light and with the true roughness and metalness, to within what rendering blurs."""
    mesh, scene = photographed
    photos = prepare(scene, mesh.vertices, mesh.faces)
    left = np.flatnonzero(np.abs(mesh.vertices[:, 0]) > 0.05).astype(np.int32)
    visible = np.ones((len(mesh.vertices), 6 * SIZE * SIZE), np.uint8)
    light = probe(Prefilter.of_size(32), _light().reshape(-1, 3), lamps=0)
    even = _irradiance(mesh.normals[left])
    ks = np.where(mesh.vertices[left, :1] < 0, [[150 / 255, 0]], [[90 / 255, 1]]).astype(np.float32)
    points = Points(
        mesh.vertices[left], mesh.normals[left], mesh.normals[left], ks, even, np.full_like(even, 0.3), left
    )
    found = albedo(points, visible, photos, light, np.zeros(3, np.float32), np.ones((COUNT, 3), np.float32))
    true = _linear(np.where(mesh.vertices[left, :1] < 0, [[200, 60, 50]], [[200, 200, 205]]))
    seen = gather(mesh.vertices, mesh.normals, photos).enough()[left]
    assert np.abs(found - true)[seen].mean() < 0.03


def _irradiance(normals: np.ndarray) -> np.ndarray:
    weights = cosine_weights(normals, np.ones((len(normals), 6 * SIZE * SIZE), np.uint8))
    coarse = Prefilter.of_size(32).halves(_light().reshape(-1, 3))[2]
    return (weights @ coarse).astype(np.float32)


class _Small:
    """Twenty points under a random light, for differences."""

    def __init__(self) -> None:
        rng = np.random.default_rng(3)
        count, views = 20, 4
        normals = rng.normal(size=(count, 3))
        self.normals = (normals / np.linalg.norm(normals, axis=1, keepdims=True)).astype(np.float32)
        towards = self.normals[:, None] + 0.5 * rng.normal(size=(count, views, 3))
        towards /= np.linalg.norm(towards, axis=2, keepdims=True)
        self.prefilter = Prefilter.of_size(32)
        self.light = np.exp(0.3 * rng.normal(size=(6 * 32 * 32, 3))).astype(np.float32)
        for _ in range(3):  # smooth: the look-up's derivative jumps where texels meet
            self.light = self.prefilter.levels(self.light)[
                self.prefilter.starts[1] : self.prefilter.starts[2]
            ]
        lamps = lamps_of(self.prefilter, self.light).inside
        self.light[lamps] *= 4  # so that they are the brightest after any small step
        self.kd = rng.uniform(0.1, 0.8, (count, 3)).astype(np.float32)
        self.ks = rng.uniform([0.25, 0.2], [0.65, 0.8], (count, 2)).astype(np.float32)
        self.visible = (rng.random((count, 6 * SIZE * SIZE)) < 0.9).astype(np.uint8)
        self.ambient, self.gain = np.full(3, 0.2, np.float32), np.full((views, 3), 1.1, np.float32)
        self.seen = Observations(
            np.arange(count + 1) * views,
            np.tile(np.arange(views, dtype=np.int32), count),
            towards.reshape(-1, 3).astype(np.float32),
            rng.uniform(0.05, 0.6, (count * views, 3)).astype(np.float32),
            np.full(count * views, 1 / views, np.float32),
        )
        self.irradiance = rng.uniform(0.3, 1, (count, 3)).astype(np.float32)
        self.slope = np.zeros((count, 3, 3), np.float32)
        self.coarse = np.zeros((6 * SIZE * SIZE, 3), np.float32)  # the irradiance is held

    def __call__(self, **changed: np.ndarray) -> tuple[float, dict[str, np.ndarray]]:
        at = {**vars(self), **changed}
        light: Probe = probe(self.prefilter, at["light"])
        surface = Surface(at["kd"], at["ks"], at["normals"], self.visible, at["irradiance"], self.slope)
        ids = np.arange(len(self.kd))
        found = gradients(ids, self.seen, surface, at["ambient"], at["gain"], light)
        return float(found.loss[0]), {
            "kd": found.kd,
            "ks": found.ks,
            "normals": found.normals,
            "irradiance": found.irradiance,
            "ambient": found.ambient,
            "gain": found.gain,
            "light": by_light(self.prefilter, light, found.levels, found.power, self.coarse),
        }


@pytest.mark.parametrize("name", ["kd", "ks", "normals", "irradiance", "ambient", "gain", "light"])
def test_gradients_agree_with_differences(name: str) -> None:
    small = _Small()
    if name == "normals":  # where what is mirrored jumps or bends differences say little
        small.visible[:] = 1
        small.ks[:, 0] += 0.2
    length = 3e-4 if name == "normals" else 2e-3  # what a lamp shows changes fast as a normal turns
    gradient, start = small()[1][name], getattr(small, name)
    size, rng = float(np.linalg.norm(gradient)), np.random.default_rng(0)
    for way in (gradient / size * start.size**0.5, *rng.normal(size=(3, *start.shape))):
        step = np.float32(length) * way.astype(np.float32)
        ahead, behind = (small(**{name: start + sign * step})[0] for sign in (1, -1))
        expected = pytest.approx((ahead - behind) / (2 * length), rel=0.03, abs=0.1 * size)
        assert float((gradient * way).sum()) == expected


def test_the_gradient_knows_that_dull_reflections_lean_to_the_normal() -> None:
    """A small part of it: closer than this the differences would not agree without."""
    small = _Small()
    small.visible[:] = 1
    small.ks = np.random.default_rng(1).uniform([0.72, 0.9], [0.95, 1.0], (20, 2)).astype(np.float32)
    gradient = small()[1]["ks"] * np.array([1, 0], np.float32)
    step = gradient * np.float32(0.01 / np.linalg.norm(gradient))
    ahead, behind = (small(ks=small.ks + sign * step)[0] for sign in (1, -1))
    assert float((gradient * step).sum()) == pytest.approx((ahead - behind) / 2, rel=5e-4)


def test_gradients_do_not_depend_on_the_split(photographed: tuple[TexturedMesh, Scene]) -> None:
    import numba

    small, found = _Small(), []
    for threads in (1, 2):
        numba.set_num_threads(threads)
        found.append(small()[1])
    for name, value in found[0].items():
        assert value.tobytes() == found[1][name].tobytes()


def test_a_wall_hides_half_of_the_sky() -> None:
    """Of a floor's point beside a wall that is far higher than the point is away."""
    corners = np.array(list(itertools.product([-0.4, 0.4], [-0.4, 0.4])))
    floor = np.stack([corners[:, 0], corners[:, 1], np.full(4, -0.3)], axis=1)
    wall = np.stack([np.full(4, 0.0), corners[:, 0], corners[:, 1]], axis=1)
    vertices = np.concatenate([floor, wall, [[-0.02, 0, -0.3]]]).astype(np.float32)
    faces = np.array([[0, 2, 1], [1, 2, 3], [4, 5, 6], [5, 7, 6]], np.int32)
    up = np.tile(np.array([0, 0, 1], np.float32), (len(vertices), 1))
    visible = visible_directions(vertices, faces, up, 0.8)[-1]
    directions = texel_directions(SIZE)
    above = directions[:, 2] > 0.3
    assert visible[above & (directions[:, 0] < -0.1)].all()
    assert visible[above & (directions[:, 0] > 0.3)].mean() < 0.1
    assert not visible[directions[:, 2] < -0.1].any()


def test_trust_holds_and_neighbours_fill() -> None:
    vertices, faces = icosphere(2)
    even = laplacian(faces, len(vertices))
    values = np.zeros((len(vertices), 1), np.float32)
    values[0] = 1
    trust = np.zeros_like(values)
    trust[0] = 1e6
    spread = relaxed(values, trust, even, 1.0, values, 0, rounds=200)
    np.testing.assert_allclose(spread, 1, atol=1e-3)
    held = relaxed(values, np.full_like(values, 1e6), even, 1.0, values, 0)
    np.testing.assert_allclose(held, values, atol=1e-3)


def test_points_of_one_colour_share() -> None:
    kd = np.repeat(np.array([[0.6, 0.1, 0.1], [0.1, 0.1, 0.6]], np.float32), 50, axis=0)
    values = np.concatenate([np.full((50, 1), 0.2), np.full((50, 1), 0.8)]).astype(np.float32)
    values[0] = 0.9
    trust = np.ones_like(values)
    trust[0] = 1e-3
    shared = of_colour(kd, values, trust)
    assert shared[0, 0] == pytest.approx(0.2, abs=0.01)
    assert shared[99, 0] == pytest.approx(0.8, abs=0.01)
