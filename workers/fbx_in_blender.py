"""Inside Blender: `blender --background --python fbx_in_blender.py -- MODEL.glb OUT.fbx`."""

import sys

import addon_utils
import bpy
import numpy

# Blender 3.4 asks for it, and the NumPy of the same Debian has it no longer.
vars(numpy).setdefault("bool", bool)
model, out = sys.argv[sys.argv.index("--") + 1 :]
bpy.ops.wm.read_factory_settings(use_empty=True)
addon_utils.enable("io_scene_fbx")
bpy.ops.import_scene.gltf(filepath=model)
bpy.ops.export_scene.fbx(filepath=out, path_mode="COPY", embed_textures=True)
