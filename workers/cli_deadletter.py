"""`phototwin deadletter`: what was given up, and what to do about it."""

import asyncio
import json
import signal
import sys
from dataclasses import replace
from datetime import UTC, datetime
from difflib import get_close_matches
from typing import Annotated, Any

import typer

from broker.deadletter import WORKERS, CannotReplay, Filter, Held, browse
from contracts.errors import table
from workers.console import AsJson, configured, connect, do, fail
from workers.runtime import logs, s3
from workers.runtime.chores import Chores
from workers.runtime.metrics import Metrics
from workers.runtime.patience import end

app = typer.Typer(
    help="Events that were given up. Example: `phototwin deadletter list --worker reconstruct`",
    no_args_is_help=True,
)

Id = Annotated[str, typer.Argument(help="The event's id, as `list` shows it.", show_default=False)]
OneId = Annotated[str | None, typer.Option("--id", help="Only the one of this event.")]
OfWorker = Annotated[str | None, typer.Option("--worker", help="Only those of this worker.")]
Code = Annotated[str | None, typer.Option(help="Only those given up for this error.")]
Tenant = Annotated[str | None, typer.Option(help="Only this tenant's.")]
CaptureId = Annotated[str | None, typer.Option("--capture-id", help="Only this capture's.")]
Since = Annotated[
    str | None, typer.Option(help="Only those given up at this time or later: 2026-11-22T03:00.")
]
Before = Annotated[str | None, typer.Option(help="Only those given up before this time.")]
All = Annotated[bool, typer.Option("--all", help="All of them: needed where no filter is given.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Say what would be done, and do nothing.")]


@app.command("list")
def list_letters(
    worker: OfWorker = None,
    code: Code = None,
    tenant: Tenant = None,
    capture_id: CaptureId = None,
    since: Since = None,
    before: Before = None,
    as_json: AsJson = False,
) -> None:
    """The dead letters, oldest first.

    Example: `phototwin deadletter list --code compute_failed`
    """
    wanted = _meant(None, worker, code, tenant, capture_id, since, before)

    async def show(found: list[Held], _: Any) -> None:
        summaries = [held.letter.summary() for held in found]
        if as_json:
            print(json.dumps(summaries, indent=1))
            return
        for held, summary in zip(found, summaries, strict=True):
            said = f"{summary['code']}: {summary['message']}"
            print(f"{_id(held)}  {summary['time']}  {summary['worker']}  {_capture(held)}  {said}"[:300])
        print(f"{len(summaries)} dead letters")

    _with(wanted, show, as_json)


@app.command()
def show(id: Id) -> None:
    """One dead letter whole, as JSON: why it was given up, with the stack, and the event.

    Example: `phototwin deadletter show 0e3e824a-...`
    """

    async def show_one(found: list[Held], _: Any) -> None:
        if not found:
            fail(f"there is no dead letter of event {id}")
        for held in found:
            message = held.letter.message
            body = message.body.decode("utf-8", "replace")
            event = json.loads(body) if held.letter.envelope else body
            print(
                json.dumps(
                    {**held.letter.summary(), "headers": dict(message.headers), "event": event}, indent=1
                )
            )

    _with(Filter(id=id), show_one)


@app.command()
def replay(
    id: OneId = None,
    worker: OfWorker = None,
    code: Code = None,
    tenant: Tenant = None,
    capture_id: CaptureId = None,
    since: Since = None,
    before: Before = None,
    everything: All = False,
    dry_run: DryRun = False,
) -> None:
    """Give dead letters to their workers once more, as a generation of their own (1000, 2000, ...): all is
    computed again. Ends with 1 where there was none to replay.

    Example: `phototwin deadletter replay --code compute_died --dry-run`
    """
    wanted = _meant(id, worker, code, tenant, capture_id, since, before)
    _all_or_some(wanted, everything)

    async def replay_each(found: list[Held], broker: Any) -> None:
        done = 0
        for held in found:
            try:
                generation = held.next_generation
                if not dry_run:
                    await held.replay(broker, broker.topology)
                done += 1
                print(
                    f"{'would replay' if dry_run else 'replayed'} {_whose(held)} as generation {generation}"
                )
            except CannotReplay as error:
                print(f"left: {error}")
        print(f"{0 if dry_run else done} of {len(found)} replayed")
        if not done:
            fail("none of these can be replayed" if found else "there is no such dead letter")

    _with(wanted, replay_each)


@app.command()
def drop(
    id: OneId = None,
    worker: OfWorker = None,
    code: Code = None,
    tenant: Tenant = None,
    capture_id: CaptureId = None,
    since: Since = None,
    before: Before = None,
    everything: All = False,
    dry_run: DryRun = False,
    yes: Annotated[
        bool, typer.Option("--yes", help="Do not ask: `--all` needs it where nobody is at a terminal.")
    ] = False,
) -> None:
    """Remove dead letters for good; their captures have been told that they failed.

    Example: `phototwin deadletter drop --code event_invalid --before 2026-11-01`
    """
    wanted = _meant(id, worker, code, tenant, capture_id, since, before)
    _all_or_some(wanted, everything)

    if wanted.is_everything and not (yes or dry_run):
        wanted = _asked(wanted)

    async def drop_each(found: list[Held], _: Any) -> None:
        for held in found:
            if not dry_run:
                await held.drop()
            print(f"{'would drop' if dry_run else 'dropped'} {_whose(held)}")
        print(f"{0 if dry_run else len(found)} of {len(found)} dropped")

    _with(wanted, drop_each)


@app.command()
def watch() -> None:
    """Publish `capture.failed` for what RabbitMQ itself gives up, until SIGTERM. Workers do so too for what
    is theirs; this is for sites where none may be running.

    Example: `phototwin deadletter watch`
    """
    settings = configured()

    async def watch_all() -> None:
        logs.configure(settings.log_level)
        stop = asyncio.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, stop.set)
        async with s3.connect(settings) as store:
            broker = await connect(settings)
            chores = Chores(broker, store, settings.topology, Metrics())
            logs.get_logger().info(
                "watching", queues=[settings.topology.lost_letter_queue(worker) for worker in WORKERS]
            )
            watching = [asyncio.create_task(chores.bury_lost(worker)) for worker in WORKERS]
            stopping = asyncio.create_task(stop.wait())
            try:
                await asyncio.wait({stopping, *watching}, return_when=asyncio.FIRST_COMPLETED)
                for task in watching:
                    if task.done():
                        task.result()
            finally:
                await end(stopping, *watching)
                await broker.close()

    do(watch_all())


def _with(wanted: Filter, action: Any, as_json: bool = False) -> None:
    """Do something with the dead letters that are meant, while we hold them."""
    settings = configured()

    async def act() -> None:
        broker = await connect(settings)
        try:
            async with browse(broker, settings.topology, wanted) as found:
                if not found and wanted.code is not None and wanted.code not in table():
                    fail(f"{wanted.code} is no code{_near(wanted.code)}; errors.json has them all")
                await action(found, broker)
        finally:
            await broker.close()

    do(act(), as_json)


def _meant(
    id: str | None,
    worker: str | None,
    code: str | None,
    tenant: str | None,
    capture_id: str | None,
    since: str | None,
    before: str | None,
) -> Filter:
    if worker is not None and worker not in WORKERS:
        fail(f"{worker} is no worker; there are {', '.join(WORKERS)}")
    return Filter(id, worker, code, tenant, capture_id, _time("--since", since), _time("--before", before))


def _time(option: str, said: str | None) -> datetime | None:
    if said is None:
        return None
    try:
        time = datetime.fromisoformat(said)
    except ValueError:
        fail(f"{option} {said}: must be a time like 2026-11-22T03:00 or 2026-11-22T04:00+01:00")
    return time if time.tzinfo else time.replace(tzinfo=UTC)


def _all_or_some(wanted: Filter, everything: bool) -> None:
    if wanted.is_everything and not everything:
        fail("say which dead letters by a filter, or --all")


def _near(code: str) -> str:
    near = get_close_matches(code, table(), n=1)
    return f": {near[0]} is meant, maybe" if near else ""


def _asked(wanted: Filter) -> Filter:
    """Those of now, which somebody wants dropped. Asked while we hold none: a person takes their time."""
    if not sys.stdin.isatty():
        fail("nobody is at a terminal to be asked: --yes removes them all, --dry-run shows them")
    there = 0

    async def count(found: list[Held], _: Any) -> None:
        nonlocal there
        there = len(found)

    _with(wanted, count)
    now = datetime.now(UTC)
    if there and not typer.confirm(f"Remove all {there} dead letters for good?"):
        fail("nothing was dropped")
    return replace(wanted, before=now)


def _id(held: Held) -> str:
    return held.letter.message.id or "(without an id)"


def _capture(held: Held) -> str:
    event = held.letter.event
    if event is None:
        return "of a capture that cannot be read"
    return f"{event.tenant}/{event.capture_id} generation {event.generation}"


def _whose(held: Held) -> str:
    summary = held.letter.summary()
    return f"{_id(held)} of {summary['worker']} ({_capture(held)}, {summary['code']})"
