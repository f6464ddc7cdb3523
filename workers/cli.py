"""The `phototwin` command."""

import json
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from broker.interface import Message
from contracts.envelope import Envelope, event_id, new_traceparent
from contracts.events import JobProgress, Options, Stage
from workers import (
    cli_access,
    cli_deadletter,
    cli_masks,
    cli_operations,
    cli_schedule,
    cli_schemas,
    cli_topology,
    cli_train,
    cli_weights,
    local,
    service,
    viewing,
)
from workers.appending import matches_in
from workers.cli_options import (
    Capture,
    Hints,
    Holdout,
    IgnoreMasks,
    IgnorePoses,
    KnownLengthFile,
    LaneOption,
    MapperOption,
    MarkerDictionary,
    MarkerSide,
    Method,
    OriginOption,
    ProfileOption,
    RefinePoses,
    Review,
    Seed,
    SegmenterOption,
    chosen,
)
from workers.cli_poses import compare_poses
from workers.console import AsJson, configured, connect, do, fail, read_decisions
from workers.evaluate.errors import CannotEvaluate
from workers.gateway import cli as cli_gateway
from workers.runtime import logs, s3
from workers.runtime.settings import Settings
from workers.simulate.capture import simulate as simulate_capture
from workers.stages import WORKERS
from workers.upload import files_of, upload

app = typer.Typer(
    help="Photos in, digital twin out.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
)
app.add_typer(cli_topology.app, name="topology")
app.add_typer(cli_masks.app, name="masks")
app.add_typer(cli_schemas.app, name="schemas")
app.add_typer(cli_weights.app, name="weights")
app.add_typer(cli_train.app, name="train")
app.command()(cli_train.evaluate_single_view)
app.command("compare-poses")(compare_poses)
app.command()(cli_operations.cancel)
app.command()(cli_operations.sweep)
app.command()(cli_schedule.schedule)
app.add_typer(cli_deadletter.app, name="deadletter")
app.add_typer(cli_access.storage_app, name="storage")
app.add_typer(cli_gateway.app, name="gateway")
app.command()(cli_gateway.serve)
app.command()(cli_gateway.reconcile)


@app.command()
def run(
    capture: Capture,
    out: Annotated[Path, typer.Option(help="Folder for the results.")] = Path("model"),
    profile: ProfileOption = "standard",
    method: Method = "auto",
    segmenter: SegmenterOption = "auto",
    seed: Seed = 0,
    until: Annotated[Stage, typer.Option(help="Last stage to run.")] = "package",
    ignore_masks: IgnoreMasks = False,
    ignore_poses: IgnorePoses = False,
    refine_poses: RefinePoses = "auto",
    mapper: MapperOption = "incremental",
    holdout: Holdout = 8,
    hints: Hints = None,
    known_length: KnownLengthFile = None,
    marker: MarkerSide = None,
    marker_dictionary: MarkerDictionary = "4x4_50",
    origin: OriginOption = "world",
    review: Review = False,
    decisions: Annotated[
        Path | None, typer.Option(help="Go on with these decisions on the masks (see `masks review`).")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Turn a capture into a model, in one process and without any server.

    Photos that an earlier run with the same `--out` has matched with each other are not matched again.

    Example: `phototwin run my-capture/ --out my-model`
    """
    options = chosen(
        profile=profile,
        method=method,
        segmenter=segmenter,
        seed=seed,
        holdout=holdout,
        ignore_masks=ignore_masks,
        ignore_poses=ignore_poses,
        refine_poses=refine_poses,
        mapper=mapper,
        hints=hints,
        known_length=known_length,
        marker=marker,
        marker_dictionary=marker_dictionary,
        origin=origin,
        review=review or decisions is not None,
    )
    if review and decisions is None and until != "prepare":
        until = "segment"
    console = Console(stderr=as_json)
    logs.configure("CRITICAL")

    async def watched() -> dict[str, Any]:
        files_of(capture)  # before any bar is drawn or anything in `out` is touched
        decided = None if decisions is None else read_decisions(decisions)
        matches = matches_in(out)
        local.claim(out)
        with Bars(console, until) as show:
            return await local.run(capture, out, options, show, until, decided, matches)

    result = do(watched(), as_json)
    if as_json:
        print(json.dumps(result))
        return
    for warning in result["warnings"]:
        console.print(f"[yellow]Note:[/] {warning}")
    seconds = sum(stage["cpu_seconds"] for stage in result["stages"].values())
    print(f"made in {seconds:.0f} CPU seconds{_quality(result)}")
    print(_losses(result), end="")
    if advice := result["stages"]["prepare"]["metrics"].get("quality", {}).get("advice"):
        print(f"next time: {advice}")
    for stage in result["stages"].values():
        for name in stage["files"]:
            if name in local.RESULTS:
                print(f"{name:<18} {out / name}")
    if review and decisions is None and "segment" in result["stages"]:
        print(f"masks              {out / 'masks'}; next: phototwin masks review {out}")


def _quality(result: dict[str, Any]) -> str:
    metrics = result["stages"].get("reconstruct", {}).get("metrics", {})
    for views, meaning in (("holdout", "views kept out"), ("training", "the views used")):
        overlap, noise = (metrics.get(f"{views}_{figure}") for figure in ("silhouette_iou", "psnr"))
        if overlap is not None:
            return f"; on {meaning}, outlines agree to {overlap:.1%} and colours to {noise} dB"
    return ""


def _losses(result: dict[str, Any]) -> str:
    metrics = result["stages"].get("reconstruct", {}).get("metrics", {})
    told = [
        f"{metrics[f'{views}_loss']:.6f} on {meaning} (published {metrics[f'{views}_loss_published']:.6f})"
        for views, meaning in (("training", "the views used"), ("holdout", "views kept out"))
        if f"{views}_loss" in metrics
    ]
    return f"loss: {', '.join(told)}\n" if told else ""


@app.command()
def worker(
    stage: Annotated[Stage, typer.Argument(show_default=False)],
    drain: Annotated[bool, typer.Option("--drain", help="End when nothing is left to do.")] = False,
    once: Annotated[bool, typer.Option("--once", help="End after one event too.")] = False,
) -> None:
    """Run one worker on RabbitMQ and S3; settings come from PHOTOTWIN_* variables.

    Example: `PHOTOTWIN_AMQP_URL=amqp://user:secret@rabbit/ phototwin worker prepare`
    """
    do(service.run(stage, configured(), until="once" if once else "empty" if drain else "stopped"))


@app.command()
def publish(
    what: Annotated[Path, typer.Argument(help="A capture, or a file with an event.", show_default=False)],
    capture_id: Annotated[str | None, typer.Option(help="Default: a new one.")] = None,
    tenant: Annotated[str, typer.Option()] = "default",
    generation: Annotated[int, typer.Option(min=0, help="Raise it to have all done again.")] = 0,
    profile: ProfileOption = "standard",
    method: Method = "auto",
    segmenter: SegmenterOption = "auto",
    seed: Seed = 0,
    ignore_masks: IgnoreMasks = False,
    ignore_poses: IgnorePoses = False,
    refine_poses: RefinePoses = "auto",
    mapper: MapperOption = "incremental",
    holdout: Holdout = 8,
    hints: Hints = None,
    known_length: KnownLengthFile = None,
    marker: MarkerSide = None,
    marker_dictionary: MarkerDictionary = "4x4_50",
    origin: OriginOption = "world",
    review: Review = False,
    lane: LaneOption = "interactive",
    as_json: AsJson = False,
) -> None:
    """Upload a capture and announce it; or publish an event kept in a file, as it is.

    Example: `phototwin publish my-capture/ --capture-id shelf-42`
    """
    options = chosen(
        profile=profile,
        method=method,
        segmenter=segmenter,
        seed=seed,
        holdout=holdout,
        ignore_masks=ignore_masks,
        ignore_poses=ignore_poses,
        refine_poses=refine_poses,
        mapper=mapper,
        hints=hints,
        known_length=known_length,
        marker=marker,
        marker_dictionary=marker_dictionary,
        origin=origin,
        review=review,
        lane=lane,
    )
    whose = {"tenant": tenant, "capture_id": capture_id or uuid.uuid4().hex, "generation": generation}
    envelope = do(_announce(what, whose, options, configured()), as_json)
    said = {"capture_id": envelope.data.capture_id, "event_id": envelope.id, "type": envelope.type}
    print(json.dumps(said) if as_json else f"published {envelope.type} for {envelope.data.capture_id}")


@app.command()
def simulate(
    out: Annotated[Path, typer.Argument(help="Folder to make.", show_default=False)],
    views: Annotated[int, typer.Option(min=4, max=600, help="Number of photos.")] = 36,
    seed: Seed = 0,
    plain: Annotated[bool, typer.Option("--plain", help="An object without any texture.")] = False,
    masks: Annotated[bool, typer.Option(help="Send masks along, as an app that makes them.")] = True,
    session: Annotated[
        bool, typer.Option("--session", help="Poses as ARCore tells them, with drift.")
    ] = False,
) -> None:
    """Make a phone capture of a procedural object, and keep its truth beside it.

    Example: `phototwin simulate demo --views 36`, then `phototwin run demo/capture`
    """
    with Progress(TextColumn("simulate   "), BarColumn(), TimeElapsedColumn()) as progress:
        bar = progress.add_task("simulate", total=1.0)
        simulate_capture(
            out,
            views=views,
            seed=seed,
            plain=plain,
            masks=masks,
            session=session,
            report=lambda fraction: progress.update(bar, completed=fraction),
        )
    print(f"capture            {out / 'capture'}\ntruth              {out / 'truth'}")


@app.command()
def evaluate(
    model: Annotated[Path, typer.Argument(help="mesh.obj, model.glb or a run's folder", show_default=False)],
    truth: Annotated[Path, typer.Option(help="A capture with its truth, or with test views alone.")],
    as_json: AsJson = False,
) -> None:
    """Measure a model: surface, outlines and colours on held-out views, materials.

    Example: `phototwin simulate demo --views 24`, `phototwin run demo/capture --out demo/model`, then
    `phototwin evaluate demo/model --truth demo/truth`
    """
    from workers.evaluate import report  # here: half a second that no other command need wait

    try:
        figures = report.evaluate(model, truth)
    except (CannotEvaluate, OSError) as error:
        if as_json:
            print(json.dumps({"error": {"message": str(error)}}))
        fail(str(error))
    print(json.dumps(figures, indent=1) if as_json else report.in_words(figures))


@app.command()
def view(
    model: Annotated[Path, typer.Argument(help="A run's folder, or a GLB file.", show_default=False)],
    out: Annotated[Path | None, typer.Option(help="Where to keep the page. Default: a new folder.")] = None,
    open_it: Annotated[bool, typer.Option("--open/--no-open", help="In the browser.")] = True,
) -> None:
    """Show a model from all sides: one HTML file that needs no network.

    Example: `phototwin view my-model`
    """
    do(viewing.show(model, out, open_it=open_it))


@app.command()
def fbx(
    model: Annotated[Path, typer.Argument(help="A run's folder, or a GLB file.", show_default=False)],
    out: Annotated[Path, typer.Option(help="The file to write.")] = Path("model.fbx"),
) -> None:
    """Write a model as FBX, by Blender, which has to be installed.

    Example: `phototwin fbx my-model --out my-model.fbx`
    """
    do(viewing.to_fbx(model, out))
    print(out)


async def _announce(what: Path, whose: dict[str, Any], options: Options, settings: Settings) -> Envelope:
    envelope = _event_in(what)
    if envelope is None:
        async with s3.connect(settings) as store:
            event = await upload(store, what, options=options, **whose)
        content = "".join(file.sha256 or "" for file in event.files) + options.model_dump_json()
        envelope = Envelope.wrap(
            event,
            id=event_id(event.event_type(), f"{event.folder}{event.generation}{content}"),
            source="phototwin/publish",
            traceparent=new_traceparent(),
        )
    broker = await connect(settings)
    try:
        await broker.publish(Message(envelope.encode(), envelope.data.routing_key, envelope.id))
    finally:
        await broker.close()
    return envelope


def _event_in(path: Path) -> Envelope | None:
    """The event in a file; None for what is a capture instead."""
    if path.suffix != ".json" or not path.is_file():
        return None
    body = path.read_bytes()
    if b'"specversion"' not in body:
        return None
    return Envelope.parse(body)


class Bars:
    """Progress bars, one a stage."""

    def __init__(self, console: Console, until: Stage) -> None:
        stages = list(WORKERS)
        self._progress = Progress(
            TextColumn("{task.description:<12}"),
            BarColumn(),
            TextColumn("{task.percentage:>3.0f}%"),
            TimeElapsedColumn(),
            TextColumn("{task.fields[step]}"),
            console=console,
        )
        self._tasks = {
            stage: self._progress.add_task(stage, total=1.0, start=False, step="")
            for stage in stages[: stages.index(until) + 1]
        }

    def __enter__(self) -> Callable[[JobProgress], None]:
        self._progress.start()
        return self._show

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def _show(self, progress: JobProgress) -> None:
        task = self._tasks[progress.stage]
        self._progress.start_task(task)
        self._progress.update(task, completed=progress.fraction, step=progress.step)
        if progress.fraction >= 1:
            self._progress.stop_task(task)


def main() -> None:
    app()


if __name__ == "__main__":
    main()
