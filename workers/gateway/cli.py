"""`phototwin serve`, `phototwin gateway` and `phototwin reconcile`."""

import sys
from datetime import timedelta
from pathlib import Path
from typing import Annotated

import typer
from pydantic import ValidationError

from broker.rabbitmq import Broker
from contracts.events import Event
from workers.console import connect, do, fail, settings_of
from workers.gateway.cli_keys import keys_app
from workers.gateway.settings import GatewaySettings
from workers.runtime import logs
from workers.runtime.storage import StorageDenied

app = typer.Typer(help="The HTTP API and the page.", invoke_without_command=True)
app.add_typer(keys_app, name="keys")


def serve(
    folder: Annotated[Path, typer.Option(help="Where captures, models and the rest are kept.")] = Path(
        "phototwin-data"
    ),
    host: Annotated[
        str, typer.Option(help="0.0.0.0: for a phone in the same network; a key is then asked for.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="0 takes a free one.")] = 8080,
) -> None:
    """Everything in one process, without any server: open the page it names, drop photos, get a model.

    Example: `phototwin serve --folder my-captures`
    """
    from workers.gateway.serve import with_workers  # here: seconds that no other command need wait

    do(with_workers(folder, host, port))


@app.callback()
def gateway(context: typer.Context) -> None:
    """Run the API and the page on RabbitMQ, S3 and PostgreSQL; settings come from PHOTOTWIN_* variables.

    Example: `PHOTOTWIN_DATABASE_URL=postgresql+asyncpg://user:secret@db/phototwin phototwin gateway`
    """
    if context.invoked_subcommand is not None:
        return
    from workers.gateway.serve import alone

    do(alone(settings_of(GatewaySettings)))


def reconcile(
    publish: Annotated[
        bool, typer.Option("--publish", help="Publish once more what the stuck ones wait for.")
    ] = False,
    quiet: Annotated[
        int, typer.Option(min=0, help="Minutes for which nothing was heard of one that is called stuck.")
    ] = 10,
    uploads: Annotated[
        int | None,
        typer.Option(
            min=0,
            help="Uploads whose event never came count as stuck as well, once no file was added for so many "
            "minutes.",
        ),
    ] = None,
    capture_id: Annotated[
        str | None,
        typer.Option(
            "--capture-id",
            help="Only this one, and whatever waits for its stage, is marked as worked on, or was heard of "
            "it: at worst it is computed twice, and takes effect once.",
        ),
    ] = None,
    tenant: Annotated[
        str | None, typer.Option(help="Whose `--capture-id` it is.", show_default="default")
    ] = None,
) -> None:
    """Compare the object store with the gateway's index and with the queues. The index gets what it lacks:
    after its database, or the stream of outcomes, was lost. Then captures are listed that are stuck: in
    work, but no worker is at them, and nothing waits in their stage's queues. Those of which this cannot be
    told are passed over, and it is said why.

    Example: `phototwin reconcile --publish --uploads 60`, or `phototwin reconcile --publish --capture-id
    shelf-42`
    """
    from workers.gateway.database.session import connect as connect_database
    from workers.gateway.follower import Follower
    from workers.gateway.hub import Hub
    from workers.gateway.reconcile import rebuild
    from workers.gateway.stuck import Looked, idle_because, latest_inputs, named, stuck, unannounced
    from workers.gateway.stuck import publish as publish_again
    from workers.gateway.webhooks.sender import Sender
    from workers.runtime import s3

    if tenant is not None and capture_id is None:
        fail("--tenant says whose --capture-id it is: give both")
    only = None if capture_id is None else _meant(tenant or "default", capture_id)
    settings = settings_of(GatewaySettings)
    logs.configure(settings.log_level)

    async def run() -> tuple[int, int, Looked, list[StorageDenied]]:
        async with (
            s3.connect(settings) as store,
            connect_database(settings.database_url.get_secret_value()) as data,
        ):
            broker: Broker = await connect(settings)
            try:
                follower = Follower(data, broker, store, Sender(data, settings), Hub(), lasting=False)
                captures, events, denied = await rebuild(data, store, follower, settings, only)
                if only is None:
                    looked = await stuck(data, store, broker, settings, timedelta(minutes=quiet))
                else:
                    looked = Looked(await latest_inputs(data, only=only), 0, [])
                if uploads is not None:
                    looked.stuck.extend(await unannounced(store, timedelta(minutes=uploads), only))
                if only is not None and not looked.stuck:
                    if (why := await idle_because(data, only)) is None:
                        fail(f"neither the index nor the store has an announced capture {named(only)}")
                    looked.why.append(why)
                if publish:
                    await publish_again(broker, looked.stuck)
                return captures, events, looked, denied
            finally:
                await broker.close()

    captures, events, looked, denied = do(run())
    done = "published again" if publish else "--publish publishes them again"
    told = f"{captures} captures in the store; {events} events were missing in the index"
    if only is None:
        told += f"; {len(looked.stuck)} captures are stuck{f', {done}' if looked.stuck else ''}"
    print(told + (f"; {looked.passed} more may be, and were passed over" if looked.passed else ""))
    for envelope in looked.stuck:
        said = "stuck" if only is None else "published again" if publish else "--publish publishes again"
        print(f"{said}: {named(envelope.data)}, after {envelope.data.routing_key}")
    for why in looked.why:
        print(f"passed over: {why}" if only is None else why)
    if looked.passed:
        print("one of these can be published again all the same: --publish --capture-id ID --tenant TENANT")
    for error in denied:
        print(f"phototwin: {error.message}", file=sys.stderr)
    if denied:
        raise typer.Exit(1)


def _meant(tenant: str, capture_id: str) -> Event:
    try:
        return Event(tenant=tenant, capture_id=capture_id)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        fail(f"{first['loc'][0]}: {first['msg']}")
