"""Pictures of a textured mesh: shaded for people, unlit for comparing with photos."""

from __future__ import annotations

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from workers.geometry.cameras import Cameras
from workers.render.depth import clip_positions
from workers.render.rasterizer import interpolate, rasterize, texture

Float = NDArray[np.float32]
Image = NDArray[np.uint8]

_BACKGROUND = 0.82  # sRGB
_AMBIENT, _HEADLIGHT = 0.35, 0.65


class Textured(Protocol):
    """vertices (V,3), faces (F,3), normals (V,3), uv (V,2) with v up, kd (T,T,3) uint8 sRGB top row first."""

    @property
    def vertices(self) -> Float: ...
    @property
    def faces(self) -> NDArray[np.int32]: ...
    @property
    def normals(self) -> Float: ...
    @property
    def uv(self) -> Float: ...
    @property
    def kd(self) -> Image: ...


def unlit(mesh: Textured, camera: Cameras) -> Image:
    """(h,w,4) uint8 sRGB and alpha, not premultiplied: the texture as it is, 2x2 samples a pixel.

    camera: one camera, in the mesh's frame.
    """
    colour, alpha, _ = _sampled(mesh, camera)
    total = _reduced(alpha[..., None])
    straight = _reduced(colour * alpha[..., None]) / np.maximum(total, 1e-6)
    return _bytes(np.concatenate([straight, total], axis=2))


def shade(mesh: Textured, camera: Cameras) -> Image:
    """(h,w,3) uint8 sRGB on a light neutral background: ambient light and a lamp at the camera, 2x2 samples a
    pixel.

    camera: one camera, in the mesh's frame. Linear radiance = kd (0.35 + 0.65 cos), cos between normal and
    view.
    """
    colour, alpha, cosine = _sampled(mesh, camera)
    lit = np.clip(colour, 0, 1) ** 2.2 * (_AMBIENT + _HEADLIGHT * cosine)[..., None]
    composed = lit * alpha[..., None] + _BACKGROUND**2.2 * (1 - alpha[..., None])
    return _bytes(_reduced(composed) ** (1 / 2.2))


def _sampled(mesh: Textured, camera: Cameras) -> tuple[Float, Float, Float]:
    """At twice the camera's resolution: texture (2h,2w,3) in [0,1], coverage (2h,2w), cosine to the view
    (2h,2w).
    """
    size = (2 * camera.height, 2 * camera.width)
    rast = rasterize(clip_positions(mesh.vertices, camera), mesh.faces, size)
    attributes = np.concatenate([mesh.uv, mesh.normals, mesh.vertices], axis=1)
    uv, normal, point = np.split(interpolate(attributes, rast, mesh.faces)[0], [2, 5], axis=2)
    seen = rast[0, :, :, 3] > 0
    colour = np.zeros((*size, 3), np.float32)
    colour[seen] = texture(mesh.kd.astype(np.float32) / np.float32(255), uv[seen])
    towards = camera.centres[0].astype(np.float32) - point
    length = np.linalg.norm(normal, axis=2) * np.linalg.norm(towards, axis=2)
    cosine = np.abs((normal * towards).sum(2)) / np.maximum(length, 1e-9)
    return colour, seen.astype(np.float32), np.where(seen, cosine, 0).astype(np.float32)


def _reduced(image: Float) -> Float:
    """(2h,2w,C) to (h,w,C), the mean of each 2x2 block."""
    height, width, channels = image.shape
    reduced: Float = image.reshape(height // 2, 2, width // 2, 2, channels).mean((1, 3))
    return reduced


def _bytes(image: Float) -> Image:
    result: Image = np.clip(image * 255 + 0.5, 0, 255).astype(np.uint8)
    return result
