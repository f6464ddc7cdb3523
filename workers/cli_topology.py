"""`phototwin topology`: exchanges, queues, policies and users on RabbitMQ."""

import dataclasses
import json

import typer

from workers import cli_access
from workers.console import AsJson, configured, connect, do, management

app = typer.Typer(
    help="Exchanges and queues on RabbitMQ. Example: `phototwin topology apply`", no_args_is_help=True
)


@app.command("apply")
def topology_apply() -> None:
    """Create the exchanges, queues and bindings that are missing, and set the policies.

    Example: `phototwin topology apply`
    """

    async def apply() -> None:
        settings = configured()
        broker = await connect(settings)
        try:
            await broker.apply(management(settings))
        finally:
            await broker.close()
        parts = (*settings.topology.exchanges(), *settings.topology.queues())
        print(f"{len(parts)} exchanges and queues of {settings.prefix} are there, with their policies")

    do(apply())


@app.command("show")
def topology_show(as_json: AsJson = False) -> None:
    """Print what `apply` creates; needs no broker.

    Example: `phototwin topology show --json`
    """
    topology = configured().topology
    parts = {
        "exchanges": [dataclasses.asdict(exchange) for exchange in topology.exchanges()],
        "queues": [dataclasses.asdict(queue) for queue in topology.queues()],
        "bindings": [dataclasses.asdict(binding) for binding in topology.bindings()],
        "policies": [dataclasses.asdict(policy) for policy in topology.policies()],
    }
    if as_json:
        print(json.dumps(parts, indent=1))
        return
    for kind, entries in parts.items():
        for entry in entries:
            print(
                f"{'policy' if kind == 'policies' else kind[:-1]:<9}",
                "  ".join(f"{key}={value}" for key, value in entry.items()),
            )


app.command("users")(cli_access.users)
app.command("access")(cli_access.show_access)
