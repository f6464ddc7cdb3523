"""Tokens of an OpenID Connect issuer: JWTs, verified by the keys that it publishes (RFC 7517, RFC 7519).

Only signatures by a private key that nobody but the issuer has: a JWT's header names its algorithm, and
whoever took the word of it could be sent one "signed" with the issuer's public key, or not at all (RFC 8725).
"""

import asyncio
import json
import time
from collections.abc import Callable
from typing import Any, Self

import aiohttp
import jwt
from pydantic import TypeAdapter, ValidationError

from contracts.fields import Slug
from workers.gateway.problems import Unauthorized, Unavailable
from workers.gateway.settings import GatewaySettings
from workers.runtime.settings import SettingsError

ALGORITHMS = frozenset({"RS256", "ES256", "EdDSA"})
TIMEOUT = aiohttp.ClientTimeout(total=5)
MAX_BYTES = 1 << 20
FRESH_SECONDS = 3600.0
"""After which the keys are fetched anew, so that one the issuer has withdrawn is not trusted for ever."""
UNKNOWN_SECONDS = 60.0
"""How often an unknown key's name may lead to a fetch: anyone can make names up."""
FAILED_SECONDS = 5.0
LEEWAY_SECONDS = 30
_TENANT = TypeAdapter[str](Slug)


class KeysUnavailable(Exception):
    """The issuer's keys cannot be had; says why."""


class Issuer:
    """`url` is the issuer's own, as its tokens name it; `jwks_url` where its keys are, None: as its discovery
    document says. `clock` tells seconds."""

    def __init__(
        self,
        url: str,
        audience: str,
        jwks_url: str | None = None,
        tenant_claim: str = "tenant",
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._url, self._audience, self._jwks_url, self._claim = url, audience, jwks_url, tenant_claim
        self._clock = clock
        self._keys: dict[str, jwt.PyJWK] = {}
        self._fetched = self._tried = -float("inf")
        self._fetching = asyncio.Lock()

    @classmethod
    def of(cls, settings: GatewaySettings) -> Self | None:
        """None where the settings name none. Raises SettingsError."""
        if settings.oidc_issuer is None:
            return None
        if not settings.oidc_audience:
            raise SettingsError("PHOTOTWIN_OIDC_AUDIENCE: must be set, since PHOTOTWIN_OIDC_ISSUER is")
        return cls(
            settings.oidc_issuer, settings.oidc_audience, settings.oidc_jwks_url, settings.oidc_tenant_claim
        )

    async def holder(self, token: str) -> tuple[str, str]:
        """Whose token it is: the tenant, and the subject. Raises Unauthorized, and Unavailable where the
        issuer's keys cannot be had."""
        try:
            kid = jwt.get_unverified_header(token).get("kid")
            if not isinstance(kid, str):
                raise jwt.InvalidKeyError("it does not name its key")
            key = await self._key(kid)
            claims = jwt.decode(
                token,
                key.key,
                algorithms=[key.algorithm_name],  # the key's, whatever the token says
                audience=self._audience,
                issuer=self._url,
                leeway=LEEWAY_SECONDS,
                options={"require": ["exp", "iss", "aud", "sub"]},
            )
            tenant = _TENANT.validate_python(claims.get(self._claim), strict=True)
        except jwt.PyJWTError as error:
            raise Unauthorized(f"the token is refused: {error}") from None
        except ValidationError:
            raise Unauthorized(f"the token's claim {self._claim} names no tenant") from None
        # Neither the database nor logs take all that a JSON string can hold.
        return tenant, "".join(filter(str.isprintable, claims["sub"]))[:200]

    async def _key(self, kid: str) -> jwt.PyJWK:
        failure = await self._refresh(kid)
        if key := self._keys.get(kid):
            return key  # while the issuer is away those that we know do
        if failure is not None:
            raise Unavailable("the keys of the tokens' issuer cannot be had at present")
        raise jwt.InvalidKeyError("its issuer does not have the key that it names")

    async def _refresh(self, kid: str) -> KeysUnavailable | None:
        """Fetch the keys where that is due; why it failed, if the latest time it did."""
        async with self._fetching:
            now = self._clock()
            age = now - self._fetched
            failed = self._tried > self._fetched
            due = age > FRESH_SECONDS or (kid not in self._keys and age > UNKNOWN_SECONDS)
            if not due:
                return None
            if failed and now - self._tried < FAILED_SECONDS:
                return KeysUnavailable("a moment ago")
            self._tried = now
            try:
                self._keys = await self._fetch()
            except KeysUnavailable as error:
                return error
            self._fetched = now
            return None

    async def _fetch(self) -> dict[str, jwt.PyJWK]:
        try:
            async with aiohttp.ClientSession(timeout=TIMEOUT) as session:
                document = await _json(session, self._jwks_url or await self._discovered(session))
        except (aiohttp.ClientError, OSError, TimeoutError, ValueError) as error:
            raise KeysUnavailable(str(error) or type(error).__name__) from None
        listed = document.get("keys")
        found = (_usable(item) for item in (listed if isinstance(listed, list) else []))
        return {key.key_id: key for key in found if key is not None and key.key_id}

    async def _discovered(self, session: aiohttp.ClientSession) -> str:
        """OpenID Connect Discovery 1.0, section 4."""
        document = await _json(session, f"{self._url.rstrip('/')}/.well-known/openid-configuration")
        address = document.get("jwks_uri")
        if document.get("issuer") != self._url or not isinstance(address, str):
            raise ValueError("the discovery document is another issuer's")
        if self._url.startswith("https:") and not address.startswith("https:"):
            raise ValueError("the issuer's keys are not by https")
        return address


async def _json(session: aiohttp.ClientSession, url: str) -> dict[str, Any]:
    async with session.get(url) as response:
        response.raise_for_status()
        body = b""
        async for chunk in response.content.iter_chunked(1 << 16):
            body += chunk
            if len(body) > MAX_BYTES:
                raise ValueError("the answer is too long")
    document = json.loads(body)
    if not isinstance(document, dict):
        raise ValueError("the answer is no JSON object")
    return document


def _usable(item: Any) -> jwt.PyJWK | None:
    if not isinstance(item, dict) or item.get("use", "sig") != "sig":
        return None
    try:
        key = jwt.PyJWK.from_dict(item)
    except (jwt.PyJWTError, ValueError, TypeError):
        return None  # of a kind that we do not take
    return key if key.algorithm_name in ALGORITHMS else None
