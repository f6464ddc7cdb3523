"""Pictures of the model for people: standing on a neutral ground, in soft light, with its shadow."""

from __future__ import annotations

from dataclasses import replace
from functools import cached_property

import cv2
import numpy as np
from numpy.typing import NDArray

from workers.geometry.cameras import Cameras
from workers.package.model import Array, Float, Image, Model
from workers.render.environment import texel_directions
from workers.render.lit import Lit
from workers.render.rasterizer import rasterize

FIELD_OF_VIEW = np.radians(30.0)
ELEVATION = np.radians(20.0)
MARGIN = 0.1
"""Of the picture's side, on each side."""
_LIGHT_SIZE = 16
_GROUND = 0.86
"""sRGB, of the ground and what is behind it."""
_DARKEST = 0.85
"""What the shadow takes of the ground's light, at most."""
_SHADOW_SIDE = 256
_SHADOW_REACH = 2.0
"""Sides of the shadow's map, in the object's size."""
_SLICES = ((0.02, 0.35), (0.07, 0.3), (0.2, 0.2), (0.6, 0.15))
"""Heights, in the object's size, and weights: what is lower throws a shadow as soft as that is high."""


class Studio:
    """One model, y up: `picture` from any side, all under one light."""

    def __init__(self, model: Model) -> None:
        low, high = model.vertices.min(axis=0), model.vertices.max(axis=0)
        self._size = float(np.linalg.norm(high - low))
        foot = np.array([(low[0] + high[0]) / 2, low[1], (low[2] + high[2]) / 2])
        unit = np.eye(4)
        unit[:3] = np.column_stack([np.eye(3), -foot]) / self._size
        small = model.placed(unit)
        self.mesh = small.single
        self._middle = np.array([0, float(self.mesh.vertices[:, 1].max()) / 2, 0])
        self._lit = Lit(self.mesh, softboxes())

    def picture(self, azimuth: float, side: int) -> Image:
        """(side,side,3) sRGB. azimuth: of the camera about +y, from +z, in radians; the object is as large
        from every side."""
        return self._taken(self._camera(azimuth, side))

    def portrait(self, azimuth: float, side: int) -> Image:
        """As `picture`, but the object fills it from this one side."""
        return self._taken(self._filled(self._camera(azimuth, side)))

    def _taken(self, camera: Cameras) -> Image:
        drawn = self._lit(camera)
        ground = np.repeat(self._ground(camera)[..., None], 3, axis=2)
        alpha = drawn[..., 3:].astype(np.float32) / np.float32(255)
        mixed = drawn[..., :3].astype(np.float32) * alpha + 255 * ground * (1 - alpha)
        return np.asarray(np.round(mixed), np.uint8)

    def _camera(self, azimuth: float, side: int) -> Cameras:
        back = np.array(
            [
                np.sin(azimuth) * np.cos(ELEVATION),
                np.sin(ELEVATION),
                np.cos(azimuth) * np.cos(ELEVATION),
            ]
        )
        right = np.array([np.cos(azimuth), 0, -np.sin(azimuth)])
        pose = np.eye(4)
        pose[:3, :3] = np.stack([right, np.cross(back, right), back], axis=1)
        pose[:3, 3] = self._middle + back * 0.5 / np.sin(FIELD_OF_VIEW / 2)
        return Cameras(("studio",), self._intrinsics() * side, side, side, pose[None])

    def _filled(self, camera: Cameras) -> Cameras:
        u, v, depth = camera.projection()[0] @ np.c_[self.mesh.vertices, np.ones(len(self.mesh.vertices))].T
        x, y = u / depth, v / depth
        by = camera.width * (1 - 2 * MARGIN) / max(float(np.ptp(x)), float(np.ptp(y)))
        middle = [(of.min() + of.max()) / 2 for of in (x, y)]
        fx, fy, cx, cy = camera.intrinsics[0]
        centre = (by * (np.array([cx, cy]) - middle) + camera.width / 2).tolist()
        return replace(camera, intrinsics=np.array([[by * fx, by * fy, *centre]]))

    def _intrinsics(self) -> Array:
        """(1,4) for a picture of side 1 that holds the object with its margin, whatever the azimuth."""
        distance = 0.5 / np.sin(FIELD_OF_VIEW / 2)
        x, y, z = (self.mesh.vertices - self._middle).T.astype(np.float64)
        out = np.hypot(x, z)  # the circle that a vertex runs through, at its nearest, farthest and sides
        extent = [
            np.abs(out / np.sqrt(np.maximum(distance**2 - out**2, 1e-6))).max(),
            *(
                np.abs(
                    (y * np.cos(ELEVATION) - turned * np.sin(ELEVATION))
                    / (distance - y * np.sin(ELEVATION) - turned * np.cos(ELEVATION))
                ).max()
                for turned in (out, -out)
            ),
        ]
        focal = (0.5 - MARGIN) / max(extent)
        return np.array([[focal, focal, 0.5, 0.5]])

    def _ground(self, camera: Cameras) -> Float:
        """(h,w) sRGB of what lies behind the object: the ground with its shadow."""
        fx, fy, cx, cy = camera.intrinsics[0]
        x, y = np.meshgrid(np.arange(camera.width) + 0.5, np.arange(camera.height) + 0.5)
        rays = (
            np.stack([(x - cx) / fx, (cy - y) / fy, np.full_like(x, -1)], axis=-1) @ camera.c2w[0, :3, :3].T
        )
        eye = camera.c2w[0, :3, 3]
        along = np.where(rays[..., 1] < -1e-6, -eye[1] / np.minimum(rays[..., 1], -1e-6), np.inf)
        with np.errstate(invalid="ignore"):
            at = (eye + rays * along[..., None])[..., [0, 2]]
        place = ((at / _SHADOW_REACH + 0.5) * _SHADOW_SIDE - 0.5).astype(np.float32)
        place[~np.isfinite(place)] = -1e4
        dark = cv2.remap(
            self._shadow, place[..., 0], place[..., 1], cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT
        )
        linear = np.float32(_GROUND**2.2) * (1 - dark)
        shade: Float = (linear ** (1 / 2.2)).astype(np.float32)
        return shade

    @cached_property
    def _shadow(self) -> Float:
        """(S,S) what is missing of the light on the ground, rows along z and columns along x: the sky is one
        large soft light, so that what is h above the ground blurs its footprint about h wide."""
        height = self._lowest()
        missing = np.zeros((_SHADOW_SIDE, _SHADOW_SIDE), np.float32)
        for limit, weight in _SLICES:
            blur = limit / _SHADOW_REACH * _SHADOW_SIDE
            footprint = (height < limit).astype(np.float32)
            missing += weight * cv2.GaussianBlur(footprint, (0, 0), max(blur, 1.0))
        return _DARKEST * missing

    def _lowest(self) -> Float:
        """(S,S) how high above each place of the ground the object begins; infinite where nothing is."""
        vertices = self.mesh.vertices
        reach = _SHADOW_REACH / 2
        top = float(vertices[:, 1].max()) + 1e-6
        clip = np.stack(
            [
                vertices[:, 0] / reach,
                -vertices[:, 2] / reach,
                2 * vertices[:, 1] / top - 1,
                np.ones(len(vertices)),
            ],
            axis=1,
        )
        rast = rasterize(clip[None].astype(np.float32), self.mesh.faces, (_SHADOW_SIDE, _SHADOW_SIDE))[0]
        return np.where(rast[..., 3] > 0, (rast[..., 2] + 1) / 2 * top, np.inf).astype(np.float32)


def softboxes() -> NDArray[np.float32]:
    """(6,S,S,3) linear radiance of a studio: a white room, brighter above, with a large lamp on the left and
    a smaller one behind on the right that give polished things something to mirror."""
    directions = texel_directions(_LIGHT_SIZE)
    light = 0.32 + 0.38 * np.clip(directions[:, 1], -0.4, 1)
    for towards, width, power in (((-0.6, 0.6, 0.5), 0.80, 2.6), ((0.7, 0.35, -0.6), 0.88, 1.6)):
        unit = np.array(towards) / np.linalg.norm(towards)
        light += power * np.clip((directions @ unit - width) / (1 - width) * 3, 0, 1)
    cube = np.repeat(light[:, None], 3, axis=1).reshape(6, _LIGHT_SIZE, _LIGHT_SIZE, 3)
    return np.asarray(cube, np.float32)
