"""`phototwin serve`, `phototwin gateway` and `phototwin reconcile`."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from broker.rabbitmq import Broker
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
        bool, typer.Option("--publish", help="Also publish once more what those in work wait for.")
    ] = False,
) -> None:
    """Make the gateway's index of captures again from the object store: after its database, or the stream of
    outcomes, was lost. What is there already stays.

    Example: `phototwin reconcile --publish`
    """
    from workers.gateway.database.session import connect as connect_database
    from workers.gateway.follower import Follower
    from workers.gateway.hub import Hub
    from workers.gateway.reconcile import publish_stuck, rebuild
    from workers.gateway.webhooks.sender import Sender
    from workers.runtime import s3

    settings = settings_of(GatewaySettings)
    logs.configure(settings.log_level)

    async def run() -> tuple[int, int, int, list[StorageDenied]]:
        async with (
            s3.connect(settings) as store,
            connect_database(settings.database_url.get_secret_value()) as data,
        ):
            broker: Broker = await connect(settings)
            try:
                follower = Follower(data, broker, store, Sender(data, settings), Hub(), lasting=False)
                captures, events, denied = await rebuild(data, store, follower, settings)
                return captures, events, await publish_stuck(data, broker) if publish else 0, denied
            finally:
                await broker.close()

    captures, events, published, denied = do(run())
    print(f"{captures} captures in the store; {events} events were missing, {published} published again")
    for error in denied:
        print(f"phototwin: {error.message}", file=sys.stderr)
    if denied:
        raise typer.Exit(1)
