"""`phototwin weights`: the weights of networks."""

import json
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn

from workers.console import AsJson, configured, fail
from workers.geometry.errors import NumericError
from workers.networks.fetch import CannotFetch
from workers.networks.fetch import fetch as fetch_weights
from workers.networks.weights import KNOWN, SETS, verified
from workers.runtime.settings import Settings
from workers.runtime.weights import IN_STORE

app = typer.Typer(
    help="Weights of networks. Example: `phototwin weights fetch carvekit`", no_args_is_help=True
)

_DEFAULT = "Default: PHOTOTWIN_WEIGHTS, or a folder of your cache."


@app.command()
def fetch(
    name: Annotated[str, typer.Argument(help=f"One of {', '.join((*SETS, *KNOWN))}.", show_default=False)],
    to: Annotated[Path | None, typer.Option(metavar="DIR", help=_DEFAULT)] = None,
) -> None:
    """Download the weights that have this name, and verify them; what is there already stays.

    Example: `phototwin weights fetch carvekit --to /srv/weights`
    """
    if name not in SETS and name not in KNOWN:
        fail(f"there are no weights {name}; choose one of {', '.join((*SETS, *KNOWN))}")
    folder = to or _folder(configured())
    for each in SETS.get(name, (name,)):
        print(f"{_fetched(each, folder)}  ({KNOWN[each].licence})")


def _fetched(name: str, folder: Path) -> Path:
    with Progress(TextColumn(f"{name:<12}"), BarColumn(), DownloadColumn(), transient=True) as progress:
        bar = progress.add_task(name, total=None)

        def show(came: int, total: int | None) -> None:
            progress.update(bar, completed=came, total=total)

        try:
            return fetch_weights(name, folder, show)
        except (CannotFetch, NumericError, OSError) as error:
            fail(str(error))


@app.command("list")
def list_weights(
    folder: Annotated[Path | None, typer.Option("--in", metavar="DIR", help=_DEFAULT)] = None,
    as_json: AsJson = False,
) -> None:
    """Say which weights are there, and whether they are what they should be.

    Example: `phototwin weights list`
    """
    settings = configured()
    folder = folder or _folder(settings)
    wanted = {name: (weights.file, weights.digest, weights.licence) for name, weights in KNOWN.items()}
    if settings.onnx_model and settings.onnx_sha256:
        wanted["onnx"] = (settings.onnx_model, f"sha256:{settings.onnx_sha256}", "as its supplier says")
    rows = [
        {"name": name, "file": str(folder / file), "state": _state(folder, file, digest), "licence": licence}
        for name, (file, digest, licence) in wanted.items()
    ]
    if as_json:
        print(json.dumps(rows, indent=1))
        return
    for row in rows:
        Console(soft_wrap=True).print(
            f"{row['name']:<12} {row['state']:<9} {row['file']}  ({row['licence']})"
        )


def _state(folder: Path, file: str, digest: str) -> str:
    try:
        verified(folder, file, digest)
    except NumericError as error:
        return error.code.removeprefix("weights_")
    return "verified"


def _folder(settings: Settings) -> Path:
    if (settings.weights or "").startswith(IN_STORE):
        fail("PHOTOTWIN_WEIGHTS is in the object store; name a folder with --to")
    return settings.weights_folder
