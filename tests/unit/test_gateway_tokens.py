"""Tokens of an OpenID Connect issuer: what is accepted, and above all what is not."""

import base64
import hashlib
import hmac
import json
import time
from collections.abc import AsyncIterator
from typing import Any

import jwt
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from jwt.algorithms import ECAlgorithm, OKPAlgorithm, RSAAlgorithm

from workers.gateway.oidc import FAILED_SECONDS, FRESH_SECONDS, UNKNOWN_SECONDS, Issuer
from workers.gateway.problems import Unauthorized, Unavailable
from workers.gateway.settings import GatewaySettings
from workers.runtime.settings import SettingsError

RSA = rsa.generate_private_key(65537, 2048)
OTHER_RSA = rsa.generate_private_key(65537, 2048)
EC = ec.generate_private_key(ec.SECP256R1())
ED = ed25519.Ed25519PrivateKey.generate()


class Server:
    """An issuer; `keys` are those that it publishes."""

    def __init__(self) -> None:
        self.keys = [
            {**RSAAlgorithm.to_jwk(RSA.public_key(), as_dict=True), "kid": "rsa", "use": "sig"},
            {**ECAlgorithm.to_jwk(EC.public_key(), as_dict=True), "kid": "ec"},
            {**OKPAlgorithm.to_jwk(ED.public_key(), as_dict=True), "kid": "ed"},
            {**RSAAlgorithm.to_jwk(OTHER_RSA.public_key(), as_dict=True), "kid": "enc", "use": "enc"},
            {"kty": "oct", "k": base64.urlsafe_b64encode(b"x" * 32).decode(), "kid": "oct"},
            {"kty": "something new", "kid": "new"},
        ]
        self.status, self.fetches, self.now = 200, 0, 1000.0
        app = web.Application()
        app.router.add_get("/keys", self._keys)
        app.router.add_get("/.well-known/openid-configuration", self._discovery)
        self.http = TestServer(app)

    @property
    def url(self) -> str:
        return str(self.http.make_url("")).rstrip("/")

    def issuer(self, jwks_url: str | None = None, url: str | None = None) -> Issuer:
        return Issuer(url or self.url, "phototwin", jwks_url, "tenant", clock=lambda: self.now)

    def claims(self, **changes: Any) -> dict[str, Any]:
        now = time.time()
        claims = {"iss": self.url, "aud": "phototwin", "sub": "ada", "tenant": "acme", "exp": now + 300}
        return {key: value for key, value in {**claims, **changes}.items() if value is not None}

    def token(self, key: Any = RSA, algorithm: str = "RS256", kid: str = "rsa", **changes: Any) -> str:
        return jwt.encode(self.claims(**changes), key, algorithm, headers={"kid": kid})

    async def _keys(self, _: web.Request) -> web.Response:
        self.fetches += 1
        return web.json_response({"keys": self.keys}, status=self.status)

    async def _discovery(self, _: web.Request) -> web.Response:
        return web.json_response({"issuer": self.url, "jwks_uri": f"{self.url}/keys"}, status=self.status)


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    server = Server()
    async with server.http:
        yield server


@pytest.mark.parametrize(
    ("key", "algorithm", "kid"), [(RSA, "RS256", "rsa"), (EC, "ES256", "ec"), (ED, "EdDSA", "ed")]
)
async def test_a_good_token_names_tenant_and_subject(
    server: Server, key: Any, algorithm: str, kid: str
) -> None:
    assert await server.issuer().holder(server.token(key, algorithm, kid)) == ("acme", "ada")


async def test_the_keys_may_be_named_instead_of_discovered(server: Server) -> None:
    issuer = server.issuer(f"{server.url}/keys")
    assert await issuer.holder(server.token(aud=["other", "phototwin"])) == ("acme", "ada")


@pytest.mark.parametrize(
    "wrong",
    [
        {"iss": "https://elsewhere.example"},
        {"iss": None},
        {"aud": "another-service"},
        {"aud": None},
        {"aud": []},
        {"exp": 1},
        {"exp": None},
        {"nbf": 4102444800},  # of the year 2100
        {"sub": None},
        {"tenant": None},
        {"tenant": "../acme"},
        {"tenant": "acme\n"},
        {"tenant": ["acme"]},
        {"tenant": 7},
    ],
    ids=str,
)
async def test_claims_that_are_not_for_us_are_refused(server: Server, wrong: dict[str, Any]) -> None:
    with pytest.raises(Unauthorized):
        await server.issuer().holder(server.token(**wrong))


async def test_a_signature_by_another_key_is_refused(server: Server) -> None:
    with pytest.raises(Unauthorized):
        await server.issuer().holder(server.token(OTHER_RSA))


async def test_a_changed_token_is_refused(server: Server) -> None:
    head, _, signature = server.token().split(".")
    body = base64.urlsafe_b64encode(json.dumps(server.claims(tenant="rich")).encode()).decode().rstrip("=")
    with pytest.raises(Unauthorized):
        await server.issuer().holder(f"{head}.{body}.{signature}")


async def test_no_signature_is_none(server: Server) -> None:
    token = jwt.encode(server.claims(), "", "none", headers={"kid": "rsa"})
    with pytest.raises(Unauthorized):
        await server.issuer().holder(token)


async def test_the_public_key_is_no_shared_secret(server: Server) -> None:
    public = RSA.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    # By hand: the library refuses to sign with it.

    def part(value: dict[str, Any]) -> str:
        return base64.urlsafe_b64encode(json.dumps(value).encode()).decode().rstrip("=")

    told = f"{part({'alg': 'HS256', 'typ': 'JWT', 'kid': 'rsa'})}.{part(server.claims())}"
    mac = hmac.digest(public, told.encode(), hashlib.sha256)
    with pytest.raises(Unauthorized):
        await server.issuer().holder(f"{told}.{base64.urlsafe_b64encode(mac).decode().rstrip('=')}")


@pytest.mark.parametrize(
    ("key", "algorithm", "kid"),
    [
        (b"x" * 32, "HS256", "oct"),  # a secret that the issuer publishes is none
        (OTHER_RSA, "RS256", "enc"),  # a key for something else
        (RSA, "RS256", "ec"),  # another key's name
        (RSA, "PS256", "rsa"),
        (RSA, "RS512", "rsa"),
    ],
)
async def test_other_algorithms_and_keys_are_refused(
    server: Server, key: Any, algorithm: str, kid: str
) -> None:
    with pytest.raises(Unauthorized):
        await server.issuer().holder(server.token(key, algorithm, kid))


@pytest.mark.parametrize("token", ["", "a.b.c", "ptk_", "a" * 5000, "é.é.é", "e30.e30."])
async def test_what_is_no_token_is_refused(server: Server, token: str) -> None:
    with pytest.raises(Unauthorized):
        await server.issuer().holder(token)


async def test_a_new_key_is_found_and_made_up_ones_cost_one_fetch_a_minute(server: Server) -> None:
    issuer = server.issuer()
    await issuer.holder(server.token())
    for number in range(20):
        with pytest.raises(Unauthorized):
            await issuer.holder(server.token(kid=f"made-up-{number}"))
    assert server.fetches == 1
    server.keys.append({**RSAAlgorithm.to_jwk(OTHER_RSA.public_key(), as_dict=True), "kid": "new-rsa"})
    server.now += UNKNOWN_SECONDS + 1
    assert await issuer.holder(server.token(OTHER_RSA, kid="new-rsa")) == ("acme", "ada")
    assert server.fetches == 2


async def test_a_withdrawn_key_is_not_trusted_for_ever(server: Server) -> None:
    issuer = server.issuer()
    await issuer.holder(server.token())
    server.keys = server.keys[1:]
    server.now += FRESH_SECONDS + 1
    with pytest.raises(Unauthorized):
        await issuer.holder(server.token())


async def test_an_issuer_that_is_away_is_no_fault_of_the_token(server: Server) -> None:
    issuer = server.issuer(f"{server.url}/keys")
    server.status = 503
    for _ in range(10):
        with pytest.raises(Unavailable):
            await issuer.holder(server.token())
    assert server.fetches == 1
    server.status = 200
    server.now += FAILED_SECONDS + 1
    assert await issuer.holder(server.token()) == ("acme", "ada")
    assert server.fetches == 2


async def test_known_keys_do_while_the_issuer_is_away(server: Server) -> None:
    issuer = server.issuer()
    await issuer.holder(server.token())
    server.now += FRESH_SECONDS + 1
    known, unknown = server.token(), server.token(kid="other")
    await server.http.close()
    assert await issuer.holder(known) == ("acme", "ada")
    server.now += UNKNOWN_SECONDS + 1
    with pytest.raises(Unavailable):
        await issuer.holder(unknown)


async def test_a_discovery_document_of_another_issuer_is_not_believed(server: Server) -> None:
    other = server.url.replace("127.0.0.1", "localhost")
    with pytest.raises(Unavailable):
        await server.issuer(url=other).holder(server.token(iss=other))


def test_an_issuer_without_an_audience_is_a_wrong_setting() -> None:
    with pytest.raises(SettingsError, match="PHOTOTWIN_OIDC_AUDIENCE"):
        Issuer.of(GatewaySettings(oidc_issuer="https://id.example"))
    assert Issuer.of(GatewaySettings()) is None
