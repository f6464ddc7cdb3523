"""What `phototwin run` and `phototwin publish` may be told of a capture."""

import json
from pathlib import Path
from typing import Annotated, Any

import typer
from pydantic import ValidationError

from contracts.events import Dictionary, Lane, Mapper, Options, Origin, Profile, Refine, Segmenter
from workers.console import fail

Capture = Annotated[
    Path, typer.Argument(help="Folder, zip, video, photo, or transforms*.json", show_default=False)
]
ProfileOption = Annotated[Profile, typer.Option(help="How much effort to spend.")]
Method = Annotated[str, typer.Option(help="Reconstruction method.")]
SegmenterOption = Annotated[Segmenter, typer.Option("--segmenter", help="What makes masks.")]
Seed = Annotated[int, typer.Option(min=0, max=2**31 - 1, help="Of whatever is drawn at random.")]
Holdout = Annotated[int, typer.Option(min=0, max=1000, help="Keep every N-th view for the report; 0: none.")]
IgnoreMasks = Annotated[bool, typer.Option("--ignore-masks", help="Do as if no masks were sent.")]
IgnorePoses = Annotated[bool, typer.Option("--ignore-poses", help="Do as if no poses were sent.")]
RefinePoses = Annotated[
    Refine, typer.Option(help="Give poses up for others that fit the photos much better.")
]
MapperOption = Annotated[Mapper, typer.Option("--mapper", help="What estimates poses that were not sent.")]
Hints = Annotated[
    Path | None,
    typer.Option(
        help="Where the object is: JSON as of the event's option `hints`.", exists=True, dir_okay=False
    ),
]
Review = Annotated[bool, typer.Option("--review", help="Stop at the masks, for a person to look at them.")]
OriginOption = Annotated[
    Origin, typer.Option("--origin", help="Where the model's origin is: as in the capture, or its base.")
]
LaneOption = Annotated[
    Lane, typer.Option("--lane", help="bulk: whoever waits for an interactive one goes first.")
]
KnownLengthFile = Annotated[
    Path | None,
    typer.Option(
        "--known-length",
        help="How far apart two points are: JSON as of the event's option `known_length`.",
        exists=True,
        dir_okay=False,
    ),
]
MarkerSide = Annotated[
    float | None, typer.Option("--marker", help="Side of printed markers in view, in metres: sets the scale.")
]
MarkerDictionary = Annotated[Dictionary, typer.Option(help="What the markers are of.")]


def chosen(
    *,
    hints: Path | None,
    known_length: Path | None,
    marker: float | None,
    marker_dictionary: Dictionary,
    **more: Any,
) -> Options:
    """The options that a command was given; where they break the contract it ends, with a sentence."""
    given: dict[str, Any] = {
        "hints": () if hints is None else _read(hints, "hints"),
        "known_length": None if known_length is None else _read(known_length, "known length"),
        "marker": None if marker is None else {"metres": marker, "dictionary": marker_dictionary},
    }
    try:
        return Options(**given, **more)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = "-".join(str(part) for part in first["loc"]).replace("_", "-")
        fail(f"--{where}: {first['msg']}" if where else first["msg"])


def _read(path: Path, what: str) -> Any:
    try:
        return json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError) as error:
        fail(f"{path} holds no {what}: {error}")
