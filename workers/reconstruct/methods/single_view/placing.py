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

_ROUNDS = 4  # of fitting the shape to its outline


@dataclass(frozen=True)
class Placed:
    """photos: the photo, and what its mirror image would be from behind, with cameras in the picture's frame.
    back: (4,4) the similarity from that frame to the one the photo was given in.
    """

    photos: Scene
    back: Array

    def moved_back(self, vertices: Float) -> Float:
        """Vertices (V,3) in the frame the photo was given in."""
        return (vertices @ self.back[:3, :3].T + self.back[:3, 3]).astype(np.float32)

    def given_back(self, drawn: Sketch) -> Sketch:
        """The sketch in that frame."""
        return replace(drawn, vertices=self.moved_back(drawn.vertices))


def placed(vertices: Float, framing: Framing, scene: Scene) -> tuple[Float, Placed]:
    """The vertices (V,3), in the picture's frame, scaled and moved across until they fill the outline's box
    for the camera that took the scene's first photo, whose views narrow with distance as the network's do
    not; and where they are.
    """
    camera = scene.cameras.select([0])
    fx, fy, cx, cy = camera.intrinsics[0]
    # The picture's frame looks at the middle of the outline, wherever in the photo that is.
    ray = np.array([(framing.centre[0] - cx) / fx, -(framing.centre[1] - cy) / fy, -1.0])
    slant = float(np.linalg.norm(ray))
    z = -ray / slant
    x = np.cross([0.0, 1.0, 0.0], z)
    x /= np.linalg.norm(x)
    turn = np.stack([x, np.cross(z, x), z], axis=1)  # from the picture's frame to the camera's
    distance = fx * slant / framing.scale
    own = np.eye(4)
    own[:3, :3], own[2, 3] = turn.T, distance
    taken = replace(camera, c2w=own[None])
    vertices = _fitted(vertices, taken, framing)
    depth = -float(np.linalg.inv(camera.c2w[0])[2, 3])  # of the origin
    unit = (depth if depth > 0 else 1.0) * slant / distance
    back = camera.c2w[0] @ _similarity(unit, turn, np.array([0, 0, -distance]))
    return vertices, Placed(_with_mirror(scene, taken), back)


def _similarity(scale: float, turn: Array, before: Array) -> Array:
    """(4,4) of p -> scale * turn @ (p + before)."""
    matrix = np.eye(4)
    matrix[:3, :3] = scale * turn
    matrix[:3, 3] = scale * turn @ before
    return matrix


def _fitted(vertices: Float, camera: Cameras, framing: Framing) -> Float:
    for _ in range(_ROUNDS):
        x, y, w = camera.projection()[0] @ np.c_[vertices, np.ones(len(vertices))].T
        seen = np.stack([x / w, y / w], axis=1)
        low, high = seen.min(0), seen.max(0)
        across = (np.array(framing.centre) - (low + high) / 2) / framing.scale
        grow = framing.scale / float((high - low).max())
        vertices = (grow * vertices + np.array([across[0], -across[1], 0])).astype(np.float32)
    return vertices


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
