"""Who is asking: by an API key of ours, or by a token of the issuer that the settings name."""

import hashlib
import re
import secrets
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import NamedTuple

from pydantic import TypeAdapter
from sqlalchemy import select

from contracts.fields import Slug
from workers.gateway.audit import noted
from workers.gateway.database.session import Database
from workers.gateway.database.tables import KeyRow
from workers.gateway.oidc import Issuer
from workers.gateway.problems import Absent, Unauthorized
from workers.gateway.settings import GatewaySettings

_KEY = re.compile(r"ptk_[A-Za-z0-9_-]{43}")
_TENANT = TypeAdapter[str](Slug)
REMEMBERED_SECONDS = 30.0
"""How long a key is taken to be good without a look: a revoked one is of no use after that."""
REMEMBERED = 10_000
OPERATOR = "operator"
"""Whoever may run our commands."""


class Principal(NamedTuple):
    """On whose behalf a request is answered."""

    tenant: str
    """Whose captures are seen."""
    who: str
    """The key's name, or the token's subject."""


class Access:
    """Raises (on construction) SettingsError where the issuer's settings are not enough."""

    def __init__(
        self, settings: GatewaySettings, database: Database, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._database, self._clock = database, clock
        self._issuer = Issuer.of(settings)
        self._known: dict[str, tuple[float, Principal]] = {}

    async def principal(self, authorization: str | None) -> Principal:
        """By the header of that name. Raises Unauthorized, and Unavailable where the issuer cannot be asked
        for its keys."""
        scheme, _, token = (authorization or "").strip().partition(" ")
        if scheme.lower() != "bearer" or not token.strip():
            raise Unauthorized("there is no API key in the request")
        token = token.strip()
        if _KEY.fullmatch(token):
            return await self._holder(_digest(token))
        if self._issuer is None or token.startswith("ptk_"):
            raise Unauthorized("that is no API key")
        return Principal(*await self._issuer.holder(token))

    async def create_key(self, tenant: str, name: str) -> tuple[str, str]:
        """Its id, and the key itself, which nobody can be told again. Raises ValueError where the tenant's
        name is none."""
        _TENANT.validate_python(tenant)
        id, key = f"key_{secrets.token_hex(8)}", f"ptk_{secrets.token_urlsafe(32)}"
        now = datetime.now(UTC)
        row = KeyRow(id=id, tenant=tenant, name=name, digest=_digest(key), created=now, revoked=None)
        async with self._database.begin() as session:
            session.add(row)
            session.add(noted(tenant, OPERATOR, "key created", None, id=id, name=name))
        return id, key

    async def list_keys(self, tenant: str | None = None) -> Sequence[KeyRow]:
        """A tenant's, or everyone's; revoked ones too."""
        query = select(KeyRow).order_by(KeyRow.tenant, KeyRow.created)
        if tenant is not None:
            query = query.where(KeyRow.tenant == tenant)
        async with self._database.begin() as session:
            return list(await session.scalars(query))

    async def revoke(self, id: str) -> None:
        """Here it is of no use any more at once, at other replicas within `REMEMBERED_SECONDS`. Raises
        Absent."""
        async with self._database.begin() as session:
            row = await session.get(KeyRow, id)
            if row is None:
                raise Absent(f"there is no key {id}")
            if row.revoked is None:
                row.revoked = datetime.now(UTC)
                session.add(noted(row.tenant, OPERATOR, "key revoked", None, id=id, name=row.name))
        self._known.pop(row.digest, None)

    async def _holder(self, digest: str) -> Principal:
        now = self._clock()
        until, known = self._known.get(digest, (now, None))
        if known is not None and now < until:
            return known
        async with self._database.read() as session:
            row = await session.scalar(select(KeyRow).where(KeyRow.digest == digest))
        if row is None or row.revoked is not None:
            self._known.pop(digest, None)
            raise Unauthorized("this API key is unknown, or was revoked")
        if len(self._known) >= REMEMBERED:
            self._known.clear()
        found = Principal(row.tenant, row.name)
        self._known[digest] = (now + REMEMBERED_SECONDS, found)
        return found


def _digest(key: str) -> str:
    return hashlib.sha256(key.encode()).hexdigest()
