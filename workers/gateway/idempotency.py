"""`Idempotency-Key`: the same request sent again gets the answer of the first time, and does nothing more.

https://datatracker.ietf.org/doc/draft-ietf-httpapi-idempotency-key-header/
"""

import asyncio
import hashlib
import re
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta

from fastapi import Request, Response
from pydantic import BaseModel
from sqlalchemy import CursorResult, delete, update
from sqlalchemy.exc import IntegrityError

from workers.gateway.access import Principal
from workers.gateway.database.session import Database, Session
from workers.gateway.database.tables import IdempotencyRow
from workers.gateway.problems import KeyBusy, KeyReused, Malformed, Unavailable

KEPT = timedelta(hours=24)
ABANDONED = timedelta(seconds=60)
"""A request that was not answered by then died with its replica: another may do it."""
LIMIT_SECONDS = 45.0
"""No work goes on for longer than that, so that none is taken over; the rest is for clocks that differ."""
_KEY = re.compile(r"[!-~]{1,200}")

Work = Callable[[], Awaitable[tuple[int, str]]]


def fingerprint(method: str, path: str, body: bytes) -> str:
    """Of a request."""
    return hashlib.sha256(b"\0".join((method.encode(), path.encode(), body))).hexdigest()


async def respond(
    request: Request,
    database: Database,
    principal: Principal,
    work: Callable[[], Awaitable[tuple[int, BaseModel]]],
) -> Response:
    """The answer to a POST: that of `work`, or of the first time where it has an `Idempotency-Key`."""

    async def answered() -> tuple[int, str]:
        status, answer = await work()
        return status, answer.model_dump_json()

    key = request.headers.get("idempotency-key")
    if key is None:
        status, answer = await answered()
    else:
        asked = fingerprint(request.method, request.url.path, await request.body())
        status, answer = await once(database, principal, asked, key, answered)
    return Response(answer, status, media_type="application/json")


async def once(
    database: Database, principal: Principal, fingerprint: str, key: str, work: Work
) -> tuple[int, str]:
    """Status and body of the answer. What `work` answers below 500 is kept; where it raises, nothing is, and
    the same request may try again: so it must have done nothing then, or what does no harm twice, which is
    also what a crash leaves.

    Raises KeyReused, KeyBusy, Malformed, Unavailable where the work takes too long, and what `work` raises.
    """
    if not _KEY.fullmatch(key):
        raise Malformed(
            "Idempotency-Key must be 1 to 200 printable ASCII characters without blanks",
            action="Send another key, a UUID say, or none.",
        )
    claim = datetime.now(UTC)
    known = await _claim(database, principal.tenant, key, fingerprint, claim)
    if known is not None:
        return known
    try:
        async with asyncio.timeout(LIMIT_SECONDS):
            status, answer = await work()
    except TimeoutError:
        await _settle(database, principal.tenant, key, claim)
        raise Unavailable("this took too long") from None
    except BaseException:
        await asyncio.shield(_settle(database, principal.tenant, key, claim))
        raise
    await _settle(database, principal.tenant, key, claim, None if status >= 500 else (status, answer))
    return status, answer


async def forget(database: Database) -> None:
    """Answers that are too old to be given again."""
    async with database.begin() as session:
        await session.execute(delete(IdempotencyRow).where(IdempotencyRow.created < datetime.now(UTC) - KEPT))


async def _claim(
    database: Database, tenant: str, key: str, fingerprint: str, now: datetime
) -> tuple[int, str] | None:
    """The answer where there is one; None: ours to give. `now` marks the claim as ours."""
    row = IdempotencyRow(
        tenant=tenant, key=key, fingerprint=fingerprint, created=now, status=None, answer=None
    )
    try:
        async with database.begin() as session:
            session.add(row)
        return None
    except IntegrityError:
        pass
    async with database.begin() as session:
        known = await session.get(IdempotencyRow, (tenant, key))
        if known is None:  # it has just been given up
            raise KeyBusy("the first such request has just failed")
        age = now - known.created
        if age < KEPT and known.fingerprint != fingerprint:
            raise KeyReused("method, address or body are others")
        if age < KEPT and known.status is not None:
            return known.status, known.answer or ""
        if known.status is None and age < ABANDONED:
            raise KeyBusy("the first such request is still being answered")
        again = {"fingerprint": fingerprint, "created": now, "status": None, "answer": None}
        if not await _change(session, tenant, key, known.created, again):
            raise KeyBusy("another such request was faster")
    return None


async def _settle(
    database: Database, tenant: str, key: str, claim: datetime, answer: tuple[int, str] | None = None
) -> None:
    """Keep the answer, or let go of the key; not where someone else has taken it over."""
    async with database.begin() as session:
        if answer is not None:
            await _change(session, tenant, key, claim, {"status": answer[0], "answer": answer[1]})
            return
        await session.execute(
            delete(IdempotencyRow).where(
                IdempotencyRow.tenant == tenant, IdempotencyRow.key == key, IdempotencyRow.created == claim
            )
        )


async def _change(
    session: Session, tenant: str, key: str, claim: datetime, values: dict[str, object]
) -> bool:
    changed = await session.execute(
        update(IdempotencyRow)
        .where(IdempotencyRow.tenant == tenant, IdempotencyRow.key == key, IdempotencyRow.created == claim)
        .values(**values)
        .execution_options(synchronize_session=False)
    )
    assert isinstance(changed, CursorResult)
    return changed.rowcount == 1
