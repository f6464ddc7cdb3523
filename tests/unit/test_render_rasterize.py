"""Rasterising and interpolating with gradients: against rays, closed forms and finite differences."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import trimesh

from tests.unit.render_scenes import bumpy_ball, clip, projection, ring, slopes
from workers.render.ops import backend

CPU = backend("cpu")
SIZE = 64


def _triangles() -> tuple[torch.Tensor, torch.Tensor]:
    """Two views of two large triangles in perspective, one behind the other, clear of the image's border."""
    pos = torch.tensor([
        [[-1.1, -1.5, 0.3, 2], [1.7, -1.2, 0.5, 2.5], [0.2, 0.9, -0.2, 1.2],
         [-1.5, 1.4, 1.2, 2.2], [1.9, 2.1, 1.9, 3.0], [0.3, -1.9, 1.5, 2.6]],
        [[-0.9, -1.3, 0.4, 2], [1.5, -1.4, 0.6, 2.1], [0.1, 1.1, -0.1, 1.4],
         [-1.2, 1.5, 1.1, 2.0], [1.7, 1.9, 1.7, 2.8], [0.2, -2.1, 1.6, 2.9]],
    ])  # fmt: skip
    return pos, torch.tensor([[0, 1, 2], [3, 4, 5]], dtype=torch.int32)


def test_a_bumpy_ball_is_seen_as_rays_see_it() -> None:
    vertices, faces = bumpy_ball(4, bump=0.3)
    cameras = ring(2, 128)
    rast, _ = CPU.rasterize(
        clip(torch.from_numpy(vertices), projection(cameras)), torch.from_numpy(faces), (128, 128)
    )
    mesh = trimesh.Trimesh(vertices, faces, process=False)
    y, x = np.mgrid[:128, :128] + 0.5
    fx, fy, cx, cy = cameras.intrinsics[0]
    directions = np.stack([(x - cx) / fx, -(y - cy) / fy, -np.ones_like(x)], axis=-1).reshape(-1, 3)
    for pose, seen in zip(cameras.c2w, rast.numpy().reshape(2, -1, 4), strict=True):
        rays = directions @ pose[:3, :3].T
        hits, ray, index = mesh.ray.intersects_location(np.tile(pose[:3, 3], (len(rays), 1)), rays, False)
        hit = np.full(len(rays), -1)
        hit[ray] = index
        assert np.mean(seen[:, 3].astype(int) - 1 == hit) > 0.998
        same = seen[ray, 3].astype(int) - 1 == index
        u, v = seen[ray, :2].T[..., None]
        a, b, c = vertices[faces[index]].transpose(1, 0, 2)
        points = u * a + v * b + (1 - u - v) * c
        assert np.abs(points - hits)[same].max() < 2e-4
        depth = (pose[:3, 3] - hits) @ pose[:3, 2]
        z = (7 - 20 / depth) / 3  # near 2, far 5
        assert np.abs(seen[ray, 2] - z)[same].max() < 1e-4


@pytest.mark.parametrize("channel", range(3))
def test_gradient_of_barycentrics_and_depth(channel: int) -> None:
    pos, tri = _triangles()
    rast, _ = CPU.rasterize(pos, tri, (SIZE, SIZE))
    assert set(rast[..., 3].ravel().tolist()) == {0, 1, 2}
    generator = torch.Generator().manual_seed(channel)
    directions = [torch.randn(pos.shape, generator=generator) for _ in range(6)]
    # Only pixels which see the same triangle throughout.
    step, same = 1e-3, torch.ones_like(rast[..., 3])
    for d in directions:
        for sign in (-step, step):
            same *= CPU.rasterize(pos + sign * d, tri, (SIZE, SIZE))[0][..., 3] == rast[..., 3]
    weight = torch.rand(same.shape, generator=generator) * same

    def loss(p: torch.Tensor) -> torch.Tensor:
        return (CPU.rasterize(p, tri, (SIZE, SIZE))[0][..., channel] * weight).sum(dtype=torch.float64)

    analytic, numeric = slopes(loss, pos, directions, step)
    assert analytic == pytest.approx(numeric, rel=1e-3, abs=1e-3 * np.abs(numeric).max())


def test_screen_space_derivatives() -> None:
    """A step of one pixel in an image is nine in the same image nine times as large."""
    pos, tri = _triangles()
    rast, rast_db = CPU.rasterize(pos, tri, (SIZE, SIZE), derivatives=True)
    assert rast_db is not None
    fine, _ = CPU.rasterize(pos, tri, (9 * SIZE, 9 * SIZE))
    middle, seen = fine[:, 4::9, 4::9], rast[..., 3] > 0
    assert torch.allclose(middle[seen], rast[seen], atol=1e-6)
    for axis in (0, 1):
        shift = (slice(None), slice(4 + axis, None, 9), slice(5 - axis, None, 9))
        back = (slice(None), slice(4 - axis, None, 9), slice(3 + axis, None, 9))
        inside = seen & (fine[shift][..., 3] == rast[..., 3]) & (fine[back][..., 3] == rast[..., 3])
        step = (fine[shift] - fine[back])[..., :2] * 4.5
        found = torch.stack([rast_db[..., axis], rast_db[..., 2 + axis]], -1)
        assert torch.allclose(found[inside], step[inside], atol=2e-4)
    assert (rast_db[~seen] == 0).all()


def test_an_edge_on_triangle_gives_no_gradient() -> None:
    """A triangle 1/100 of a pixel wide that happens to pass over a pixel's centre."""
    x = 1 / SIZE  # the centre of column 32
    for width, none in ((3e-4, True), (3e-2, False)):
        corners = [[x, -0.9, 0, 1], [x + width / 3, 0.9, 0, 1], [x - width * 2 / 3, 0.9, 0, 1]]
        leaf = torch.tensor([corners]).requires_grad_()
        rast, _ = CPU.rasterize(leaf, torch.tensor([[0, 1, 2]], dtype=torch.int32), (SIZE, SIZE))
        assert (rast[..., 3] > 0).any()
        (gradient,) = torch.autograd.grad(rast[..., 0].sum(), leaf)
        assert bool((gradient == 0).all()) == none


@pytest.mark.parametrize("batched", [False, True])
@pytest.mark.parametrize("compact", [False, True])
def test_gradient_of_interpolation(batched: bool, compact: bool) -> None:
    pos, tri = _triangles()
    generator = torch.Generator().manual_seed(0)
    attr = torch.randn(*((2,) if batched else ()), 6, 3, generator=generator)
    rast, _ = CPU.rasterize(pos, tri, (SIZE, SIZE))
    pixels = CPU.foreground(rast)[::3] if compact else None
    shape = (len(pixels), 3) if pixels is not None else (2, SIZE, SIZE, 3)
    weight = torch.rand(shape, generator=generator)

    def loss(a: torch.Tensor, r: torch.Tensor) -> torch.Tensor:
        out, _ = CPU.interpolate(a, r, tri, pixels=pixels)
        return (out * weight).sum(dtype=torch.float64)

    for analytic, numeric in (
        slopes(lambda a: loss(a, rast), attr, [torch.randn(attr.shape, generator=generator)], 0.1),
        slopes(
            lambda r: loss(attr, r),
            rast,
            [torch.randn(rast.shape, generator=generator) * torch.tensor([1.0, 1, 0, 0])],
            0.01,
        ),
    ):
        assert analytic == pytest.approx(numeric, rel=2e-4)


def test_interpolation_at_pixels_is_the_image_there() -> None:
    pos, tri = _triangles()
    rast, rast_db = CPU.rasterize(pos, tri, (SIZE, SIZE), derivatives=True)
    attr = torch.randn(2, 6, 5, generator=torch.Generator().manual_seed(1))
    image, image_da = CPU.interpolate(attr, rast, tri, rast_db)
    pixels = CPU.foreground(rast)
    assert pixels.tolist() == torch.nonzero(rast[..., 3].reshape(-1))[:, 0].tolist()
    at, at_da = CPU.interpolate(attr, rast, tri, rast_db, pixels)
    assert image_da is not None
    assert at_da is not None
    assert torch.equal(image.reshape(-1, 5)[pixels], at)
    assert torch.equal(image_da.reshape(-1, 10)[pixels], at_da)
    assert (image[rast[..., 3] == 0] == 0).all()
    # The derivatives of u and v, as attributes.
    barycentric = torch.tensor([[1.0, 0], [0, 1], [0, 0]] * 2)
    _, own = CPU.interpolate(barycentric, rast, tri, rast_db)
    assert rast_db is not None
    assert own is not None
    assert torch.equal(own, rast_db)
