"""Wavefront OBJ and MTL, with the PBR extension's keys."""

from __future__ import annotations

import math
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from workers.reconstruct.methods.model import TexturedMesh

# texture_ks.png packs occlusion, roughness and metalness in red, green and blue, as glTF does.
_MATERIAL = """\
newmtl material
Kd 1 1 1
Ks 0 0 0
map_Kd texture_kd.png
Pr 1
Pm 1
map_Pr -imfchan g texture_ks.png
map_Pm -imfchan b texture_ks.png
norm texture_n.png
"""


def write_obj(folder: Path, mesh: TexturedMesh, vertices: NDArray[np.float64]) -> None:
    """Write mesh.obj, mesh.mtl, texture_kd.png, texture_ks.png and texture_n.png into `folder`.

    vertices: (V,3) positions to write, in the wanted frame, given seven digits of the mesh's size. Texture coordinates
    have v up.
    """
    decimals = max(0, math.ceil(7 - math.log10(float(np.ptp(vertices, axis=0).max()))))
    place = f"v %.{decimals}f %.{decimals}f %.{decimals}f"
    index = np.repeat(mesh.faces + 1, 3, axis=1)
    lines = ["mtllib mesh.mtl", "o object", "usemtl material"]
    lines += [place % tuple(row) for row in vertices.tolist()]
    lines += ["vt %.7f %.7f" % tuple(row) for row in mesh.uv.tolist()]
    lines += ["vn %.5f %.5f %.5f" % tuple(row) for row in mesh.normals.tolist()]
    lines += ["f %d/%d/%d %d/%d/%d %d/%d/%d" % tuple(row) for row in index.tolist()]
    (folder / "mesh.obj").write_text("\n".join(lines) + "\n")
    (folder / "mesh.mtl").write_text(_MATERIAL)
    for name, image in (("kd", mesh.kd), ("ks", mesh.ks), ("n", mesh.normal_map)):
        cv2.imwrite(str(folder / f"texture_{name}.png"), cv2.cvtColor(image, cv2.COLOR_RGB2BGR))
