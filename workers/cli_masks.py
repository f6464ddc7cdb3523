"""`phototwin masks`: masks looked at and decided on by a person."""

import asyncio
import json
from pathlib import Path
from typing import Annotated

import typer

from contracts.envelope import Envelope
from workers import masks
from workers.console import AsJson, configured, connect, do, read_decisions
from workers.runtime import s3

app = typer.Typer(
    help="Look at masks and decide on them. Example: `phototwin masks review my-model`", no_args_is_help=True
)


@app.command()
def review(
    out: Annotated[Path, typer.Argument(metavar="DIR", help="A run's folder.", show_default=False)],
    decisions: Annotated[
        Path | None, typer.Option(help="Apply what the page saved, instead of making the page.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Write DIR/review.html, one file to open anywhere: look at each mask, mend it, save decisions.json. With
    `--decisions` put the masks decided on in place of those in DIR/masks.

    Example: `phototwin run my-capture/ --out my-model --review`, `phototwin masks review my-model`, then
    `phototwin run my-capture/ --out my-model --decisions decisions.json`
    """
    if decisions is None:
        page = do(asyncio.to_thread(masks.write_page, out), as_json)
        said = f"{page}: open it, then: phototwin run CAPTURE --out {out} --decisions decisions.json"
        print(json.dumps({"page": str(page)}) if as_json else said)
        return

    async def apply(path: Path) -> dict[str, list[str]]:
        return masks.apply_decisions(out, read_decisions(path))

    done = do(apply(decisions), as_json)
    counts = {name: len(stems) for name, stems in done.items()}
    said = ", ".join(f"{count} {name}" for name, count in counts.items())
    print(
        json.dumps(done)
        if as_json
        else f"{out / 'masks'}: {said}; 'phototwin run' makes the proposed ones again"
    )


@app.command()
def decide(
    capture_id: Annotated[str, typer.Argument(show_default=False)],
    decisions: Annotated[Path, typer.Argument(metavar="DECISIONS.JSON", show_default=False)],
    tenant: Annotated[str, typer.Option()] = "default",
    generation: Annotated[
        int | None, typer.Option(min=0, help="Above the last one: decide anew. Default: the proposal's.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Decide on the masks that servers have proposed for a capture; its reconstruction then begins.

    Example: `phototwin masks decide shelf-42 decisions.json`
    """

    async def announce() -> Envelope:
        settings, decided = configured(), read_decisions(decisions)
        broker = await connect(settings)
        try:
            async with s3.connect(settings) as store:
                return await masks.decide(broker, store, capture_id, tenant, decided, generation)
        finally:
            await broker.close()

    envelope = do(announce(), as_json)
    said = {"capture_id": capture_id, "event_id": envelope.id, "type": envelope.type}
    print(json.dumps(said) if as_json else f"published {envelope.type} for {capture_id}")
