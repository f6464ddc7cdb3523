"""Inside Blender: `blender --background --factory-startup --python-exit-code 1 --python render.py --
JOB.json`.

The job: model (GLB or OBJ), light (equirectangular HDR, as `light.hdr`) or null for the base colour alone,
camera (4x4 OpenGL camera-to-world in the model's own frame, y up), focal (in widths), side (pixels),
samples, out (PNG).
"""

import json
import math
import sys
from pathlib import Path
from typing import Any

import bpy
import numpy
from mathutils import Matrix

# Blender's z is up: it turns glTF by this, and we have it turn OBJ the same way.
TURN = Matrix(((1, 0, 0, 0), (0, 0, -1, 0), (0, 1, 0, 0), (0, 0, 0, 1)))


# Blender 3.4 asks for it, and the NumPy of the same Debian has it no longer.
vars(numpy).setdefault("bool", bool)


def main(job: dict[str, Any]) -> None:
    bpy.ops.wm.read_factory_settings(use_empty=True)
    if Path(job["model"]).suffix == ".glb":
        bpy.ops.import_scene.gltf(filepath=job["model"])
    else:
        bpy.ops.wm.obj_import(filepath=job["model"], forward_axis="NEGATIVE_Z", up_axis="Y")
    if job["light"] is None:
        for material in bpy.data.materials:
            emit_base_colour(material)
    scene = bpy.context.scene
    light(scene, job["light"])
    look(scene, job)
    scene.render.engine = "CYCLES"
    scene.cycles.device = "CPU"
    scene.cycles.samples = job["samples"]
    scene.cycles.use_denoising = False
    scene.cycles.filter_width = 1.0
    scene.cycles.pixel_filter_type = "BOX"
    scene.cycles.max_bounces = 4
    scene.render.film_transparent = True
    scene.view_settings.view_transform = "Standard"
    scene.render.resolution_x = scene.render.resolution_y = job["side"]
    scene.render.image_settings.color_mode = "RGBA"
    scene.render.filepath = job["out"]
    bpy.ops.render.render(write_still=True)


def emit_base_colour(material: Any) -> None:
    nodes, links = material.node_tree.nodes, material.node_tree.links
    shader = next(node for node in nodes if node.type == "BSDF_PRINCIPLED")
    colour = shader.inputs["Base Color"].links[0].from_socket
    emission = nodes.new("ShaderNodeEmission")
    output = next(node for node in nodes if node.type == "OUTPUT_MATERIAL")
    links.new(colour, emission.inputs["Color"])
    links.new(emission.outputs["Emission"], output.inputs["Surface"])


def light(scene: Any, picture: str | None) -> None:
    scene.world = bpy.data.worlds.new("light")
    scene.world.use_nodes = True
    nodes, links = scene.world.node_tree.nodes, scene.world.node_tree.links
    if picture is None:
        nodes["Background"].inputs["Strength"].default_value = 0
        return
    around = nodes.new("ShaderNodeTexEnvironment")
    around.image = bpy.data.images.load(picture)
    place, mapping = nodes.new("ShaderNodeTexCoord"), nodes.new("ShaderNodeMapping")
    mapping.inputs["Rotation"].default_value[2] = -math.pi / 2  # its middle is +x, ours +y
    links.new(place.outputs["Generated"], mapping.inputs["Vector"])
    links.new(mapping.outputs["Vector"], around.inputs["Vector"])
    links.new(around.outputs["Color"], nodes["Background"].inputs["Color"])


def look(scene: Any, job: dict[str, Any]) -> None:
    lens = bpy.data.cameras.new("camera")
    lens.sensor_width, lens.lens = 1.0, job["focal"]
    lens.clip_start, lens.clip_end = 1e-3, 1e4
    camera = bpy.data.objects.new("camera", lens)
    camera.matrix_world = TURN @ Matrix(job["camera"])
    scene.collection.objects.link(camera)
    scene.camera = camera


main(json.loads(Path(sys.argv[sys.argv.index("--") + 1]).read_text()))
