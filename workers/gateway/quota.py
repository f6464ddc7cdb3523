"""How much a tenant may ask for."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from sqlalchemy import func, select

from contracts.events import Options
from workers.gateway import api
from workers.gateway.begun import has_begun
from workers.gateway.database.session import Session
from workers.gateway.database.tables import CaptureRow
from workers.gateway.gateway import Gateway
from workers.gateway.problems import QuotaReached, RequestInvalid, TooLarge
from workers.gateway.settings import GatewaySettings
from workers.gateway.uploads import Announced
from workers.runtime.folder import ASIDE

ABANDONED = timedelta(days=1)
"""An upload that has stood still for so long does not count against its tenant."""
LONGEST_NAME = 800
"""Bytes of a file's name: with what stands before it a key of a store has at most 1024."""


async def check(gateway: Gateway, session: Session, tenant: str) -> None:
    """Whether there may be one more capture in work. Of those who ask at once each counts what the one before
    it has entered. Raises QuotaReached."""
    await gateway.database.take_turns(session, f"captures of {tenant}")
    most = gateway.settings.max_open_captures
    if await open_captures(session, tenant) >= most:
        raise QuotaReached(f"{most} captures are being uploaded or worked on")


async def open_captures(session: Session, tenant: str) -> int:
    """How many are being uploaded or worked on. An upload of which nothing was heard for `ABANDONED` does not
    count, though it can be gone on with; nor does what nobody could read."""
    uploading = (CaptureRow.state == "uploading") & (CaptureRow.updated > datetime.now(UTC) - ABANDONED)
    working = (CaptureRow.state == "working") & has_begun()
    asked = select(func.count()).where(
        CaptureRow.tenant == tenant, working | (CaptureRow.state == "review") | uploading
    )
    return await session.scalar(asked) or 0


def check_files(settings: GatewaySettings, files: Sequence[api.NewFile | Announced]) -> None:
    """Raises TooLarge, RequestInvalid."""
    if len(files) > settings.max_files:
        raise TooLarge(f"{len(files)} files are announced; {settings.max_files} is the most")
    for file in files:
        if len(file.name.encode()) > LONGEST_NAME:
            raise RequestInvalid(f"files: {file.name[:80]}... has more than {LONGEST_NAME} bytes")
        if any(part.startswith(ASIDE) for part in file.name.split("/")):
            raise RequestInvalid(f"files: no part of a name may begin with {ASIDE}")
    if (total := sum(file.bytes for file in files)) > settings.max_upload_bytes:
        raise TooLarge(f"{total} bytes are announced; {settings.max_upload_bytes} is the most")


def check_options(options: Options) -> None:
    """A misspelt option would be passed on from stage to stage and followed by none."""
    if options.model_extra:
        name = min(options.model_extra)
        raise RequestInvalid(f"options has no {name[:64]!r}; known are {', '.join(Options.model_fields)}")
