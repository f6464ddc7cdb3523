"""What every command shares: how settings are read, servers reached, and failures told."""

import asyncio
import json
import sys
from collections.abc import Coroutine
from pathlib import Path
from typing import Annotated, Any, NoReturn, TypeVar

import typer

from broker.management import Management
from broker.rabbitmq import Broker
from contracts.errors import PhototwinError
from contracts.review import MAX_BYTES, DecisionsFile
from workers import local
from workers.masks import CannotReview
from workers.runtime.settings import Settings, SettingsError, read_settings
from workers.upload import CaptureError

AsJson = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]
T = TypeVar("T")
S = TypeVar("S", bound=Settings)


def do(work: Coroutine[Any, Any, T], as_json: bool = False) -> T:
    """Run it; any foreseen error is one plain sentence and exit status 1."""
    try:
        return asyncio.run(work)
    except local.CaptureFailure as failure:
        error = failure.failed.error
        if as_json:
            print(json.dumps({"stage": failure.failed.stage, "error": error.model_dump()}))
        fail(f"{failure.failed.stage}: {error.sentence} {error.action} ({error.code}: {error.message})")
    except PhototwinError as error:
        if as_json:
            print(json.dumps({"error": {"code": error.code, "message": error.message}}))
        fail(f"{error.message} ({error.code})")
    except (CaptureError, CannotReview, SettingsError, OSError) as error:
        fail(str(error))
    except KeyboardInterrupt:
        fail("interrupted", status=130)


def configured() -> Settings:
    """The settings in the environment."""
    return settings_of(Settings)


def settings_of(kind: type[S]) -> S:
    """As `configured`, of those who have more of them."""
    try:
        return read_settings(kind)
    except SettingsError as error:
        fail(str(error))


async def connect(settings: Settings) -> Broker:
    url = settings.amqp_url.get_secret_value()
    return await Broker.connect(url, settings.topology, name="phototwin command", ca_file=settings.ca_file)


def management(settings: Settings) -> Management:
    url = settings.management_url.get_secret_value() if settings.management_url else None
    return Management.of(settings.amqp_url.get_secret_value(), url, settings.ca_file)


def fail(sentence: str, status: int = 1) -> NoReturn:
    print(f"phototwin: {sentence}", file=sys.stderr)
    raise typer.Exit(status)


def read_decisions(path: Path) -> DecisionsFile:
    """Raises ReviewUnreadable, OSError."""
    with path.open("rb") as file:
        return DecisionsFile.parse(file.read(MAX_BYTES + 1))
