"""`phototwin topology users` and `access`, `phototwin storage policy` and `cors`: who may do what, and with
what."""

import dataclasses
import json
import os
import re
import secrets
from pathlib import Path
from typing import Annotated
from urllib.parse import quote, unquote, urlsplit, urlunsplit

import typer
from pydantic import SecretStr

from broker import access
from workers.console import AsJson, configured, do, fail, management
from workers.gateway.links.s3 import apply_cors
from workers.runtime import s3
from workers.runtime.s3_policy import ACCESS, policy
from workers.runtime.weights import IN_STORE

SECRET, MANAGEMENT = "PHOTOTWIN_AMQP_URL", "PHOTOTWIN_MANAGEMENT_URL"
"""Names of files, and of the settings that are read from them."""
storage_app = typer.Typer(
    help="The object store. Example: `phototwin storage policy prepare`", no_args_is_help=True
)


def users(
    into: Annotated[Path, typer.Option("--secrets", metavar="DIR", help="Where each role's secret is kept.")],
    rotate: Annotated[bool, typer.Option("--rotate", help="New passwords for all.")] = False,
    as_json: AsJson = False,
) -> None:
    """Make a RabbitMQ user for each role, which may do what `topology access` says and no more.

    The URL it connects by, password included, is written to DIR/ROLE/PHOTOTWIN_AMQP_URL (mode 0600), so that
    `PHOTOTWIN_SECRETS_DIR=DIR/prepare phototwin worker prepare` runs with it; a password found there stays.
    After --rotate restart what runs: it keeps its connection, but cannot make another.
    Needs RabbitMQ's management, and an administrator in PHOTOTWIN_MANAGEMENT_URL or PHOTOTWIN_AMQP_URL.

    Example: `phototwin topology users --secrets /etc/phototwin/secrets`
    """
    settings = configured()

    async def make() -> list[dict[str, str]]:
        made = []
        for role in access.ROLES:
            file = into / role / SECRET
            kept = None if rotate else _password(file)
            password = kept or secrets.token_urlsafe(32)
            user = access.user_name(settings.topology, role)
            # Written first: a password that nobody knows is worse than one that is not set yet.
            _write(file, _with_login(settings.amqp_url, user, password))
            if settings.management_url and access.grant(settings.topology, role).tags:
                _write(file.with_name(MANAGEMENT), _with_login(settings.management_url, user, password))
            await access.apply(management(settings), settings.topology, role, password)
            made.append({"user": user, "password": "kept" if kept else "new", "file": str(file)})
        return made

    made = do(make(), as_json)
    if as_json:
        print(json.dumps(made, indent=1))
        return
    for row in made:
        print(f"{row['user']:<24} {row['password']:<5} {row['file']}")


def show_access(as_json: AsJson = False) -> None:
    """Print what each user that `topology users` makes may do; needs no broker.

    Example: `phototwin topology access --json`
    """
    topology = configured().topology
    grants = {
        access.user_name(topology, role): dataclasses.asdict(access.grant(topology, role))
        for role in access.ROLES
    }
    if as_json:
        print(json.dumps(grants, indent=1))
        return
    for user, grant in grants.items():
        print(user)
        for what in ("configure", "write", "read"):
            print(f"  {what:<10} {grant[what]}")
        for exchange, keys in grant["topics"].items():
            print(f"  publish    {exchange}: {keys}")


@storage_app.command("policy")
def storage_policy(
    role: Annotated[str, typer.Argument(help=f"One of {', '.join(ACCESS)}.", show_default=False)],
    bucket: Annotated[str | None, typer.Option(help="Default: PHOTOTWIN_S3_BUCKET.")] = None,
) -> None:
    """Print what a role may do in the object store, as an IAM policy to put on its user.

    Example: `phototwin storage policy prepare --bucket phototwin > prepare.json`
    """
    if role not in ACCESS:
        fail(f"there is no role {role}; choose one of {', '.join(ACCESS)}")
    settings = configured()
    weights = settings.weights or ""
    prefix = weights.removeprefix(IN_STORE) if weights.startswith(IN_STORE) else None
    print(json.dumps(policy(role, bucket or settings.s3_bucket, prefix), indent=1))


@storage_app.command("cors")
def storage_cors(
    origins: Annotated[
        list[str],
        typer.Option("--origin", metavar="URL", help="Of a page; give it several times for several."),
    ],
) -> None:
    """Let pages use the gateway's links to the bucket: those of the gateway, and those of your own app.

    These origins take the place of what the bucket knew. Needs the credentials of its owner.

    Example: `phototwin storage cors --origin https://twins.example.com`
    """
    settings = configured()
    for origin in origins:
        if not re.fullmatch(r"https?://[^/\s*]+", origin):
            fail(f"--origin {origin}: must be like https://twins.example.com, without a path")

    async def apply() -> None:
        async with s3.connect(settings) as store:
            await apply_cors(store, origins)

    do(apply())
    print(f"{settings.s3_bucket}: pages of {', '.join(origins)} may use links")


def _with_login(url: SecretStr, user: str, password: str) -> str:
    parts = urlsplit(url.get_secret_value())
    where = parts.netloc.rpartition("@")[2]
    login = f"{quote(user, safe='')}:{quote(password, safe='')}"
    return urlunsplit(parts._replace(netloc=f"{login}@{where}"))


def _password(file: Path) -> str | None:
    """That in the URL in a file; None where there is no such file."""
    try:
        found = urlsplit(file.read_text().strip()).password
    except FileNotFoundError:
        return None
    except ValueError:
        found = None
    if not found:
        fail(f"{file} has no URL with a password in it; remove it, and a new one is made")
    return unquote(found)


def _write(file: Path, text: str) -> None:
    """In place of what was there, at once, and for no other eyes."""
    file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    new = file.with_name(f".{file.name}.new")
    new.unlink(missing_ok=True)
    with os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as writing:
        writing.write(text + "\n")
    new.replace(file)
