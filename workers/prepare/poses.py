"""Cameras for a capture that came without, and better ones for one whose phone knew them only about."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numba
import numpy as np
from numpy.typing import NDArray

from contracts.errors import PosesNotFound, TooFewImages
from workers.geometry.errors import NumericError
from workers.geometry.similarity import align_cameras, moved
from workers.prepare.capture import Capture, Lens, Shot, World, check_count
from workers.prepare.frame import nearest_point
from workers.prepare.orientation import oriented
from workers.prepare.sfm import world
from workers.prepare.sfm.estimate import Estimate, Photos, estimate, refine
from workers.prepare.sfm.features import LONGEST
from workers.prepare.sfm.mapping import Camera
from workers.prepare.sfm.matches_file import NOTHING, Known
from workers.prepare.sfm.plugs import Plugs, plugged
from workers.runtime.safe_input import Glance, read_glance
from workers.runtime.usage import Clock

Tell = Callable[[float, str], None]
Array = NDArray[np.float64]

FEWEST = 8
"""Photos without poses that a model can be made of."""
PLENTY = 50
"""Photos, as VISOR's method asks for."""
CLEARLY = 4.0
"""Times as well as the phone's own poses must others fit the photos to take their place: where it is less,
they were measured to be farther from the truth."""
CONTRADICTED = 0.6
"""Agreement of a map below which it is not to be relied on; right ones were measured to have .7 and more."""
BELIEVED = 0.7
"""Agreement of a map that may take the place of poses that were given."""
STEPS = {
    "looking for features": "features",
    "matching photos": "matching",
    "placing the photos": "mapping",
    "refining poses": "mapping",
}
"""What is told of the way, and what it is charged to."""
USUAL_FOCAL = 1.2
"""Of the longer side: where to begin with a lens that nothing is known of."""
ADVICE = (
    "Take at least 30 photos in one slow walk around the object, each overlapping the one before by two "
    "thirds, in good light; let table and background be seen, and move neither object nor lights."
)


def posed(
    capture: Capture, parameters: dict[str, Any], weights: Path, tell: Tell, known: Known = NOTHING
) -> Capture:
    """The capture with lens and pose for each of its shots; shots that have no place are left out.

    weights: the folder of those that the parameters name. known: what was matched before.

    Raises PosesNotFound, TooFewImages; NumericError as `plugged`.
    """
    estimated = parameters["ignore_poses"] or not capture.posed
    if len(capture.shots) == 1 and not capture.ordered:
        return replace(capture, shots=[_single(capture.shots[0])])
    refined = {"always": True, "auto": capture.tracked, "never": False}[parameters["refine_poses"]]
    if not estimated and not refined:
        return capture
    if estimated and len(capture.shots) < FEWEST:
        raise TooFewImages(
            f"the capture has {len(capture.shots)} photos without poses; at least {FEWEST} are needed",
            found=len(capture.shots),
            needed=FEWEST,
        )
    clock = Clock()
    glances = [read_glance(shot.image, shot.name, LONGEST) for shot in capture.shots]
    turned = replace(capture, shots=[_upright(*each) for each in zip(capture.shots, glances, strict=True)])
    photos = _photos(turned, glances)
    plugs = plugged(parameters["networks"], weights)
    begun = ["reading"]

    def told(part: float, step: str) -> None:
        clock.charge(begun.pop())
        begun.append(STEPS[step])
        tell(part, step)

    try:
        if estimated:
            done = _estimated(turned, photos, parameters, plugs, told, known)
        else:
            done = _refined(turned, photos, plugs, told, known)
    except NumericError as error:
        if error.code != "poses_not_found":
            raise
        found = error.params.get("found", 0)
        raise PosesNotFound(str(error), found=found, total=len(capture.shots), advice=ADVICE) from None
    clock.charge(begun.pop())
    spent = done.metrics.get("poses", {}) | {"cpu_seconds": clock.spent}
    return replace(done, metrics={**done.metrics, "poses": spent})


def _photos(capture: Capture, glances: list[Glance]) -> Photos:
    """One camera for all photos of one size and lens."""
    cameras: list[Camera] = []
    camera_of = []
    for shot, glance in zip(capture.shots, glances, strict=True):
        camera = _camera(shot, glance)
        if camera not in cameras:
            cameras.append(camera)
        camera_of.append(cameras.index(camera))
    sizes = [glance.size for glance in glances]
    return Photos([glance.grey for glance in glances], sizes, cameras, camera_of, capture.ordered)


def _single(shot: Shot) -> Shot:
    """Without a pose, and with a lens, be it a guess."""
    glance = read_glance(shot.image, shot.name, LONGEST)
    return replace(shot, lens=shot.lens or Lens(glance.size, (_focal(glance),) * 2), c2w=None)


def _focal(glance: Glance) -> float:
    """In pixels, of a lens of which no more is known."""
    return (glance.focal or USUAL_FOCAL) * max(glance.size)


def _camera(shot: Shot, glance: Glance) -> Camera:
    width, height = glance.size
    if shot.lens is None:
        focal = _focal(glance)
        guess = (focal, focal, width / 2, height / 2, 0.0, 0.0, 0.0, 0.0)
        return Camera(glance.size, guess, guessed_well=glance.focal is not None)
    centre = shot.lens.centre or (width / 2, height / 2)
    return Camera(glance.size, (*shot.lens.focal, *centre, *shot.lens.distortion[:4]), known=True)


def _upright(shot: Shot, glance: Glance) -> Shot:
    """The shot with lens and pose for its photo as it is looked at."""
    if shot.lens is None:
        return shot
    pose = np.eye(4) if shot.c2w is None else shot.c2w
    camera = oriented(shot.lens, pose, glance.size, glance.orientation, shot.name)
    fx, fy, cx, cy = camera.intrinsics
    lens = Lens(glance.size, (fx, fy), (cx, cy), shot.lens.distortion)
    return replace(shot, lens=lens, c2w=None if shot.c2w is None else camera.c2w)


def _estimated(
    capture: Capture, photos: Photos, parameters: dict[str, Any], plugs: Plugs, tell: Tell, known: Known
) -> Capture:
    found = estimate(photos, parameters["mapper"], plugs, numba.get_num_threads(), tell, known)
    c2w = found.map.c2w[found.map.registered]
    target = nearest_point(c2w[:, :3, 3], -c2w[:, :3, 2])
    frame = world.sensible(c2w, found.map.points, target)
    shots = _placed(capture, photos, found, frame.similarity)
    check_count(len(shots))
    total, used = len(capture.shots), len(shots)
    warnings = list(capture.warnings)
    if used < total:
        lost = [shot.name for shot, ok in zip(capture.shots, found.map.registered, strict=True) if not ok]
        named = ", ".join(lost[:5]) + (" and others" if len(lost) > 5 else "")
        warnings.append(
            f"{used} of {total} photos could be placed; {named} have too little in common with them."
        )
    if used < total and found.map.others:
        warnings.append(
            f"The photos fall into {1 + len(found.map.others)} groups that do not meet; the largest is used."
        )
    if found.map.agreement < CONTRADICTED:
        warnings.append(
            "Much of what neighbouring photos share contradicts the positions found, as where a pattern "
            "repeats: the model may be wrong. Put something unmistakable beside the object, a newspaper say."
        )
    if len(shots) < PLENTY and "video" not in capture.metrics:
        warnings.append(f"{len(shots)} photos were used; {PLENTY} and more make a better model.")
    told = {**_told("estimated", found, total), "mapper": found.method}
    up = (0.0, 1.0, 0.0) if frame.up else None
    return replace(
        capture,
        shots=shots,
        world=World(up, None),
        warnings=warnings,
        metrics={**capture.metrics, "poses": told},
        arrays={},
        known=found.looked.known,
    )


def _refined(capture: Capture, photos: Photos, plugs: Plugs, tell: Tell, known: Known) -> Capture:
    given = np.array([shot.c2w for shot in capture.shots])
    try:
        found = refine(photos, given, plugs, numba.get_num_threads(), tell, known)
    except NumericError as error:
        warning = f"The phone's own camera positions are used as they are: {error}."
        metrics = {**capture.metrics, "poses": {"how": "given"}}
        return replace(capture, warnings=[*capture.warnings, warning], metrics=metrics)
    before, after = found.map.misfit or (0.0, 0.0)
    back = align_cameras(found.map.c2w, given).similarity
    shift = np.linalg.norm(moved(back, found.map.c2w)[:, :3, 3] - given[:, :3, 3], axis=1)
    better = before > CLEARLY * after and found.map.agreement > BELIEVED
    told = {
        **_told("refined" if better else "given", found, len(given)),
        "misfit": [round(before, 3), round(after, 3)],
        "moved": round(float(np.median(shift)), 6) if better else 0.0,
    }
    shots = _placed(capture, photos, found, back) if better else capture.shots
    return replace(capture, shots=shots, metrics={**capture.metrics, "poses": told}, known=found.looked.known)


def _placed(capture: Capture, photos: Photos, found: Estimate, similarity: Array) -> list[Shot]:
    """The shots that have a place in the map, moved by the similarity (4,4)."""
    c2w = moved(similarity, found.map.c2w)
    points = found.map.points @ similarity[:3, :3].T + similarity[:3, 3]
    shots = []
    for index, shot in enumerate(capture.shots):
        if not found.map.registered[index]:
            continue
        fx, fy, cx, cy, k1, k2, p1, p2 = (float(value) for value in found.map.lenses[photos.camera_of[index]])
        k3 = 0.0 if shot.lens is None else shot.lens.distortion[4]
        seen = points[found.map.seen[found.map.seen[:, 1] == index, 0]]
        shots.append(
            replace(
                shot,
                lens=Lens(photos.sizes[index], (fx, fy), (cx, cy), (k1, k2, p1, p2, k3)),
                c2w=c2w[index],
                depth=shot.depth if capture.tracked else _depth(seen, c2w[index]),
            )
        )
    return shots


def _depth(points: Array, c2w: Array) -> tuple[float, float] | None:
    """Between which the points (P,3) lie, but for the outermost thousandth on either side, as LLFF has it."""
    if len(points) < 10:
        return None
    near, far = np.percentile((c2w[:3, 3] - points) @ c2w[:3, 2], [0.1, 99.9])
    return (float(near), float(far)) if near > 0 else None


def _told(how: str, found: Estimate, total: int) -> dict[str, Any]:
    return {
        "how": how,
        "photos": total,
        "registered": int(found.map.registered.sum()),
        "pairs": found.looked.pairs,
        "pairs_taken_over": found.looked.taken,
        "points": len(found.map.points),
        "error": round(found.map.error, 3),
        "agreement": round(found.map.agreement, 3),
    }
