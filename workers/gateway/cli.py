"""`phototwin serve`, `phototwin gateway` and `phototwin reconcile`."""

import sys
from datetime import timedelta
from pathlib import Path
from typing import Annotated

import typer

from broker.rabbitmq import Broker
from contracts.envelope import Envelope
from workers.console import connect, do, settings_of
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
) -> None:
    """Compare the object store with the gateway's index and with the queues. The index gets what it lacks:
    after its database, or the stream of outcomes, was lost. Then captures are listed that are stuck: in
    work, but no worker is at them, and nothing waits in their stage's queues.

    Example: `phototwin reconcile --publish --uploads 60`
    """
    from workers.gateway.database.session import connect as connect_database
    from workers.gateway.follower import Follower
    from workers.gateway.hub import Hub
    from workers.gateway.reconcile import rebuild
    from workers.gateway.stuck import publish as publish_again
    from workers.gateway.stuck import stuck, unannounced
    from workers.gateway.webhooks.sender import Sender
    from workers.runtime import s3

    settings = settings_of(GatewaySettings)
    logs.configure(settings.log_level)

    async def run() -> tuple[int, int, list[Envelope], list[StorageDenied]]:
        async with (
            s3.connect(settings) as store,
            connect_database(settings.database_url.get_secret_value()) as data,
        ):
            broker: Broker = await connect(settings)
            try:
                follower = Follower(data, broker, store, Sender(data, settings), Hub(), lasting=False)
                captures, events, denied = await rebuild(data, store, follower, settings)
                found = await stuck(data, store, broker, settings, timedelta(minutes=quiet))
                if uploads is not None:
                    found += await unannounced(store, timedelta(minutes=uploads))
                if publish:
                    await publish_again(broker, found)
                return captures, events, found, denied
            finally:
                await broker.close()

    captures, events, found, denied = do(run())
    done = "published again" if publish else "--publish publishes them again"
    print(
        f"{captures} captures in the store; {events} events were missing in the index; {len(found)} captures "
        f"are stuck{f', {done}' if found else ''}"
    )
    for envelope in found:
        event = envelope.data
        print(f"stuck: {event.capture_id} of tenant {event.tenant}, after {event.routing_key}")
    for error in denied:
        print(f"phototwin: {error.message}", file=sys.stderr)
    if denied:
        raise typer.Exit(1)
