"""What is known of a capture's object, in any of three layouts."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from workers.evaluate.errors import CannotEvaluate
from workers.evaluate.mesh import Mesh, load_mesh
from workers.evaluate.views import View, held_out, read_views


@dataclass(frozen=True)
class Truth:
    """layout: "simulated", "rendered" or "capture". mesh: the true surface with its materials, or None.
    views: of the capture, all of them. judged: those to compare pictures with; judged_are: in words, which.
    """

    layout: str
    mesh: Mesh | None
    views: list[View]
    judged: list[View]
    judged_are: str


def read_truth(folder: Path) -> Truth:
    """The truth in `folder`, which is one of

    - what `phototwin simulate` makes, or its truth/: mesh.ply, transforms.json and masks/ beside capture/;
    - a rendered case: gt/mesh.glb and clean/transforms_test.json (more views: clean/transforms.json); or one
      of its captures, clean/ say;
    - a bare capture: transforms_test.json or transforms.json, with masks or transparent pictures.

    CannotEvaluate where it is none of these or incomplete.
    """
    if not folder.is_dir():
        raise CannotEvaluate(f"there is no folder {folder}")
    for simulated in (folder / "truth", folder):
        if (simulated / "truth.json").is_file():
            return _simulated(simulated)
    if (folder / "gt").is_dir():
        return _capture(folder / "clean", folder / "gt")
    return _capture(folder, folder.parent / "gt")


def _simulated(truth: Path) -> Truth:
    views = read_views(truth / "transforms.json", truth.parent / "capture", truth / "masks")
    return Truth("simulated", load_mesh(truth / "mesh.ply"), views, *held_out(views))


def _capture(folder: Path, truth: Path) -> Truth:
    """A capture with or without a test file of its own, and the folder of its true mesh, if there is one."""
    mesh = load_mesh(truth / "mesh.glb") if truth.is_dir() else None
    layout = "capture" if mesh is None else "rendered"
    whole, train, test = (folder / f"transforms{part}.json" for part in ("", "_train", "_test"))
    if test.is_file():
        tests = [replace(view, held_out=True) for view in read_views(test)]
        views = (
            read_views(whole) if whole.is_file() else tests + (read_views(train) if train.is_file() else [])
        )
        return Truth(layout, mesh, views, *held_out(tests))
    if not whole.is_file():
        raise CannotEvaluate(f"{folder} has no transforms_test.json, no transforms.json and no truth.json")
    views = read_views(whole)
    return Truth(layout, mesh, views, *held_out(views))
