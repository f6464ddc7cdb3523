"""How well cameras are found from photos alone, and a phone's own made better:
`python -m tests.bench.poses [DATA_DIR]`.

DATA_DIR: a folder with captures whose poses are known, real ones (CASE/transforms.json) and rendered ones as
a phone sees them (CASE/phone); with photos without any (CASE/images), videos of another case's photos
(CASE_video/NAME.mp4), and sessions of a phone's tracking (CASE/session.jsonl with truth/truth.json). Without
it captures are simulated. What is known of the poses is kept from the pipeline, and judged by. Writes
table.md.
"""

import argparse
import asyncio
import json
import os
import shutil
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from contracts.events import Options
from workers import local
from workers.evaluate.pose_report import report
from workers.evaluate.trajectory import Trajectory, compare
from workers.geometry.similarity import align_cameras, moved
from workers.prepare.frame import nearest_point
from workers.prepare.readers.arcore import recording, session
from workers.prepare.readers.arcore.compensation import compensate
from workers.prepare.readers.arcore.published import published
from workers.runtime import logs
from workers.runtime.safe_input import IMAGE_SUFFIXES
from workers.simulate.capture import simulate
from workers.trajectories import read_trajectory

Array = NDArray[np.float64]
Found = tuple[Trajectory, Mapping[str, Any]]
"""Cameras, and what the prepare stage says of its work."""

STEPS = ("features", "matching", "mapping")
ESTIMATED = [
    *("case", "how", "photos", "registered", "ATE % of path", "ATE % of distance", "rotation deg", "mAA"),
    *("error px", *STEPS, "rest", "CPU s"),
]
SESSIONS = ["session", "poses", "off mm", "ATE mm, rigid", "ATE mm, Sim(3)", "drift removed %"]
WORSE = (0.1, 0.3, 1.0)
"""Degrees that given poses are turned by at random, and as much of their distance moved."""


@dataclass(frozen=True)
class Case:
    """folder: what the pipeline is given. truth: what its result is judged by, if known."""

    name: str
    how: str
    folder: Path
    truth: Trajectory | None = None
    stills: int = 0
    """That the frames of a video were made of, if it is one."""


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.poses", description=__doc__)
    parser.add_argument("data", nargs="?", type=Path, help="folder of captures; default: simulated ones")
    parser.add_argument("--cases", help="names of the cases to take, with commas between; default: all")
    parser.add_argument("--features", choices=("sift", "aliked"), default="sift")
    parser.add_argument("--out", type=Path, default=Path("build/bench-poses"))
    arguments = parser.parse_args()
    os.environ["PHOTOTWIN_FEATURES"] = arguments.features
    logs.configure("CRITICAL")
    out = arguments.out
    out.mkdir(parents=True, exist_ok=True)
    data = arguments.data or _simulated(out / "data")
    wanted = set(arguments.cases.split(",")) if arguments.cases else None
    cases = [case for case in _cases(data, out) if wanted is None or case.name in wanted]
    sessions = [each for each in _sessions(data) if wanted is None or each[0] in wanted]

    tables: list[list[list[str]]] = [[ESTIMATED], [SESSIONS]]
    for case in cases:
        _tell(tables[0], [case.name, case.how, *_estimated(case, out / "runs" / case.name / case.how)])
    for name, folder, truth in sessions:
        for row in _session(folder, truth, out / "runs" / name):
            _tell(tables[1], [name, *row])
    for case in _worse(cases, out):
        _tell(tables[0], [case.name, f"{case.how}, as given", *_as_given(case)])
        refined = _estimated(case, out / "runs" / case.name / case.how)
        _tell(tables[0], [case.name, f"{case.how}, refined", *refined])
    text = "\n\n".join(_table(lines) for lines in tables if len(lines) > 1)
    (out / "table.md").write_text(text + "\n")
    print(f"\n{text}")
    return 0


def _simulated(folder: Path) -> Path:
    if not folder.exists():
        simulate(folder / "simulated", views=40, seed=7)
        simulate(folder / "simulated_session", views=40, seed=8, session=True)
    return folder


def _cases(data: Path, out: Path) -> Iterator[Case]:
    for listing in sorted(data.glob("**/transforms*.json")):
        folder = listing.parent
        phone = folder.name == "phone" and listing.name == "transforms_train.json"
        made = folder.parent.name.startswith("simulated") and folder.name == "capture"
        rendered = (folder.parent / "gt").is_dir()
        if phone or (listing.name == "transforms.json" and folder.name != "truth" and not rendered):
            name = folder.parent.name if phone or made else folder.name
            truth, _ = read_trajectory(str(listing))
            yield Case(name, "photos", _photos(listing, out / "photos" / name), truth)
            yield Case(name, "lens known", listing, truth)
    for images in sorted(data.glob("*/images")):
        if not [*images.parent.glob("transforms*.json"), *images.parent.glob("session.jsonl")]:
            yield Case(images.parent.name, "photos", images)
    for video in sorted(data.glob("*_video/*.mp4")):
        stills = video.parent.with_name(video.parent.name.removesuffix("_video")) / "transforms.json"
        truth, _ = read_trajectory(str(stills))
        yield Case(video.parent.name, "video", video, truth.ordered(), len(truth))


def _photos(listing: Path, to: Path) -> Path:
    """Nothing but the photos that the file lists."""
    shutil.rmtree(to, ignore_errors=True)
    for frame in json.loads(listing.read_text())["frames"]:
        name = Path(frame["file_path"])
        names = [name.with_name(name.name + suffix) for suffix in ("", *IMAGE_SUFFIXES)]
        found = next(each for each in names if (listing.parent / each).is_file())
        (to / found).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(listing.parent / found, to / found)
    return to


def _run(capture: Path, out: Path, **chosen: Any) -> Found:
    local.claim(out)
    done = asyncio.run(local.run(capture, out, Options(**chosen), lambda _: None, "prepare"))
    trajectory, _ = read_trajectory(str(out))
    said: Mapping[str, Any] = done["stages"]["prepare"]
    return trajectory, said


def _estimated(case: Case, out: Path) -> list[str]:
    """Cells of the table from `photos` on."""
    try:
        found, said = _run(case.folder, out, ignore_masks=True, ignore_poses=case.how == "lens known")
    except local.CaptureFailure as failure:
        return ["", "", failure.failed.error.message, *[""] * (len(ESTIMATED) - 5)]
    told, spent = said["metrics"]["poses"], said["metrics"]["poses"]["cpu_seconds"]
    steps = [spent.get(step, 0.0) for step in STEPS]
    costs = [f"{each:.1f}" for each in (*steps, said["cpu_seconds"] - sum(steps), said["cpu_seconds"])]
    if case.stills:
        found = _of_stills(case, found, said["metrics"]["video"]["frames"])
    judged = ["", "", "", ""] if case.truth is None else _judged(case.truth, found)
    return [str(told["photos"]), str(told["registered"]), *judged, f"{told['error']:.2f}", *costs]


def _judged(truth: Trajectory, found: Trajectory) -> list[str]:
    comparison = compare(truth, found)
    figures = report(truth, found, comparison)
    distance = 100 * figures["ate"] / _distance(truth.c2w)
    shift, turn = figures["ate_percent"], figures["rotation_deg"]
    return [f"{shift:.4f}", f"{distance:.3f}", f"{turn:.3f}", f"{figures['mAA']:.4f}"]


def _distance(c2w: Array) -> float:
    """Median, of the cameras from where they look."""
    target = nearest_point(c2w[:, :3, 3], -c2w[:, :3, 2])
    return float(np.median(np.linalg.norm(c2w[:, :3, 3] - target, axis=1)))


def _of_stills(case: Case, found: Trajectory, frames: int) -> Trajectory:
    """The cameras of frames, frame_00012 being the 13th, as those of the stills that the video shows in turn,
    each equally long; of a still that was taken twice the first."""
    assert case.truth is not None
    each = round(frames / case.stills)
    numbers = [int(Path(name).stem.removeprefix("frame_")) // each for name in found.names]
    first = [index for index, number in enumerate(numbers) if number not in numbers[:index]]
    names = tuple(case.truth.names[numbers[index]] for index in first)
    return Trajectory(names, found.c2w[first], found.metres)


def _sessions(data: Path) -> Iterator[tuple[str, Path, Array]]:
    """Name, folder, and true poses (N,4,4) of each frame."""
    for path in sorted(data.glob("**/session.jsonl")):
        folder = path.parent
        if (truth := folder / "truth/truth.json").is_file():
            frames = json.loads(truth.read_text())["frames"]
            columns = np.array([frame["true_pose_matrix_col_major"] for frame in frames])
            yield folder.name, folder, columns.reshape(-1, 4, 4).swapaxes(1, 2)
        elif (truth := folder.parent / "truth/transforms.json").is_file():
            yield folder.parent.name, folder, read_trajectory(str(truth))[0].c2w


def _session(folder: Path, truth: Array, out: Path) -> Iterator[list[str]]:
    """Cells of the second table from `poses` on. The first frame's world is the true one."""
    _, frames = session.parse(folder / "session.jsonl")
    cameras, anchors = recording.poses(frames), session.gather(frames)
    raw = _off(cameras, truth)
    refined, said = _run(_sent(folder, out / "sent"), out / "refined", ignore_masks=True)
    of_frame = {Path(str(frame.image)).name: index for index, frame in enumerate(frames)}
    chosen = [of_frame[Path(name).name] for name in refined.names]
    ways = {
        "raw": (cameras, truth),
        "as published": (published(cameras, anchors), truth),
        "compensated": (compensate(cameras, anchors).c2w, truth),
        f"compensated, then refined ({said['metrics']['poses']['how']})": (refined.c2w, truth[chosen]),
    }
    for name, (found, true) in ways.items():
        similarity = align_cameras(found, true).similarity
        errors = _off(found, true), _off(_rigidly(found, true), true), _off(moved(similarity, found), true)
        yield [name, *(f"{1000 * each:.2f}" for each in errors), f"{100 * (1 - errors[0] / raw):.1f}"]


def _sent(folder: Path, to: Path) -> Path:
    """The session without its truth."""
    shutil.rmtree(to, ignore_errors=True)
    shutil.copytree(folder, to, ignore=lambda _, names: {"truth", "masks"} & set(names))
    return to


def _rigidly(found: Array, truth: Array) -> Array:
    """The cameras moved to the others by a rotation and a shift (Kabsch 1976)."""
    middle, target = found[:, :3, 3].mean(0), truth[:, :3, 3].mean(0)
    u, _, vt = np.linalg.svd((truth[:, :3, 3] - target).T @ (found[:, :3, 3] - middle))
    motion = np.eye(4)
    motion[:3, :3] = u @ np.diag([1, 1, np.linalg.det(u @ vt)]) @ vt
    motion[:3, 3] = target - motion[:3, :3] @ middle
    return np.asarray(motion @ found)


def _off(found: Array, truth: Array) -> float:
    return float(np.sqrt(((found - truth)[:, :3, 3] ** 2).sum(1).mean()))


def _worse(cases: list[Case], out: Path) -> Iterator[Case]:
    """Spot, or what is simulated, with poses as a phone might have tracked them."""
    ideal = ("syn_spot", "simulated")
    of = next((case for case in cases if case.how == "lens known" and case.name in ideal), None)
    if of is None or of.truth is None:
        return
    document = json.loads(of.folder.read_text())
    for degrees in WORSE:
        folder = out / "worse" / f"{degrees}"
        photos = _photos(of.folder, folder)
        poses = _shaken(of.truth.c2w, degrees)
        lines: list[dict[str, Any]] = [{"type": "session"}]
        for index, (frame, pose) in enumerate(zip(document["frames"], poses, strict=True)):
            told = {**document, **frame}
            lines.append(
                {
                    "type": "frame",
                    "frame_index": index,
                    "image": frame["file_path"],
                    "camera": {"pose_matrix": pose.T.ravel().tolist(), "tracking_state": "TRACKING"},
                    "intrinsics": {
                        "width": told["w"], "height": told["h"], "fx": told["fl_x"], "fy": told["fl_y"],
                        "cx": told["cx"], "cy": told["cy"],
                    },
                    "anchors": [],
                }
            )  # fmt: skip
        (photos / "session.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
        yield Case(of.name, f"{degrees} deg off", folder, of.truth)


def _shaken(c2w: Array, degrees: float) -> Array:
    """(N,4,4) poses turned at random by so much, root mean square, and moved by as much of their distance."""
    rng = np.random.default_rng(0)
    each = np.radians(degrees) / np.sqrt(3)
    shaken = c2w.copy()
    for pose in shaken:
        pose[:3, :3] = pose[:3, :3] @ np.asarray(cv2.Rodrigues(each * rng.standard_normal(3))[0])
        pose[:3, 3] += each * _distance(c2w) * rng.standard_normal(3)
    return shaken


def _as_given(case: Case) -> list[str]:
    assert case.truth is not None
    _, frames = session.parse(case.folder / "session.jsonl")
    given = Trajectory(tuple(str(frame.image) for frame in frames), recording.poses(frames))
    return [str(len(given)), str(len(given)), *_judged(case.truth, given), *[""] * 6]


def _tell(lines: list[list[str]], row: list[str]) -> None:
    lines.append(row)
    print(" | ".join(row), flush=True)


def _table(lines: list[list[str]]) -> str:
    ruled = [lines[0], ["---"] * len(lines[0]), *lines[1:]]
    return "\n".join(f"| {' | '.join(line)} |" for line in ruled)


if __name__ == "__main__":
    sys.exit(main())
