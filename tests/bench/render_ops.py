"""What the differentiable rasteriser costs: `python -m tests.bench.render_ops [--backend NAME]`.

Milliseconds a view, of the clock and of the CPU, the best of several runs: forward, and forward with
backward. Four views at once of a bumpy ball of 20 480 triangles; attributes and texture only at the pixels
that see it.
"""

import argparse
import time
from collections.abc import Callable, Iterator

import numba
import numpy as np
import torch
from torch import Tensor

from tests.unit.render_scenes import bumpy_ball, ring
from workers.render.depth import clip_positions
from workers.render.ops import Rasterizer, backend, pyramid

VIEWS = 4
RUNS = 9


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.render_ops", description=__doc__)
    parser.add_argument("--backend", default="auto", choices=("auto", "cpu", "nvdiffrast"))
    raster = backend(parser.parse_args().backend)
    print(f"{type(raster).__name__}, ms per view")
    print(f"{'operation':<34}{'threads':>8}{'size':>6}{'forward':>9}{'CPU':>7}{'+ backward':>12}{'CPU':>7}")
    for threads in (1, 2):
        numba.set_num_threads(min(threads, numba.config.NUMBA_NUM_THREADS))  # type: ignore[attr-defined]
        for size in (256, 512):
            for name, run, leaves in operations(raster, size):
                forward, both = measured(raster, run, leaves)
                print(f"{name:<34}{threads:>8}{size:>6}", end="")
                print("{:>9.2f}{:>7.2f}{:>12.2f}{:>7.2f}".format(*forward, *both), flush=True)


def operations(
    raster: Rasterizer, size: int
) -> Iterator[tuple[str, Callable[..., Tensor], tuple[Tensor, ...]]]:
    """Name, function and the tensors that want its gradient."""
    vertices, faces = bumpy_ball(5)
    pos = torch.from_numpy(clip_positions(vertices, ring(VIEWS, size))).to(raster.device)
    tri = torch.from_numpy(faces).to(raster.device)
    yield "rasterize", lambda p: raster.rasterize(p, tri, (size, size))[0], (pos,)
    rast, _ = raster.rasterize(pos, tri, (size, size))
    pixels = raster.foreground(rast)
    share = len(pixels) / (VIEWS * size * size)
    attr = torch.rand(len(vertices), 8, device=raster.device)
    yield (
        f"interpolate, 8 channels, {share:.0%}",
        lambda a, r: raster.interpolate(a, r, tri, pixels=pixels)[0],
        (attr, rast),
    )
    color = torch.rand(VIEWS, size, size, 4, device=raster.device)
    yield "antialias, 4 channels", lambda c, p: raster.antialias(c, rast, p, tri), (color, pos)
    tex = torch.rand(1024, 1024, 3, device=raster.device)
    uv = raster.interpolate(pos[:, :, :2] / pos[:, :, 3:] * 0.5 + 0.5, rast, tri, pixels=pixels)[0]
    yield f"texture, 1024² x 3, {share:.0%}", lambda t, u: raster.texture(t, u), (tex, uv)
    level = 3 * uv[:, 0]
    yield (
        f"texture with pyramid, {share:.0%}",
        lambda t, u, at: raster.texture(pyramid(t, 4), u, at),
        (tex, uv, level),
    )
    cube = torch.rand(6, 32, 32, 3, device=raster.device)
    towards = raster.interpolate(torch.from_numpy(vertices).to(raster.device), rast, tri, pixels=pixels)[0]
    yield (
        f"cube map with pyramid, {share:.0%}",
        lambda t, d, at: raster.texture(pyramid(t, 4), d, at, "cube"),
        (cube, towards, level),
    )


def measured(
    raster: Rasterizer, run: Callable[..., Tensor], leaves: tuple[Tensor, ...]
) -> tuple[tuple[float, float], tuple[float, float]]:
    """Forward, and forward with backward: see `best`."""
    wanting = [leaf.detach().clone().requires_grad_() for leaf in leaves]
    with torch.no_grad():
        gradient = torch.rand_like(run(*leaves))

    def forward() -> None:
        with torch.no_grad():
            run(*leaves)

    def both() -> None:
        torch.autograd.grad(run(*wanting), wanting, gradient)

    return best(raster, forward), best(raster, both)


def best(raster: Rasterizer, work: Callable[[], None]) -> tuple[float, float]:
    """ms per view: of the clock, and of all threads' CPU."""
    times = []
    for _ in range(RUNS):
        start, cpu = time.perf_counter(), time.process_time()
        work()
        if raster.device.type == "cuda":
            torch.cuda.synchronize()
        times.append((time.perf_counter() - start, time.process_time() - cpu))
    clock, cpu = np.min(times, axis=0) * 1e3 / VIEWS
    return float(clock), float(cpu)


if __name__ == "__main__":
    main()
