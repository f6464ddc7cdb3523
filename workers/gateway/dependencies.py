"""What routes ask for: the gateway, and who is asking."""

from collections.abc import Awaitable, Callable
from typing import Annotated
from urllib.parse import urlsplit

from fastapi import Depends, Request, Response, Security
from fastapi.security import HTTPBearer
from pydantic import BaseModel

from workers.gateway.access import Principal
from workers.gateway.captures import Captures
from workers.gateway.gateway import Gateway
from workers.gateway.idempotency import respond
from workers.gateway.problems import Forbidden
from workers.gateway.status import Teller

LOOPBACK = ("127.0.0.1", "localhost", "::1")
ANYONE = Principal("default", "anyone")

# For the OpenAPI document; that a key is missing is said by `Access`, as all problems are.
_BEARER = HTTPBearer(
    auto_error=False, scheme_name="key", description="An API key, or a token of the OpenID Connect issuer."
)


def gateway_of(request: Request) -> Gateway:
    gateway: Gateway = request.app.state.gateway
    return gateway


TheGateway = Annotated[Gateway, Depends(gateway_of)]


async def caller(request: Request, gateway: TheGateway, _: Annotated[object, Security(_BEARER)]) -> Principal:
    """Raises Unauthorized, TooMany, Unavailable; Forbidden where no key is asked for, and the page of another
    site asks."""
    principal = ANYONE
    if gateway.settings.auth == "none":
        _check_own(request, gateway)
    else:
        principal = await gateway.access.principal(request.headers.get("authorization"))
    gateway.limiter.take(principal.tenant)
    return principal


def _check_own(request: Request, gateway: Gateway) -> None:
    """Where no key is asked for, whoever gets a browser to ask would have all: a page of another site, also
    one whose name has been made to lead here. Raises Forbidden."""
    host = request.headers.get("host", "")
    own = urlsplit(gateway.settings.public_url or "").netloc
    if host != own and (urlsplit(f"//{host}").hostname or "") not in LOOPBACK:
        raise Forbidden(f"this gateway is not at {host:.100}")
    origin = request.headers.get("origin")
    if origin is not None and origin not in (f"http://{host}", f"https://{host}"):
        raise Forbidden(f"this gateway answers its own page only, not {origin:.100}")


Caller = Annotated[Principal, Depends(caller)]


def captures_of(gateway: TheGateway, principal: Caller) -> Captures:
    return Captures(gateway, principal)


def base_url(request: Request, gateway: TheGateway) -> str:
    """How the client reaches us, without a slash at the end."""
    return gateway.settings.public_url or str(request.base_url).rstrip("/")


Theirs = Annotated[Captures, Depends(captures_of)]
Base = Annotated[str, Depends(base_url)]


def teller(gateway: TheGateway, base: Base) -> Teller:
    return Teller(gateway.hub, gateway.links, base)


Tells = Annotated[Teller, Depends(teller)]


async def asked_once(
    request: Request, captures: Captures, work: Callable[[], Awaitable[tuple[int, BaseModel]]]
) -> Response:
    """The answer to a POST; to one that comes again with the same Idempotency-Key, the same."""
    return await respond(request, gateway_of(request).database, captures.principal, work)
