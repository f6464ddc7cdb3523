"""`phototwin train single-view` and `phototwin evaluate-single-view`: our own network, made and judged."""

import json
import signal
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from workers.console import AsJson, fail

if TYPE_CHECKING:
    from workers.training.examples import Examples
    from workers.training.optimisation import Plan, State

app = typer.Typer(
    help="Networks of our own. Example: `phototwin train single-view --out build/network`",
    no_args_is_help=True,
)

_MEANT = 256  # shapes that the mean shape is of, and by which a network is calibrated
_SHAPES = 4000
_JUDGED = 128  # shapes held out that every epoch is judged by
Data = Annotated[
    Path | None,
    typer.Option(
        metavar="DIR",
        help="Shapes to learn from: a folder of meshes, or ShapeNet as OccNet or 3D-R2N2 lay it out. "
        "Default: parts that are generated.",
    ),
]
Cache = Annotated[
    Path | None, typer.Option(metavar="DIR", help="Where shapes are kept. Default: `shapes` in --out.")
]


@contextmanager
def _stoppable(told: str) -> Iterator[None]:
    """Around a command that makes shapes: SIGTERM ends it as an interrupt from the keyboard does."""
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    except KeyboardInterrupt:
        fail(told, status=130)
    except BrokenProcessPool:
        fail("a process that makes shapes was ended, perhaps for want of memory")
    except OSError as error:
        fail(str(error))
    finally:
        signal.signal(signal.SIGTERM, before)


@app.callback()
def _train() -> None:
    """A group, though it has one command."""


@app.command("single-view")
@_stoppable("stopped; started again with the same options, it goes on")
def single_view(
    out: Annotated[Path, typer.Option(metavar="DIR", help="Where the network, its plots and checkpoint go.")],
    data: Data = None,
    cache: Cache = None,
    shapes: Annotated[
        int | None,
        typer.Option(min=16, help=f"Generated parts to learn from, without --data. Default: {_SHAPES}."),
    ] = None,
    width: Annotated[float, typer.Option(min=0.05, max=1, help="Share of the published channels.")] = 1.0,
    pyramid: Annotated[bool, typer.Option(help="Whether features are combined by a pyramid.")] = True,
    labels: Annotated[str, typer.Option(help="adaptive, fixed or binary.")] = "adaptive",
    epochs: Annotated[int, typer.Option(min=1)] = 50,
    batch: Annotated[int, typer.Option(min=2, help="Shapes at a time.")] = 16,
    points: Annotated[int, typer.Option(min=80, help="Of each shape in an epoch.")] = 10_000,
    even: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Of these, from anywhere; the rest lie near the surface. Default: an eighth, 128 at most.",
        ),
    ] = None,
    rate: Annotated[float, typer.Option(min=1e-6, max=1, help="Adam's.")] = 1e-4,
    seed: Annotated[int, typer.Option(min=0, max=2**32 - 1)] = 0,
) -> None:
    """Train the network of method single-view. A stopped training goes on when it is started again.

    Leaves weights.safetensors, history.json and progress.png in --out.

    Example: `phototwin train single-view --out build/network --width 0.25 --points 1000 --rate 1e-3`
    """
    even = min(128, points // 8) if even is None else even
    if even >= points:
        fail("--even must be less than --points")
    if data is not None and shapes is not None:
        fail("--shapes is of generated parts; of --data all shapes are learned from")
    if labels not in ("adaptive", "fixed", "binary"):
        fail(f"there are no labels {labels}; choose adaptive, fixed or binary")
    # Here: PyTorch takes seconds that no other command need wait.
    from workers.reconstruct.methods.single_view.network import Design
    from workers.reconstruct.methods.single_view.weights import read_network, write_network
    from workers.training.judging import by_network, calibrate, overlaps
    from workers.training.optimisation import Plan, train
    from workers.training.plots import write_progress

    plan = Plan(
        Design(width, pyramid),
        labels,  # type: ignore[arg-type]
        epochs,
        batch,
        points - even,
        even,
        rate,
        seed,
    )
    _folder(out, "--out")
    kept = _folder(cache or out / "shapes", "--cache")
    learned, judged = _shapes(data, kept, shapes or _SHAPES, plan.near)
    times = [time.monotonic()]

    def tell(epoch: int, state: "State") -> None:
        times.append(time.monotonic())
        history = {"plan": _plain(plan), **state.__dict__}
        (out / "history.json").write_text(json.dumps(history, indent=1))
        write_progress(out / "progress.png", state)
        each = (times[-1] - times[0]) / (len(times) - 1)
        print(
            f"epoch {epoch}/{epochs}: loss {state.losses[-1]:.4f}, s {state.sharpness[-1]:.2f}, "
            f"IoU held out {state.held_out[-1]:.4f}, {each * (epochs - epoch) / 60:.0f} min left",
            flush=True,
        )

    try:
        network, _ = train(
            plan,
            learned,
            lambda made: float(overlaps(lambda some: by_network(made, some), judged).mean()),
            out / "checkpoint.pt",
            tell,
        )
        calibrate(network, learned.first(_MEANT))
        weights = out / "weights.safetensors"
        write_network(weights, network, {"plan": json.dumps(_plain(plan))})
        written = read_network(weights)
    except ValueError as error:
        fail(str(error))
    overlap = float(overlaps(lambda some: by_network(written, some), judged).mean())
    print(f"{weights}: IoU held out {overlap:.4f}")


def _folder(path: Path, option: str) -> Path:
    """Made where it is not there yet."""
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        fail(f"{path} cannot be a folder ({error.strerror}); name another by {option}")
    return path


def _progress(what: str, file: Any = None) -> Callable[[float], None]:
    return lambda part: print(f"{what}: {part:.0%}", file=file, flush=True)


def _shapes(data: Path | None, cache: Path, count: int, near: int) -> tuple["Examples", "Examples"]:
    """To learn from, and held out."""
    from workers.training.folders import loaded
    from workers.training.shapes import HELD_OUT, Kept, generate

    more = Kept(near=max(Kept().near, near))
    try:
        if data is None:
            return (
                generate(cache, range(count), more, _progress("parts to learn from")),
                generate(cache, range(HELD_OUT, HELD_OUT + _JUDGED), Kept(), _progress("parts held out")),
            )
        with warnings.catch_warnings(record=True) as told:
            try:
                return loaded(data, cache, more, _progress("shapes"))
            finally:
                for each in told:
                    print(f"phototwin: {each.message}", file=sys.stderr)
    except ValueError as error:
        fail(str(error))


def _plain(plan: "Plan") -> dict[str, Any]:
    return {**plan.__dict__, "design": plan.design._asdict()}


@_stoppable("stopped")
def evaluate_single_view(
    weights: Annotated[
        Path | None, typer.Argument(help="A weights.safetensors. Default: the one that ships.")
    ] = None,
    parts: Annotated[int, typer.Option(min=1, help="How many held-out parts.")] = 32,
    cache: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR", help="Where shapes are kept, as in training. Without it they are made anew."
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Judge a network of method single-view on generated parts that it was not trained on, beside the mask
    inflated to an ellipsoid and the mean shape of generated parts, seeds 0 to 255.

    IoU; Chamfer-L1 in tenths of the longest side; edge Chamfer, times 1000; likeness of depth from 20 views.

    Example: `phototwin evaluate-single-view build/network/weights.safetensors`
    """
    import tempfile

    from workers.reconstruct.methods.single_view.weights import read_network, shipped
    from workers.training import evaluation
    from workers.training.shapes import HELD_OUT, Kept, generate

    try:
        network = read_network(weights) if weights else shipped()
        with tempfile.TemporaryDirectory(prefix="phototwin-") as folder:
            kept = _folder(cache or Path(folder), "--cache")
            learned = generate(kept, range(_MEANT), Kept(), _progress("parts made", sys.stderr))
    except ValueError as error:
        fail(str(error))
    tell = _progress("parts judged", sys.stderr)
    rivals = evaluation.rivals(network, learned)
    found: dict[str, list[dict[str, float | None]]] = {name: [] for name in rivals}
    for count, task in enumerate(evaluation.parts(range(HELD_OUT, HELD_OUT + parts)), 1):
        for name, rival in rivals.items():
            found[name].append(evaluation.compared(rival, task))
        tell(count / parts)
    table = {name: evaluation.means(rows) for name, rows in found.items()}
    if as_json:
        print(json.dumps({"parts": parts, "means": table}))
        return
    print("| by | IoU | Chamfer-L1 | edge Chamfer x 1000 | likeness |\n| --- | --- | --- | --- | --- |")
    for name, row in table.items():
        values = [row["iou"], row["chamfer_l1"], row["edge_chamfer"], row["key_views"]]
        scaled = [v if v is None else v * k for v, k in zip(values, (1, 1, 1000, 1), strict=True)]
        print(f"| {name} | " + " | ".join("" if v is None else f"{v:.4f}" for v in scaled) + " |")
