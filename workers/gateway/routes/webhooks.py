"""Where a tenant wants to be told of its captures."""

from typing import Any

from fastapi import APIRouter, Request, Response
from sqlalchemy import ColumnElement, Select, func, select

from contracts.fields import Slug
from workers.gateway import api
from workers.gateway.database.tables import DeliveryRow, WebhookRow
from workers.gateway.dependencies import Caller, TheGateway
from workers.gateway.idempotency import respond
from workers.gateway.problems import Absent, TooLarge
from workers.gateway.webhooks.guard import check
from workers.gateway.webhooks.sender import USUAL_KINDS, new_webhook

MOST = 50
"""Of a tenant: each event of a capture may call them all."""

router = APIRouter(prefix="/v1/webhooks", tags=["webhooks"])


@router.get("")
async def list_webhooks(gateway: TheGateway, caller: Caller) -> api.Webhooks:
    """A tenant's webhooks, and how their calls go."""
    async with gateway.database.begin() as session:
        found = await session.execute(_with_calls().where(_is_of(caller.tenant)).order_by(WebhookRow.created))
        return api.Webhooks(webhooks=tuple(_webhook(*row) for row in found))


@router.post("", status_code=201, response_model=api.WebhookCreated)
async def create_webhook(
    request: Request, asked: api.NewWebhook, gateway: TheGateway, caller: Caller
) -> Response:
    """Have an address called with each event of the tenant's captures.

    The call's body is the event's envelope. Its headers are those of Standard Webhooks, signed with the
    `secret` of the answer; `webhook-id` is the same whenever a call is repeated. Answer with any status from
    200 to 299 within ten seconds; else it is called again, after 5 s at first, later every six hours.
    """

    async def create() -> tuple[int, api.WebhookCreated]:
        url = str(check(str(asked.url), gateway.settings.webhook_networks))
        async with gateway.database.begin() as session:
            count = select(func.count()).select_from(WebhookRow).where(_is_of(caller.tenant))
            if (await session.scalar(count) or 0) >= MOST:
                raise TooLarge(f"there are {MOST} webhooks already")
            row = new_webhook(caller.tenant, url, asked.kinds)
            session.add(row)
        return 201, api.WebhookCreated(**_webhook(row, 0, 0, None).model_dump(), secret=row.secret)

    return await respond(request, gateway.database, caller, create)


@router.delete("/{webhook_id}", status_code=204)
async def delete_webhook(webhook_id: Slug, gateway: TheGateway, caller: Caller) -> None:
    """It is called no more, also not with what is still waiting."""
    async with gateway.database.begin() as session:
        row = await session.scalar(
            select(WebhookRow).where(_is_of(caller.tenant), WebhookRow.id == webhook_id)
        )
        if row is None:
            raise Absent(f"there is no webhook {webhook_id:.64}")
        await session.delete(row)


def _is_of(tenant: str) -> ColumnElement[bool]:
    """Callbacks of single captures aside."""
    return (WebhookRow.tenant == tenant) & WebhookRow.capture_id.is_(None)


def _with_calls() -> Select[Any]:
    def count(state: str) -> Any:
        return (
            select(func.count())
            .where(DeliveryRow.webhook_id == WebhookRow.id, DeliveryRow.state == state)
            .scalar_subquery()
        )

    latest = (
        select(DeliveryRow.error)
        .where(DeliveryRow.webhook_id == WebhookRow.id, DeliveryRow.error.is_not(None))
        .order_by(DeliveryRow.due.desc())
        .limit(1)
        .scalar_subquery()
    )
    return select(WebhookRow, count("waiting"), count("given_up"), latest)


def _webhook(row: WebhookRow, waiting: int, given_up: int, error: str | None) -> api.Webhook:
    return api.Webhook(
        id=row.id,
        url=row.url,
        kinds=tuple(row.kinds or USUAL_KINDS),
        created=row.created,
        waiting=waiting,
        given_up=given_up,
        error=error,
    )
