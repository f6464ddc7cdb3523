"""Pictures of a mesh with metallic-roughness materials under a cube-map light."""

from __future__ import annotations

from typing import Protocol

import numpy as np
from numba import prange
from numpy.typing import NDArray

from workers.geometry.cameras import Cameras
from workers.geometry.colour import decode_srgb, encode_srgb
from workers.geometry.kernels import parallel_kernel
from workers.render.depth import clip_positions
from workers.render.environment import Prefilter, irradiance, look_up
from workers.render.occlusion import unhidden
from workers.render.preview import Textured
from workers.render.rasterizer import interpolate, rasterize, texture
from workers.render.shading import DIELECTRIC, Probe, add_lamps, mirrored, probe, split_at

Float = NDArray[np.float32]
Image = NDArray[np.uint8]


class Material(Textured, Protocol):
    """Also ks (T,T,3) occlusion, roughness, metalness and normal_map (T,T,3) tangent space with +y up; uint8,
    top row first.
    """

    @property
    def ks(self) -> Image: ...
    @property
    def normal_map(self) -> Image: ...


class Lit:
    """Renders one mesh under one light (6,R,R,3), both in one frame; R a multiple of 4."""

    def __init__(self, mesh: Material, light: Float) -> None:
        self._mesh = mesh
        self._kd = decode_srgb(mesh.kd)
        self._ks = mesh.ks.astype(np.float32) / np.float32(255)
        self._bent = mesh.normal_map.astype(np.float32) / np.float32(127.5) - 1
        self._probe = probe(Prefilter.of_size(light.shape[1]), light.reshape(-1, 3))
        rest = light.reshape(-1, 3).copy()
        rest[self._probe.inside] = 0
        self._irradiance = irradiance(rest.reshape(light.shape))
        self._lamps = _lit(mesh, self._probe.towards.T)
        self._tangents = _tangents(mesh)

    def __call__(self, camera: Cameras) -> Image:
        """(h,w,4) uint8 sRGB and alpha, not premultiplied; 2x2 samples a pixel, their mean linear.

        camera: one, in the mesh's frame. See `workers.render.shading` for the model; lamps throw
        shadows, and of the rest of the light the texture's occlusion dims what is diffuse, but for what
        neighbours of the same colour send on, and what is mirrored (Lagarde and de Rousiers 2014, section
        4.10.2).
        """
        mesh = self._mesh
        rast = rasterize(
            clip_positions(mesh.vertices, camera), mesh.faces, (2 * camera.height, 2 * camera.width)
        )
        attributes = np.concatenate([mesh.uv, mesh.normals, mesh.vertices, self._lamps], axis=1)
        seen = rast[0, :, :, 3] > 0
        found = interpolate(attributes, rast, mesh.faces)[0][seen]
        uv, normal, point, lamps = map(np.ascontiguousarray, np.split(found, [2, 5, 8], axis=1))
        triangle = rast[0, :, :, 3][seen].astype(np.int64) - 1
        bent = _unit(self._turned(_unit(normal), triangle, texture(self._bent, uv)))
        towards = _unit(camera.centres[0].astype(np.float32) - point)
        kd, ks = texture(self._kd, uv), texture(self._ks, uv)
        even = look_up(self._irradiance, bent.astype(np.float64))
        radiance = np.empty_like(kd)
        _shade(kd, ks, bent, towards, even, lamps, self._probe, radiance)
        samples = np.zeros((*seen.shape, 4), np.float32)
        samples[seen] = np.pad(np.clip(radiance, 0, 1), ((0, 0), (0, 1)), constant_values=1)
        rows = samples[::2] + samples[1::2]
        mean = (rows[:, ::2] + rows[:, 1::2]) / np.float32(4)  # far quicker than mean() over two axes
        straight = mean[..., :3] / np.maximum(mean[..., 3:], np.float32(1e-6))
        return np.round(255 * np.concatenate([encode_srgb(straight), mean[..., 3:]], axis=2)).astype(np.uint8)

    def _turned(self, normal: Float, triangle: NDArray[np.int64], bent: Float) -> Float:
        tangent, turn = self._tangents[triangle, :3], self._tangents[triangle, 3:]
        tangent = _unit(tangent - normal * (tangent * normal).sum(1, keepdims=True))
        turned: Float = (
            tangent * bent[:, :1] + np.cross(normal, tangent) * turn * bent[:, 1:2] + normal * bent[:, 2:]
        )
        return turned


def _tangents(mesh: Material) -> Float:
    """(F,4) the direction of +u on each face, and whether +v is to its left, seen from outside: 1 or -1."""
    corner, uv = mesh.vertices[mesh.faces], mesh.uv[mesh.faces]
    (x, y), (u, v) = ([at[:, k] - at[:, 0] for k in (1, 2)] for at in (corner, uv))
    turn = np.where(u[:, 0] * v[:, 1] < u[:, 1] * v[:, 0], -1, 1)[:, None]
    return np.concatenate([turn * (x * v[:, 1:] - y * u[:, 1:]), turn], axis=1).astype(np.float32)


def _lit(mesh: Material, directions: Float) -> Float:
    """(V,B) 1 where the mesh itself does not hide a vertex from far away in a direction (B,3), else 0."""
    low, high = mesh.vertices.min(0), mesh.vertices.max(0)
    size = np.float32((high - low).max())
    vertices = (mesh.vertices - (low + high) / 2) / size
    reach = 0.51 * float(np.linalg.norm(high - low) / size)
    return unhidden(vertices, mesh.faces, mesh.normals, reach, directions).astype(np.float32)


def _unit(vectors: Float) -> Float:
    unit: Float = vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), np.float32(1e-9))
    return unit


@parallel_kernel
def _shade(
    kd: Float, ks: Float, normal: Float, towards: Float, even: Float, lamps: Float, light: Probe, out: Float
) -> None:
    for block in prange((len(kd) + 4095) // 4096):
        mirror, split = np.empty(3, np.float32), np.empty(6, np.float32)
        index, weight = np.empty(4, np.int64), np.empty(4, np.float32)
        of_f0, apart, hidden = np.empty(3, np.float32), np.empty(3, np.float32), np.empty(3, np.float32)
        shaded = np.empty(3, np.float32)
        sent = np.empty((2, len(light.cells)), np.float32)
        for i in range(block * 4096, min((block + 1) * 4096, len(kd))):
            n, d = normal[i], towards[i]
            along = n[0] * d[0] + n[1] * d[1] + n[2] * d[2]
            free, roughness, metalness = ks[i, 0], ks[i, 1], ks[i, 2]
            mirrored(light, roughness, n, d, along, index, weight, mirror)
            cosine = max(along, np.float32(0.04))
            split_at(light, roughness, cosine, split)
            sharp = 2 ** (-16 * roughness - 1)
            clear = min(max((cosine + free) ** sharp - 1 + free, np.float32(0)), np.float32(1))
            rest = (1 - metalness) * (1 - np.float32(DIELECTRIC) * split[0] - split[1])
            shaded[:], hidden[:] = 0, 0
            for k in range(len(light.cells)):
                up = n[0] * light.towards[0, k] + n[1] * light.towards[1, k] + n[2] * light.towards[2, k]
                share = max(up, np.float32(0)) / np.float32(np.pi)
                for c in range(3):
                    shaded[c] += share * lamps[i, k] * light.power[k, c]
                    hidden[c] += share * light.power[k, c]
            for c in range(3):
                hidden[c] = kd[i, c] * (even[i, c] + hidden[c])
                glossy = mirror[c] * clear + (1 - clear) * hidden[c]
                of_f0[c], apart[c] = split[0] * glossy, split[1] * glossy
                out[i, c] = rest * kd[i, c] * (shaded[c] + free * even[i, c] + (1 - free) * hidden[c])
            add_lamps(light, roughness, n, d, cosine, lamps[i], hidden, sent, of_f0, apart)
            for c in range(3):
                facing = np.float32(DIELECTRIC) * (1 - metalness) + kd[i, c] * metalness
                out[i, c] += facing * of_f0[c] + apart[c]
