"""From the network's orthographic picture of the object to where the camera saw it."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from workers.geometry.cameras import Cameras
from workers.reconstruct.methods.model import Scene, Sketch
from workers.reconstruct.methods.single_view.framing import Framing

Float = NDArray[np.float32]
Array = NDArray[np.float64]

_FAR = 300.0  # longest sides: a camera there sees as the network does, without perspective

_NEAREST = 1.0  # longest sides that a camera is away at least, whatever is told of its lens


@dataclass(frozen=True)
class Placed:
    """photos: the photo, and what its mirror image would be from behind, by cameras far away in the picture's
    frame. slopes: (2,2) rows x and y, of a point's ray to the camera: first a unit's share, then that of the
    frame's origin. middle: how many units that is before the camera. back: (4,4) the similarity from the
    camera's frame, in the picture's unit, to the one the photo was given in.
    """

    photos: Scene
    slopes: Array
    middle: float
    back: Array

    def moved_back(self, vertices: Float) -> Float:
        """Vertices (V,3) in the frame the photo was given in, on the rays through the pixels that show them:
        the outline stays what it is, as views narrow with distance.
        """
        depth = self.middle - vertices[:, 2:]
        seen = np.concatenate([depth * self._rays(vertices), -depth], axis=1)
        return (seen @ self.back[:3, :3].T + self.back[:3, 3]).astype(np.float32)

    def turned_back(self, vertices: Float, normals: Float) -> Float:
        """Unit normals (V,3) at the vertices after that: by the inverse of its transposed derivative."""
        across = normals[:, :2] / ((self.middle - vertices[:, 2:]) * self.slopes[:, 0])
        along = normals[:, 2:] + (self._rays(vertices) * across).sum(1, keepdims=True)
        turned = np.concatenate([across, along], axis=1) @ self.back[:3, :3].T
        unit: Float = (turned / np.linalg.norm(turned, axis=1, keepdims=True)).astype(np.float32)
        return unit

    def given_back(self, drawn: Sketch) -> Sketch:
        """The sketch in that frame."""
        return replace(drawn, vertices=self.moved_back(drawn.vertices))

    def _rays(self, vertices: Float) -> Array:
        """(V,2) x and y of the rays, a unit along the camera's axis."""
        rays: Array = vertices[:, :2] * self.slopes[:, 0] + self.slopes[:, 1]
        return rays


def placed(framing: Framing, scene: Scene) -> Placed:
    """Where the shape that the network sees in the scene's first photo is: its middle is as deep as the
    origin of the frame the photo was given in.
    """
    camera = scene.cameras.select([0])
    fx, fy, cx, cy = camera.intrinsics[0]
    middle = max(fx / framing.scale, _NEAREST)
    slopes = np.array(
        [
            [framing.scale / fx, (framing.centre[0] - cx) / fx],
            [framing.scale / fy, -(framing.centre[1] - cy) / fy],
        ]
    )
    depth = -float(np.linalg.inv(camera.c2w[0])[2, 3])  # of the origin
    back = camera.c2w[0] @ np.diag([*3 * [(depth if depth > 0 else 1.0) / middle], 1.0])
    return Placed(_with_mirror(scene, _from_afar(camera, framing)), slopes, middle, back)


def _from_afar(camera: Cameras, framing: Framing) -> Cameras:
    """Sees in the picture's frame what the camera has seen."""
    focal = framing.scale * _FAR
    own = np.eye(4)
    own[2, 3] = _FAR
    return replace(camera, intrinsics=np.array([[focal, focal, *framing.centre]]), c2w=own[None])


def _with_mirror(scene: Scene, camera: Cameras) -> Scene:
    """The scene's first photo, taken by `camera`, and its reflection in the plane through the frame's origin
    that faces the
    viewer: a photo from behind, with left and right exchanged.
    """
    image, mask, frame = scene.images[0], scene.masks[0], scene.frames[0]
    width = camera.width
    behind = np.diag([1.0, 1.0, -1.0, 1.0]) @ camera.c2w[0] @ np.diag([-1.0, 1.0, 1.0, 1.0])
    intrinsics = camera.intrinsics[0] * [1, 1, -1, 1] + [0, 0, width, 0]
    return Scene(
        images=np.stack([image, image[:, ::-1]]),
        masks=np.stack([mask, mask[:, ::-1]]),
        cameras=Cameras(
            names=(*camera.names, f"mirrored {camera.names[0]}"),
            intrinsics=np.stack([camera.intrinsics[0], intrinsics]),
            width=width,
            height=camera.height,
            c2w=np.stack([camera.c2w[0], behind]),
        ),
        frames=np.stack([frame, [width - frame[2], frame[1], width - frame[0], frame[3]]]),
    )
