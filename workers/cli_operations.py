"""`phototwin cancel` and `phototwin sweep`: what operating an installation takes, besides dead letters."""

import asyncio
import json
import sys
from contextlib import suppress
from typing import Annotated

import typer
from pydantic import ValidationError

from broker.interface import Message
from contracts.envelope import Envelope, event_id, new_traceparent
from contracts.errors import StorageUnavailable
from contracts.events import CaptureCancelled, Event
from workers.console import AsJson, configured, connect, do, fail
from workers.runtime import s3
from workers.runtime.settings import Settings
from workers.runtime.sweep import Swept
from workers.runtime.sweep import sweep as sweep_store

KNOWN_SECONDS = 5.0
"""The store is asked for no longer: the cancellation is out, and that is what counts."""


def cancel(
    capture_id: Annotated[str, typer.Argument(show_default=False)],
    tenant: Annotated[str, typer.Option()] = "default",
    generation: Annotated[int, typer.Option(min=0, help="This one and all before it.")] = 0,
    reason: Annotated[str, typer.Option(help="Kept with the capture.")] = "",
) -> None:
    """Stop all work on a capture, within two seconds; nothing is published for it any more.

    Example: `phototwin cancel shelf-42`
    """
    try:
        event = CaptureCancelled(tenant=tenant, capture_id=capture_id, generation=generation, reason=reason)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        fail(f"{first['loc'][0]}: {first['msg']}")
    envelope = Envelope.wrap(
        event,
        id=event_id(event.event_type(), f"{event.folder}{generation}"),
        source="phototwin/cancel",
        traceparent=new_traceparent(),
    )

    settings = configured()

    async def publish() -> bool:
        broker = await connect(settings)
        try:
            await broker.publish(Message(envelope.encode(), event.routing_key, envelope.id))
        finally:
            await broker.close()
        return await _is_known(event, settings)

    known = do(publish())
    print(f"asked to cancel {tenant}/{capture_id}, generation {generation} and those before it")
    if not known:
        print(
            f"phototwin: the store has nothing of {tenant}/{capture_id}: is that its id? A capture that gets "
            f"this id later has to be published as generation {generation + 1}",
            file=sys.stderr,
        )


async def _is_known(event: Event, settings: Settings) -> bool:
    """Whether the store has more of a capture than that it ended; yes where that cannot be told."""
    ended = f"{event.folder}outcomes/"
    with suppress(StorageUnavailable, TimeoutError):
        async with asyncio.timeout(KNOWN_SECONDS), s3.connect(settings) as store:
            async for entry in store.listing(event.folder):
                if not entry.key.startswith(ended):
                    return True
            return False
    return True


def sweep(
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what would go, and remove nothing.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Remove uploads, intermediate results and checkpoints that have had their time
    (PHOTOTWIN_KEEP_..._DAYS); never those of a capture that is being worked on. Run it daily.

    Example: `phototwin sweep --dry-run`
    """
    settings = configured()

    async def run() -> Swept:
        async with s3.connect(settings) as store:
            return await sweep_store(store, settings, dry_run=dry_run)

    swept = do(run(), as_json)
    if as_json:
        print(json.dumps({"objects": swept.objects, "bytes": swept.bytes, "spared": swept.spared}))
        return
    for folder, number in sorted(swept.objects.items()):
        print(f"{folder:<12} {number} objects, {swept.bytes[folder] / 1e6:.1f} MB")
    if swept.spared:
        print(f"left alone because they are being worked on: {', '.join(swept.spared)}")
    print("nothing was removed" if dry_run or not swept.objects else "removed")
