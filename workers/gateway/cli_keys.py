"""`phototwin gateway keys`: who may use the API."""

import json
from typing import Annotated

import typer
from pydantic import TypeAdapter, ValidationError

from contracts.fields import Slug
from workers.console import AsJson, do, fail, settings_of
from workers.gateway.settings import GatewaySettings

keys_app = typer.Typer(
    help="API keys. Example: `phototwin gateway keys create phone --tenant acme`", no_args_is_help=True
)


@keys_app.command("create")
def create(
    name: Annotated[str, typer.Argument(help="Who will have it; for people.", show_default=False)],
    tenant: Annotated[str, typer.Option(help="Whose captures it opens.")] = "default",
    as_json: AsJson = False,
) -> None:
    """Make an API key, and print it: it is stored nowhere, and cannot be shown again.

    Example: `phototwin gateway keys create phone --tenant acme`
    """
    from workers.gateway.access import Access  # here: half a second that no other command need wait
    from workers.gateway.database.session import connect

    try:
        TypeAdapter(Slug).validate_python(tenant)
    except ValidationError:
        fail(f"{tenant!r} names no tenant: up to 64 letters, digits, - and _")
    settings = settings_of(GatewaySettings)

    async def run() -> tuple[str, str]:
        async with connect(settings.database_url.get_secret_value()) as database:
            return await Access(settings, database).create_key(tenant, name)

    id, key = do(run(), as_json)
    if as_json:
        print(json.dumps({"id": id, "tenant": tenant, "name": name, "key": key}))
    else:
        print(key)


@keys_app.command("list")
def show(
    tenant: Annotated[str | None, typer.Option(help="Only its keys.")] = None, as_json: AsJson = False
) -> None:
    """List the API keys, without the keys themselves.

    Example: `phototwin gateway keys list --tenant acme --json`
    """
    from workers.gateway.access import Access
    from workers.gateway.database.session import connect

    settings = settings_of(GatewaySettings)

    async def run() -> list[dict[str, str | None]]:
        async with connect(settings.database_url.get_secret_value()) as database:
            return [
                {
                    "id": row.id,
                    "tenant": row.tenant,
                    "name": row.name,
                    "created": row.created.isoformat(timespec="seconds"),
                    "revoked": row.revoked.isoformat(timespec="seconds") if row.revoked else None,
                }
                for row in await Access(settings, database).list_keys(tenant)
            ]

    rows = do(run(), as_json)
    if as_json:
        print(json.dumps(rows, indent=1))
        return
    for row in rows:
        until = f"  revoked {row['revoked']}" if row["revoked"] else ""
        print(f"{row['id']}  {row['tenant']:<16}  {row['created']}  {row['name']}{until}")


@keys_app.command("revoke")
def revoke(
    id: Annotated[str, typer.Argument(help="The key's id, as `list` has it.", show_default=False)],
) -> None:
    """End an API key: within half a minute it is of no use any more.

    Example: `phototwin gateway keys revoke key_0123456789abcdef`
    """
    from workers.gateway.access import Access
    from workers.gateway.database.session import connect
    from workers.gateway.problems import Absent

    settings = settings_of(GatewaySettings)

    async def run() -> str | None:
        async with connect(settings.database_url.get_secret_value()) as database:
            try:
                await Access(settings, database).revoke(id)
            except Absent as absent:
                return absent.detail
        return None

    if problem := do(run()):
        fail(problem)
