"""`phototwin compare-poses`: how far two trajectories of the same photos are from each other."""

import json
from pathlib import Path
from typing import Annotated

import typer

from contracts.errors import PhototwinError
from workers.console import AsJson, fail
from workers.evaluate.errors import CannotEvaluate
from workers.upload import CaptureError


def compare_poses(
    a: Annotated[str, typer.Argument(metavar="A", help="The reference.", show_default=False)],
    b: Annotated[str, typer.Argument(metavar="B", help="What is compared with it.", show_default=False)],
    out: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Also leave trajectories.png and difference.json there."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Align the camera poses of B to those of A, matched by the photos' names; tell how far apart they are.

    A and B: a capture in any layout with poses, a run's folder or its cameras.json, a COLMAP model, or a
    scene of the Image Matching Challenge as train_labels.csv#dataset/scene.

    Example: `phototwin compare-poses capture/ my-model --out poses`
    """
    # Here: a quarter of a second that no other command need wait.
    from workers.evaluate import pose_report
    from workers.evaluate.trajectory import compare
    from workers.evaluate.trajectory_plot import write_plot
    from workers.trajectories import read_trajectory

    try:
        (reference, scene), (other, _) = read_trajectory(a), read_trajectory(b)
        comparison = compare(reference, other)
        report = pose_report.report(reference, other, comparison, scene)
        if out is not None:
            out.mkdir(parents=True, exist_ok=True)
            write_plot(out / "trajectories.png", comparison, (f"A: {Path(a).name}", f"B: {Path(b).name}"))
            (out / "difference.json").write_text(json.dumps(pose_report.difference(comparison), indent=1))
    except (PhototwinError, CannotEvaluate, CaptureError, OSError) as error:
        code = {"code": error.code} if isinstance(error, PhototwinError) else {}
        if as_json:
            print(json.dumps({"error": {**code, "message": str(error)}}))
        fail(f"{error} ({error.code})" if isinstance(error, PhototwinError) else str(error))
    print(json.dumps(report) if as_json else pose_report.in_words(report))
