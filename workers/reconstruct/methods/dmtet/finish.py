"""Second pass: the first one's surface with its materials in textures, all refined; what meets what stays."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.ndimage import distance_transform_edt
from torch import Tensor
from torch.nn.functional import normalize

from workers.geometry.mesh import edges
from workers.reconstruct.checkpoints import Checkpoints
from workers.reconstruct.methods.appearance.atlas import Atlas
from workers.reconstruct.methods.dmtet.draw import Seen, draw, smooth_normals
from workers.reconstruct.methods.dmtet.frames import Frames
from workers.reconstruct.methods.dmtet.light import Light
from workers.reconstruct.methods.dmtet.profiles import Profile
from workers.reconstruct.methods.dmtet.recipe import (
    HIGH,
    LOW,
    noise,
    picture_losses,
    smoothness,
    whiteness,
)
from workers.reconstruct.methods.dmtet.shape import Shape, Tell
from workers.reconstruct.methods.dmtet.views import Views
from workers.reconstruct.methods.training import Losses, Schedule, optimise
from workers.render.ops import Rasterizer, mip_level, pyramid

_RATE = 0.01
_PLACE_RATE = 0.001  # of vertices, in the object's longest side
_STIFF = 10_000.0  # weight at first of how much the surface may bend; it falls to 0
_NEARBY = 0.005  # of the texture's side
_COMPARED = 4  # every how many pixels one is compared with a place nearby
_CHUNK = 1 << 16  # texels filled at once


class Finish:
    """A surface of fixed connectivity with textures and a light.

    vertices: (V,3). faces: (F,3) int32. sheet: (T,T,8) base colour (linear), roughness, metalness and the
    tangent-space normal, top row first. light: (6,R,R,3).
    """

    def __init__(self, shape: Shape, atlas: Atlas, raster: Rasterizer) -> None:
        """Everything as the first pass left it."""
        self._raster, device = raster, raster.device
        self.vertices, self.faces, _ = shape.surface()
        self.light = shape.light.clone()
        self._uv = torch.from_numpy(atlas.uv).to(device)
        self._uv_faces = torch.from_numpy(atlas.faces).to(device)
        self._frames = Frames(self.vertices[self.faces.long()], self._uv[self._uv_faces.long()])
        self.sheet = torch.from_numpy(self._first_sheet(shape, atlas)).to(device)
        ends, _ = edges(self.faces.cpu().numpy())
        self._ends = torch.from_numpy(np.concatenate([ends, ends[:, ::-1]])).to(device)
        self._bent = self._bending(self.vertices)
        self._low = torch.tensor((*LOW, -1, -1, 0), device=device)
        self._high = torch.tensor((*HIGH, 1, 1, 1), device=device)

    def optimise(
        self, views: Views, light: Light, work: Profile, seed: int, checkpoints: Checkpoints, tell: Tell
    ) -> None:
        """Fit everything to the views."""
        groups = [(self.vertices, _PLACE_RATE), (self.sheet, _RATE), (self.light, _RATE)]
        schedule = Schedule(work.finish.iterations, work.warmup)

        def losses(iteration: int) -> Losses:
            batch = views.batch(seed, iteration, work.finish.batch)
            return self._losses(batch, light, seed, iteration, iteration / schedule.iterations)

        def settle() -> None:
            self.light.clamp_(0)
            self.sheet.clamp_(self._low, self._high)

        optimise("finish", groups, schedule, losses, settle, checkpoints, tell)

    def _losses(self, views: Views, light: Light, seed: int, iteration: int, progress: float) -> Losses:
        surface = torch.cat([self.vertices, smooth_normals(self.vertices, self.faces)], dim=1)
        levels, maps = pyramid(self.sheet, 5), light.prefiltered(self.light)
        found: Losses = {}

        def colour(seen: Seen) -> Tensor:
            at, _ = self._raster.interpolate(surface, seen.rast, self.faces, pixels=seen.pixels)
            uv, slopes = self._raster.interpolate(
                self._uv, seen.rast, self._uv_faces, seen.rast_db, seen.pixels
            )
            assert slopes is not None
            level = mip_level(slopes, (self.sheet.shape[0], self.sheet.shape[1]))
            look = self._raster.texture(levels, uv, level)
            some = uv[::_COMPARED].detach()
            moved = some + noise(seed, iteration, len(some), 2, _NEARBY, some.device)
            nearby = self._raster.texture(levels, moved, level[::_COMPARED])
            total = int(views.cover.numel() / _COMPARED)
            found["smooth"] = smoothness(look[::_COMPARED], nearby, total, progress)
            triangle = seen.rast.reshape(-1, 4)[seen.pixels, 3].long() - 1
            normals = self._frames.bend(normalize(at[:, 3:], dim=1), look[:, 5:], triangle)
            view = normalize(seen.eyes - at[:, :3], dim=1)
            return light.shade(maps, look[:, :3], look[:, 3:4], look[:, 4:5], normals, view)

        image = draw(self._raster, views, self.vertices, self.faces, colour, derivatives=True)
        found |= picture_losses(image, views)
        bent = ((self._bending(self.vertices) - self._bent) ** 2).sum(1).mean()
        return found | {"bend": _STIFF * (1 - progress) * bent, "white": whiteness(self.light)}

    def _bending(self, vertices: Tensor) -> Tensor:
        """(V,3) from each vertex to the mean of its neighbours."""
        start, end = self._ends.unbind(1)
        total = torch.zeros_like(vertices).index_add(0, start, vertices[end])
        count = torch.bincount(start, minlength=len(vertices))[:, None]
        return total / count - vertices

    def _first_sheet(self, shape: Shape, atlas: Atlas) -> NDArray[np.float32]:
        """(T,T,8) what the first pass found at the texels' places; texels on no chart repeat the nearest."""
        normals = smooth_normals(self.vertices, self.faces)
        places = atlas.spread(torch.cat([self.vertices, normals], dim=1).cpu().numpy())
        values = np.empty((len(places), 8), np.float32)
        for begin in range(0, len(places), _CHUNK):
            part = slice(begin, begin + _CHUNK)
            at = torch.from_numpy(places[part]).to(self._raster.device)
            triangle = torch.from_numpy(atlas.triangles[part]).long().to(self._raster.device)
            look, normal = shape.look(at[:, :3]), normalize(at[:, 3:], dim=1)
            local = self._frames.unbend(normal, normalize(normal + look[:, 5:], dim=1), triangle)
            values[part] = torch.cat([look[:, :5], local], dim=1).cpu().numpy()
        sheet = np.zeros((atlas.size, atlas.size, 8), np.float32)
        sheet[atlas.on_chart] = values
        row, column = distance_transform_edt(~atlas.on_chart, return_distances=False, return_indices=True)
        result: NDArray[np.float32] = sheet[row, column]
        return result
