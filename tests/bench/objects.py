"""Objects that nothing was tuned on, photographed by Blender in the layout of a rendered case.

    blender --background --factory-startup --python tests/bench/objects.py -- OUT [NAME ...]

OUT/NAME/clean: 40 views to reconstruct from and 8 to judge by, 512 x 512, transparent around the object;
OUT/NAME/gt/mesh.glb: the object, z up. Objects fit the unit sphere.
"""

import json
import math
import random
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import bpy
from mathutils import Matrix, Vector

SIZE, VIEWS, JUDGED, SAMPLES = 512, 40, 8, 32
DISTANCE, FIELD = 3.2, math.radians(42)
GOLDEN = math.pi * (3 - math.sqrt(5))


def material(
    name: str, one: Sequence[float], other: Sequence[float], scale: float, rough: float, metal: float = 0.0
) -> bpy.types.Material:
    """Two colours mixed by noise of that scale; the same colour twice makes it plain."""
    made = bpy.data.materials.new(name)
    made.use_nodes = True
    nodes, links = made.node_tree.nodes, made.node_tree.links
    surface = nodes["Principled BSDF"]
    place, noise = nodes.new("ShaderNodeTexCoord"), nodes.new("ShaderNodeTexNoise")
    ramp = nodes.new("ShaderNodeValToRGB")
    noise.inputs["Scale"].default_value, noise.inputs["Detail"].default_value = scale, 8
    ramp.color_ramp.elements[0].position, ramp.color_ramp.elements[1].position = 0.42, 0.58
    ramp.color_ramp.elements[0].color, ramp.color_ramp.elements[1].color = (*one, 1), (*other, 1)
    links.new(place.outputs["Object"], noise.inputs["Vector"])
    links.new(noise.outputs["Fac"], ramp.inputs["Fac"])
    links.new(ramp.outputs["Color"], surface.inputs["Base Color"])
    surface.inputs["Roughness"].default_value, surface.inputs["Metallic"].default_value = rough, metal
    return made


def given(made: bpy.types.Material, *, smooth: bool = True) -> bpy.types.Object:
    """What was added last, of that material."""
    thing = bpy.context.object
    thing.data.materials.append(made)
    if smooth:
        bpy.ops.object.shade_smooth()
        thing.data.use_auto_smooth = True
    return thing


def box(made: bpy.types.Material, at: Sequence[float], sides: Sequence[float]) -> None:
    bpy.ops.mesh.primitive_cube_add(size=1, location=at, scale=sides)
    thing = given(made)
    bpy.ops.object.transform_apply(location=False, rotation=False)
    bevel = thing.modifiers.new("bevel", "BEVEL")
    bevel.width, bevel.segments = 0.012, 3


def rod(
    made: bpy.types.Material, at: Sequence[float], radius: float, length: float, towards: str = "z"
) -> None:
    turn = {"x": (0, math.pi / 2, 0), "y": (math.pi / 2, 0, 0), "z": (0, 0, 0)}[towards]
    bpy.ops.mesh.primitive_cylinder_add(vertices=72, radius=radius, depth=length, location=at, rotation=turn)
    bevel = given(made).modifiers.new("bevel", "BEVEL")
    bevel.width, bevel.segments, bevel.angle_limit = min(0.012, length / 4), 3, math.radians(40)


def ring(made: bpy.types.Material, at: Sequence[float], radius: float, tube: float) -> None:
    bpy.ops.mesh.primitive_torus_add(
        location=at, major_radius=radius, minor_radius=tube, major_segments=96, minor_segments=24
    )
    given(made)


def motor() -> None:
    """Cooling fins around a body, a box for its cables, feet, a shaft: narrow, dark gaps."""
    paint = material("paint", (0.05, 0.13, 0.24), (0.08, 0.19, 0.32), 14, 0.45)
    steel = material("steel", (0.42, 0.41, 0.4), (0.3, 0.29, 0.28), 30, 0.35, 1.0)
    dark = material("dark", (0.06, 0.06, 0.06), (0.1, 0.09, 0.08), 25, 0.6)
    rod(paint, (0, 0, 0), 0.4, 1.0, "x")
    for k in range(24):
        if k in (5, 6, 7):
            continue  # under the box
        turn = 2 * math.pi * k / 24
        bpy.ops.mesh.primitive_cube_add(
            size=1, location=(0, 0.47 * math.cos(turn), 0.47 * math.sin(turn)), scale=(0.84, 0.2, 0.03)
        )
        bpy.context.object.rotation_euler = (turn, 0, 0)
        given(paint, smooth=False)
    for x in (-0.5, 0.5):
        rod(paint, (x, 0, 0), 0.5, 0.09, "x")
    box(dark, (0.05, 0, 0.53), (0.42, 0.36, 0.2))
    for y in (-0.34, 0.34):
        box(paint, (0, y, -0.52), (0.8, 0.2, 0.1))
    rod(steel, (0.7, 0, 0), 0.09, 0.4, "x")
    for k in range(6):
        turn = 2 * math.pi * (k + 0.5) / 6
        rod(steel, (0.55, 0.4 * math.cos(turn), 0.4 * math.sin(turn)), 0.035, 0.05, "x")


def valve() -> None:
    """Flanged pipe with a wheel on spokes: thin parts, holes to see through."""
    brass = material("brass", (0.55, 0.38, 0.14), (0.4, 0.25, 0.08), 18, 0.4, 1.0)
    red = material("red", (0.5, 0.04, 0.03), (0.38, 0.03, 0.02), 20, 0.35)
    grey = material("grey", (0.3, 0.31, 0.3), (0.2, 0.2, 0.19), 22, 0.55)
    rod(grey, (0, 0, -0.3), 0.22, 1.5, "x")
    for x in (-0.72, 0.72):
        rod(grey, (x, 0, -0.3), 0.38, 0.1, "x")
        for k in range(6):
            turn = 2 * math.pi * k / 6
            rod(brass, (x, 0.3 * math.cos(turn), -0.3 + 0.3 * math.sin(turn)), 0.04, 0.17, "x")
    bpy.ops.mesh.primitive_uv_sphere_add(segments=64, ring_count=32, radius=0.34, location=(0, 0, -0.3))
    given(grey)
    rod(brass, (0, 0, 0.1), 0.13, 0.5)
    rod(brass, (0, 0, 0.4), 0.05, 0.5)
    ring(red, (0, 0, 0.58), 0.46, 0.045)
    for towards in ("x", "y"):
        rod(red, (0, 0, 0.58), 0.028, 0.9, towards)
    rod(red, (0, 0, 0.58), 0.1, 0.11)


def turned(made: bpy.types.Material, profile: Sequence[tuple[float, float]]) -> None:
    """A closed line of (radius, height), turned around z."""
    steps = 128
    ring_of = [(math.cos(2 * math.pi * k / steps), math.sin(2 * math.pi * k / steps)) for k in range(steps)]
    vertices = [(r * x, r * y, z) for r, z in profile for x, y in ring_of]
    n = len(profile)
    faces = [
        (a * steps + k, a * steps + (k + 1) % steps, (a + 1) * steps + (k + 1) % steps, (a + 1) * steps + k)
        for a in range(n - 1)
        for k in range(steps)
    ]
    mesh = bpy.data.meshes.new("turned")
    mesh.from_pydata(vertices, [], faces)
    thing = bpy.data.objects.new("turned", mesh)
    bpy.context.collection.objects.link(thing)
    bpy.context.view_layer.objects.active = thing
    thing.select_set(True)
    given(made)
    thing.data.auto_smooth_angle = math.radians(60)


def bowl() -> None:
    """A deep cup with a post in it and two ears."""
    clay = material("clay", (0.45, 0.22, 0.1), (0.62, 0.42, 0.26), 7, 0.6)
    glaze = material("glaze", (0.04, 0.16, 0.15), (0.1, 0.3, 0.26), 9, 0.25)
    outer = [(0.3 + 0.32 * math.sin(0.5 * math.pi * t / 20), -0.6 + 1.15 * t / 20) for t in range(21)]
    inner = [(r - 0.07, z) for r, z in outer[::-1] if z > -0.5]
    turned(clay, [(0, -0.6), *outer, *inner, (0, inner[-1][1])])
    rod(glaze, (0, 0, -0.15), 0.1, 0.8)
    for x in (-0.66, 0.66):
        bpy.ops.mesh.primitive_torus_add(
            location=(x, 0, 0.2),
            rotation=(math.pi / 2, 0, 0),
            major_radius=0.2,
            minor_radius=0.05,
            major_segments=72,
            minor_segments=24,
        )
        given(glaze)


def knot() -> None:
    """A tube that winds around itself (a knot on a torus), striped."""
    stripes = material("stripes", (0.65, 0.6, 0.5), (0.12, 0.2, 0.45), 5, 0.5)
    curve = bpy.data.curves.new("knot", "CURVE")
    curve.dimensions, curve.bevel_depth, curve.bevel_resolution = "3D", 0.13, 8
    line, count = curve.splines.new("POLY"), 320
    line.points.add(count - 1)
    line.use_cyclic_u = True
    for k in range(count):
        t = 2 * math.pi * k / count
        r = 0.55 + 0.27 * math.cos(3 * t)
        line.points[k].co = (r * math.cos(2 * t), r * math.sin(2 * t), 0.32 * math.sin(3 * t), 1)
    thing = bpy.data.objects.new("knot", curve)
    bpy.context.collection.objects.link(thing)
    bpy.context.view_layer.objects.active = thing
    thing.select_set(True)
    bpy.ops.object.convert(target="MESH")
    given(stripes)


def monkey() -> None:
    """Plain plastic: nothing to match but shading and outlines."""
    bpy.ops.mesh.primitive_monkey_add(size=1.5)
    thing = given(material("plastic", (0.5, 0.48, 0.42), (0.5, 0.48, 0.42), 1, 0.5))
    thing.modifiers.new("smooth", "SUBSURF").render_levels = 3
    thing.modifiers["smooth"].levels = 3


OBJECTS: dict[str, Callable[[], None]] = {each.__name__: each for each in (motor, valve, bowl, knot, monkey)}


def joined() -> bpy.types.Object:
    """All that there is as one mesh within the unit sphere, its middle at 0."""
    bpy.ops.object.select_all(action="SELECT")
    bpy.context.view_layer.objects.active = bpy.context.selected_objects[0]
    bpy.ops.object.convert(target="MESH")  # modifiers become shape
    if len(bpy.context.selected_objects) > 1:
        bpy.ops.object.join()
    whole = bpy.context.object
    bpy.ops.object.transform_apply()
    corners = [Vector(corner) for corner in whole.bound_box]
    middle = sum(corners, Vector()) / 8
    reach = max((vertex.co - middle).length for vertex in whole.data.vertices)
    whole.data.transform(Matrix.Scale(1 / reach, 4) @ Matrix.Translation(-middle))
    return whole


def light() -> None:
    """A room: brighter above, two windows and a lamp."""
    world = bpy.data.worlds.new("room")
    bpy.context.scene.world = world
    world.use_nodes = True
    nodes, links = world.node_tree.nodes, world.node_tree.links
    place, ramp = nodes.new("ShaderNodeTexCoord"), nodes.new("ShaderNodeValToRGB")
    apart = nodes.new("ShaderNodeSeparateXYZ")
    half = nodes.new("ShaderNodeMath")
    half.operation = "MULTIPLY_ADD"
    half.inputs[1].default_value = half.inputs[2].default_value = 0.5
    ramp.color_ramp.elements[0].color = (0.16, 0.13, 0.1, 1)
    ramp.color_ramp.elements[1].color = (0.55, 0.6, 0.68, 1)
    links.new(place.outputs["Generated"], apart.inputs["Vector"])
    links.new(apart.outputs["Z"], half.inputs[0])
    links.new(half.outputs["Value"], ramp.inputs["Fac"])
    links.new(ramp.outputs["Color"], nodes["Background"].inputs["Color"])
    for at, size, power in (((4, 2, 3), 2.5, 260), ((-3, 4, 2), 2.0, 170), ((0, -3, 5), 0.6, 130)):
        bpy.ops.object.light_add(type="AREA", location=at)
        lamp = bpy.context.object
        lamp.data.size, lamp.data.energy = size, power
        lamp.rotation_euler = Vector(at).to_track_quat("Z", "Y").to_euler()


def directions(count: int, turn: float) -> list[Vector]:
    """Unit, spread evenly from 55 degrees below to 80 above."""
    low, high = math.sin(math.radians(-55)), math.sin(math.radians(80))
    found = []
    for k in range(count):
        z = low + (high - low) * (k + 0.5) / count
        r = math.sqrt(1 - z * z)
        found.append(Vector((r * math.cos(turn + GOLDEN * k), r * math.sin(turn + GOLDEN * k), z)))
    return found


def photographed(folder: Path) -> None:
    scene = bpy.context.scene
    scene.render.engine, scene.cycles.device = "CYCLES", "CPU"
    scene.cycles.samples, scene.cycles.use_denoising = SAMPLES, False
    scene.render.resolution_x = scene.render.resolution_y = SIZE
    scene.render.resolution_percentage = 100
    scene.render.film_transparent = True
    scene.render.image_settings.file_format, scene.render.image_settings.color_mode = "PNG", "RGBA"
    scene.view_settings.view_transform = "Standard"
    scene.render.use_persistent_data = True
    eye = bpy.data.objects.new("eye", bpy.data.cameras.new("eye"))
    bpy.context.collection.objects.link(eye)
    scene.camera = eye
    eye.data.angle = FIELD
    focal = SIZE / 2 / math.tan(FIELD / 2)
    random.seed(3)
    for part, count, turn in (("train", VIEWS, 0.0), ("test", JUDGED, 1.0)):
        frames = []
        for k, towards in enumerate(directions(count, turn)):
            eye.location = towards * DISTANCE * random.uniform(0.94, 1.06)
            eye.rotation_euler = towards.to_track_quat("Z", "Y").to_euler()
            bpy.context.view_layer.update()
            scene.cycles.seed = k
            scene.render.filepath = str(folder / f"{part}/r_{k:03}.png")
            bpy.ops.render.render(write_still=True)
            frames.append({
                "file_path": f"{part}/r_{k:03}.png",
                "transform_matrix": [list(row) for row in eye.matrix_world],
            })  # fmt: skip
        about = {"camera_model": "PINHOLE", "w": SIZE, "h": SIZE, "fl_x": focal, "fl_y": focal}
        about |= {"cx": SIZE / 2, "cy": SIZE / 2, "frames": frames}
        (folder / f"transforms_{part}.json").write_text(json.dumps(about))


def main(out: Path, names: Sequence[str]) -> None:
    for name in names or OBJECTS:
        bpy.ops.wm.read_factory_settings(use_empty=True)
        OBJECTS[name]()
        whole = joined()
        truth = out / name / "gt"
        truth.mkdir(parents=True, exist_ok=True)
        whole.select_set(True)
        bpy.ops.export_scene.gltf(
            filepath=str(truth / "mesh.glb"), use_selection=True, export_yup=False, export_materials="NONE"
        )
        light()
        photographed(out / name / "clean")


if __name__ == "__main__":
    arguments = sys.argv[sys.argv.index("--") + 1 :]
    main(Path(arguments[0]), arguments[1:])
