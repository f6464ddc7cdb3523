"""The gateway's own database. Of captures it holds an index, which the object store could rebuild; API keys,
idempotency keys, webhooks and the audit are nowhere else. After a change write a migration."""

from datetime import UTC, datetime
from typing import Any

from sqlalchemy import JSON, DateTime, Dialect, ForeignKey, Index, Text, UniqueConstraint
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column
from sqlalchemy.types import TypeDecorator


class Moment(TypeDecorator[datetime]):
    """With its time zone, UTC, on SQLite too."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        return value.replace(tzinfo=UTC) if value is not None and value.tzinfo is None else value


class Base(DeclarativeBase):
    type_annotation_map = {  # noqa: RUF012
        datetime: Moment,
        dict[str, Any]: JSON,
        list[str]: JSON,
        list[dict[str, Any]]: JSON,
    }


class CaptureRow(Base):
    __tablename__ = "captures"
    __table_args__ = (Index("captures_by_age", "tenant", "created", "capture_id"),)

    tenant: Mapped[str] = mapped_column(primary_key=True)
    capture_id: Mapped[str] = mapped_column(primary_key=True)
    name: Mapped[str]
    state: Mapped[str] = mapped_column(index=True)
    number: Mapped[int]
    """Of its latest journal entry."""
    created: Mapped[datetime]
    updated: Mapped[datetime]
    record: Mapped[dict[str, Any]]
    """See `gateway.record`."""
    files: Mapped[list[dict[str, Any]]] = mapped_column(deferred=True)
    """That were announced: see `gateway.uploads`."""


class JournalRow(Base):
    """What happened to a capture, in order: each event once, whoever of the replicas heard of it first."""

    __tablename__ = "journal"
    __table_args__ = (UniqueConstraint("tenant", "capture_id", "event_id"),)

    tenant: Mapped[str] = mapped_column(primary_key=True)
    capture_id: Mapped[str] = mapped_column(primary_key=True)
    number: Mapped[int] = mapped_column(primary_key=True)
    """From 1, without gaps."""
    event_id: Mapped[str]
    kind: Mapped[str]
    """The event's routing key, such as poses.ready."""
    at: Mapped[datetime]
    body: Mapped[str] = mapped_column(Text)
    """The envelope, JSON."""


class PositionRow(Base):
    """How far the stream of outcomes is in the database."""

    __tablename__ = "positions"

    stream: Mapped[str] = mapped_column(primary_key=True)
    following: Mapped[int]
    """The offset to go on from."""


class KeyRow(Base):
    __tablename__ = "api_keys"

    id: Mapped[str] = mapped_column(primary_key=True)
    tenant: Mapped[str] = mapped_column(index=True)
    name: Mapped[str]
    digest: Mapped[str] = mapped_column(unique=True)
    """SHA-256 of the key, hex: it has 256 random bits, so nothing slower is called for."""
    created: Mapped[datetime]
    revoked: Mapped[datetime | None]


class IdempotencyRow(Base):
    """The answer to a request, for whoever sends it again with the same `Idempotency-Key`."""

    __tablename__ = "idempotency"

    tenant: Mapped[str] = mapped_column(primary_key=True)
    key: Mapped[str] = mapped_column(primary_key=True)
    fingerprint: Mapped[str]
    """SHA-256 of method, path and body, hex."""
    created: Mapped[datetime] = mapped_column(index=True)
    status: Mapped[int | None]
    """None while the first of them is being answered."""
    answer: Mapped[str | None] = mapped_column(Text)


class WebhookRow(Base):
    __tablename__ = "webhooks"

    id: Mapped[str] = mapped_column(primary_key=True)
    tenant: Mapped[str] = mapped_column(index=True)
    capture_id: Mapped[str | None]
    """The one capture whose callback it is; None: it is told of all of the tenant's."""
    url: Mapped[str]
    secret: Mapped[str]
    """What its calls are signed with; whoever verifies them has it too, so it cannot be hashed."""
    kinds: Mapped[list[str]]
    """Of events that it is told of; none: of all that tell of a capture's end or wait for a person."""
    created: Mapped[datetime]


class DeliveryRow(Base):
    """A call of a webhook that is due, or was made."""

    __tablename__ = "deliveries"
    __table_args__ = (Index("deliveries_due", "state", "due"),)

    webhook_id: Mapped[str] = mapped_column(ForeignKey("webhooks.id", ondelete="CASCADE"), primary_key=True)
    event_id: Mapped[str] = mapped_column(primary_key=True)
    tenant: Mapped[str]
    capture_id: Mapped[str]
    body: Mapped[str] = mapped_column(Text)
    state: Mapped[str]
    """waiting, sent, or given_up."""
    attempts: Mapped[int]
    due: Mapped[datetime]
    error: Mapped[str | None]
    """Why the last attempt failed."""


class AuditRow(Base):
    """Who did what. Outlives the capture it tells of."""

    __tablename__ = "audit"

    id: Mapped[str] = mapped_column(primary_key=True)
    at: Mapped[datetime] = mapped_column(index=True)
    tenant: Mapped[str]
    who: Mapped[str]
    action: Mapped[str]
    capture_id: Mapped[str | None]
    detail: Mapped[dict[str, Any]]
