"""Wavefront OBJ and MTL, with the PBR extension's keys."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from workers.geometry.images import write_png
from workers.reconstruct.methods.model import TexturedMesh
from workers.reconstruct.threads import each

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

    vertices: (V,3) positions to write, in the wanted frame, given seven digits of the mesh's size. One
    position is written once, so that the file's surface is closed across texture seams too. v is up.
    """
    decimals = max(0, math.ceil(7 - math.log10(float(np.ptp(vertices, axis=0).max()))))
    _, first, place = np.unique(mesh.vertices, axis=0, return_index=True, return_inverse=True)
    corners = np.stack([place.reshape(-1)[mesh.faces], mesh.faces], axis=2).reshape(-1, 6) + 1
    lines = ["mtllib mesh.mtl", "o object", "usemtl material"]
    lines += [f"v {x:.{decimals}f} {y:.{decimals}f} {z:.{decimals}f}" for x, y, z in vertices[first].tolist()]
    lines += [f"vt {u:.7f} {v:.7f}" for u, v in mesh.uv.tolist()]
    lines += [f"vn {x:.5f} {y:.5f} {z:.5f}" for x, y, z in mesh.normals[first].tolist()]
    lines += [f"f {a}/{d}/{a} {b}/{e}/{b} {c}/{f}/{c}" for a, d, b, e, c, f in corners.tolist()]
    (folder / "mesh.obj").write_text("\n".join(lines) + "\n")
    (folder / "mesh.mtl").write_text(_MATERIAL)
    textures = [folder / f"texture_{name}.png" for name in ("kd", "ks", "n")]
    each(write_png, textures, (mesh.kd, mesh.ks, mesh.normal_map))
