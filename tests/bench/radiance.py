"""What textures gain from the radiance that `neus` learns: `python -m tests.bench.radiance INPUTS TRUTH`.

INPUTS: a folder as `phototwin run CAPTURE --until segment --out INPUTS` leaves it; TRUTH: its rendered case.
The surface is learned once. Its materials are then found from what the photos show, as the method does; from
the learned radiance, asked over the hemisphere around each vertex's normal, as VISOR bakes; and from that
where a photo was taken from nearly the same side, for elsewhere nothing was learned.
"""

import argparse
import tempfile
from functools import partial
from pathlib import Path
from unittest import mock

import numpy as np
import torch
from numpy.typing import NDArray

from workers.evaluate.report import evaluate
from workers.geometry.colour import decode_srgb
from workers.geometry.images import write_hdr
from workers.reconstruct.checkpoints import Checkpoints
from workers.reconstruct.dataset import read_dataset
from workers.reconstruct.methods import neus
from workers.reconstruct.methods.appearance import painting
from workers.reconstruct.methods.appearance.bake import Photos
from workers.reconstruct.methods.appearance.observations import Observations, gather
from workers.reconstruct.methods.model import Settings
from workers.reconstruct.methods.neus.extraction import extracted
from workers.reconstruct.methods.neus.field import Field
from workers.reconstruct.methods.neus.learning import learn
from workers.reconstruct.methods.neus.pixels import Pixels
from workers.reconstruct.methods.neus.profiles import profile
from workers.reconstruct.methods.neus.sampling import Space
from workers.reconstruct.methods.surface import profiles as carving
from workers.reconstruct.methods.surface.refinement import refined
from workers.reconstruct.methods.surface.shape import simplified
from workers.reconstruct.methods.surface.silhouettes import cut_to_object, usable
from workers.reconstruct.methods.surface.views import Views, views_of
from workers.reconstruct.obj import write_obj
from workers.render.environment import to_equirectangular

DIRECTIONS = 48
NEAR = 25.0
"""Degrees to the nearest photo, in the third way."""
FIGURES = {
    "PSNR fg": ("images", "psnr_fg"),
    "albedo dB": ("materials", "albedo_psnr"),
    "roughness": ("materials", "roughness_error"),
    "metalness": ("materials", "metalness_error"),
}

Float = NDArray[np.float32]
Mesh = tuple[Float, NDArray[np.int32]]


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.radiance", description=__doc__)
    parser.add_argument("inputs", type=Path)
    parser.add_argument("truth", type=Path)
    arguments = parser.parse_args()
    torch.set_num_threads(2)
    data = read_dataset(arguments.inputs)
    work = profile("standard", "cpu")
    views = views_of(usable(data.scene), carving.profile(work.views))
    field, vertices, faces = _learned(views)
    print(f"| colours from | {' | '.join(FIGURES)} |")
    print("| --- |" + " --- |" * len(FIGURES))
    ways = {
        "photos": gather,
        "radiance": partial(_sent, field, 180.0),
        f"radiance within {NEAR:.0f} degrees of a photo": partial(_sent, field, NEAR),
    }
    reach = 1.02 * float(np.linalg.norm(views.half))
    to_world = np.linalg.inv(data.from_world)
    turn = data.from_world[:3, :3] / np.linalg.norm(data.from_world[0, :3])
    for name, way in ways.items():
        with mock.patch.object(painting, "gather", way), tempfile.TemporaryDirectory() as folder:
            mesh = painting.painted(
                views.colour, vertices, faces, reach, work.effort, Settings("standard"), lambda *_, **__: None
            )
            assert mesh.light is not None
            at = views.moved_back(mesh.vertices).astype(np.float64)
            write_obj(Path(folder), mesh, at @ to_world[:3, :3].T + to_world[:3, 3])
            write_hdr(Path(folder) / "light.hdr", to_equirectangular(mesh.light, 128, turn))
            found = evaluate(Path(folder), arguments.truth)
        told = " | ".join(f"{found[part][figure]:.3f}" for part, figure in FIGURES.values())
        print(f"| {name} | {told} |", flush=True)


def _learned(views: Views) -> tuple[Field, Float, NDArray[np.int32]]:
    """The field and its surface, as method `neus` makes them at its standard profile."""
    work = profile("standard", "cpu")
    base = neus.begun(views.shape, views.half, carving.profile(work.views))
    cut = cut_to_object(views.shape, views.half, work.size)
    field = Field.start(work.grid, torch.from_numpy(base), neus.SIDE, len(cut.images), 0)
    space = Space(field)
    learn(field, Pixels(cut), space, work, 0, Checkpoints(), lambda part, losses: None)
    mesh = simplified(*extracted(field, space, work.voxels, work.grid.levels), work.triangles)
    size = min(work.polish, max(views.shape.masks.shape[1:]))
    return field, *refined(views.shape, views.half, *mesh, size)


def _sent(field: Field, widest: float, points: Float, normals: Float, photos: Photos) -> Observations:
    """What the field sends from points (V,3) into directions spread by their cosine over the hemispheres of
    their normals (V,3), those of which a photo is nearer than `widest` degrees.
    """
    k = np.arange(DIRECTIONS) + 0.5
    radius, angle = np.sqrt(k / DIRECTIONS), k * np.pi * (3 - np.sqrt(5))
    spread = np.stack([radius * np.cos(angle), radius * np.sin(angle), np.sqrt(1 - radius**2)], axis=1)
    side = np.cross(normals, np.eye(3)[np.abs(normals).argmin(1)])
    side /= np.linalg.norm(side, axis=1, keepdims=True)
    axes = np.stack([side, np.cross(normals, side), normals], axis=1)
    towards = np.einsum("dk,vkj->vdj", spread, axes).astype(np.float32)
    cameras = photos.cameras.centres / np.linalg.norm(photos.cameras.centres, axis=1, keepdims=True)
    taken = (towards.reshape(-1, 3) @ cameras.T.astype(np.float32)).max(1) >= np.cos(np.radians(widest))
    taken = taken.reshape(towards.shape[:2])
    colour = np.empty_like(towards)
    for rows in np.array_split(np.arange(len(points)), max(1, len(points) // 2000)):
        colour[rows] = _radiance(field, points[rows], towards[rows])
    count = taken.sum(1)
    start = np.concatenate([[0], np.cumsum(count)])
    weight = np.repeat(1 / np.maximum(count, 1), count).astype(np.float32)
    photo = np.zeros(start[-1], np.int32)
    return Observations(
        start, photo, towards[taken], decode_srgb((255 * colour[taken] + 0.5).astype(np.uint8)), weight
    )


@torch.no_grad()
def _radiance(field: Field, points: Float, towards: Float) -> Float:
    """(V,D,3) sRGB of points (V,3) in directions (V,D,3)."""
    at = torch.from_numpy(points)
    _, slope, features = field.distance(at, field.grid.levels)
    each = [part.repeat_interleave(towards.shape[1], 0) for part in (at, features, slope)]
    sent = field.radiance(each[0], each[2], each[1], torch.from_numpy(towards.reshape(-1, 3)))
    found: Float = sent.numpy().reshape(towards.shape)
    return found


if __name__ == "__main__":
    main()
