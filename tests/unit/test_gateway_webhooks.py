"""Webhooks: that their calls go where they may and nowhere else, and how they are signed."""

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from ipaddress import ip_network

import pytest
from aiohttp import web
from aiohttp.abc import AbstractResolver, ResolveResult
from aiohttp.test_utils import TestServer
from hypothesis import given
from hypothesis import strategies as st
from yarl import URL

from workers.gateway.problems import AddressRefused
from workers.gateway.webhooks import outbound
from workers.gateway.webhooks.calls import LONGEST, SHORTEST, pause
from workers.gateway.webhooks.guard import Network
from workers.gateway.webhooks.outbound import CallFailed, Outbound
from workers.gateway.webhooks.signature import (
    TOLERANCE_SECONDS,
    SignatureWrong,
    new_secret,
    signed,
    verify,
)

Answer = Callable[[web.Request], Awaitable[web.StreamResponse]]
LOOPBACK: tuple[Network, ...] = (ip_network("127.0.0.0/8"),)


class Names(AbstractResolver):
    """Of the test's own: name -> addresses."""

    def __init__(self, **names: list[str]) -> None:
        self._names = {name.replace("_", "."): addresses for name, addresses in names.items()}

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        return [
            ResolveResult(hostname=host, host=address, port=port, family=_family(address), proto=0, flags=0)
            for address in self._names[host]
        ]

    async def close(self) -> None:
        pass


class Receiver:
    """Counts calls; `answer` makes the answer."""

    def __init__(self, answer: Answer | None = None, host: str = "127.0.0.1") -> None:
        self.calls: list[tuple[str, dict[str, str], bytes]] = []
        self._answer = answer
        app = web.Application()
        app.router.add_route("*", "/{tail:.*}", self._called)
        self.http = TestServer(app, host=host)

    def url(self, path: str = "/hook", host: str | None = None) -> str:
        url = self.http.make_url(path)
        return str(url.with_host(host) if host else url)

    async def _called(self, request: web.Request) -> web.StreamResponse:
        self.calls.append((request.method, dict(request.headers), await request.read()))
        return await self._answer(request) if self._answer else web.Response(status=204)


@asynccontextmanager
async def receiving(answer: Answer | None = None, host: str = "127.0.0.1") -> AsyncIterator[Receiver]:
    receiver = Receiver(answer, host)
    async with receiver.http:
        yield receiver


async def _post(url: str, networks: tuple[Network, ...] = LOOPBACK, names: Names | None = None) -> None:
    async with Outbound(networks, names) as out:
        await out.post(url, {"webhook-id": "msg_1"}, b'{"a": 1}')


async def test_a_call_is_a_post_with_its_headers() -> None:
    async with receiving() as receiver:
        await _post(receiver.url())
    ((method, headers, body),) = receiver.calls
    assert (method, body, headers["webhook-id"]) == ("POST", b'{"a": 1}', "msg_1")
    assert headers["Content-Type"] == "application/cloudevents+json"


@pytest.mark.parametrize("addresses", [["127.0.0.1"], ["93.184.215.14", "127.0.0.1"], ["::ffff:127.0.0.1"]])
async def test_a_name_that_leads_inside_is_refused(addresses: list[str]) -> None:
    with pytest.raises(AddressRefused):
        await _post("https://hooks.example/", (), Names(hooks_example=addresses))


async def test_a_name_with_a_single_address_that_is_not_allowed_is_refused() -> None:
    async with receiving(host="127.0.0.2") as receiver:
        names = Names(backend=["127.0.0.2", "127.0.0.1"])
        with pytest.raises(AddressRefused):
            await _post(receiver.url(host="backend"), (ip_network("127.0.0.2/32"),), names)
    assert receiver.calls == []


async def test_http_to_a_public_address_is_refused_though_one_has_networks_of_ones_own() -> None:
    with pytest.raises(AddressRefused):
        await _post("http://hooks.example/", LOOPBACK, Names(hooks_example=["93.184.215.14"]))


async def test_a_name_within_ones_own_networks_is_called() -> None:
    async with receiving() as receiver:
        await _post(receiver.url(host="backend"), LOOPBACK, Names(backend=["127.0.0.1"]))
    assert len(receiver.calls) == 1


async def test_the_address_connected_to_has_the_last_word(monkeypatch: pytest.MonkeyPatch) -> None:
    """Were all that is looked at before it mistaken, there still is no connection."""
    monkeypatch.setattr(outbound, "check", lambda url, networks: URL(url))
    async with receiving() as receiver:
        for url in (receiver.url(), "https://127.0.0.1:8443/"):
            with pytest.raises(AddressRefused):
                await _post(url, ())
    assert receiver.calls == []


@pytest.mark.parametrize("status", [301, 302, 307, 308])
async def test_being_sent_on_is_followed_with_the_same_call(status: int) -> None:
    async def answer(request: web.Request) -> web.Response:
        if request.path == "/hook":
            return web.Response(status=status, headers={"Location": "/there"})
        return web.Response(status=200)

    async with receiving(answer) as receiver:
        await _post(receiver.url())
    assert [(method, body) for method, _, body in receiver.calls] == [("POST", b'{"a": 1}')] * 2


@pytest.mark.parametrize("to", ["literal", "name", "//", "credentials"])
async def test_being_sent_inside_is_refused(to: str) -> None:
    async with receiving() as inside:
        address = {
            "literal": inside.url(),
            "name": inside.url(host="inside.example"),
            "//": inside.url().removeprefix("http:"),
            "credentials": str(inside.http.make_url("/").with_user("a").with_host("127.0.0.2")),
        }[to]

        async def answer(_: web.Request) -> web.Response:
            return web.Response(status=307, headers={"Location": address})

        async with receiving(answer, "127.0.0.2") as outside:
            with pytest.raises(AddressRefused):
                await _post(outside.url(), (ip_network("127.0.0.2/32"),), Names(inside_example=["127.0.0.1"]))
    assert (len(outside.calls), len(inside.calls)) == (1, 0)


async def test_being_sent_on_and_on_ends() -> None:
    async def answer(_: web.Request) -> web.Response:
        return web.Response(status=302, headers={"Location": "/hook"})

    async with receiving(answer) as receiver:
        with pytest.raises(CallFailed, match="3 times"):
            await _post(receiver.url())
    assert len(receiver.calls) == 4


@pytest.mark.parametrize("status", [303, 304, 400, 404, 410, 500, 503])
async def test_what_is_no_success_is_a_failure(status: int) -> None:
    async def answer(_: web.Request) -> web.Response:
        return web.Response(status=status, headers={"Location": "/elsewhere"} if status == 303 else {})

    async with receiving(answer) as receiver:
        with pytest.raises(CallFailed, match=str(status)):
            await _post(receiver.url())
    assert len(receiver.calls) == 1


@pytest.mark.parametrize(("told", "seconds"), [("120", 120.0), ("soon", 0.0), ("-5", 0.0), (None, 0.0)])
async def test_a_receiver_says_for_how_long_it_is_busy(told: str | None, seconds: float) -> None:
    async def answer(_: web.Request) -> web.Response:
        return web.Response(status=429, headers={} if told is None else {"Retry-After": told})

    async with receiving(answer) as receiver:
        with pytest.raises(CallFailed) as failed:
            await _post(receiver.url())
    assert failed.value.after == seconds


async def test_an_answer_without_an_end_is_not_read() -> None:
    sent = 0

    async def answer(request: web.Request) -> web.StreamResponse:
        nonlocal sent
        response = web.StreamResponse()
        await response.prepare(request)
        while True:
            await response.write(b"x" * 65536)
            sent += 65536

    async with receiving(answer) as receiver:
        await asyncio.wait_for(_post(receiver.url()), 60)
    assert sent < 20 << 20  # what the kernel's buffers take


async def test_whoever_does_not_answer_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outbound, "TOTAL_SECONDS", 0.2)

    async def answer(_: web.Request) -> web.Response:
        await asyncio.sleep(30)
        return web.Response()

    async with receiving(answer) as receiver:
        with pytest.raises(CallFailed, match="no answer"):
            await _post(receiver.url())


async def test_nobody_listening_is_a_failed_call() -> None:
    async with receiving() as receiver:
        url = receiver.url()
    with pytest.raises(CallFailed):
        await _post(url)


async def test_a_proxy_in_the_environment_is_not_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    async with receiving() as proxy, receiving() as receiver:
        for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
            monkeypatch.setenv(name, proxy.url("/"))
        await _post(receiver.url())
    assert (len(proxy.calls), len(receiver.calls)) == (0, 1)


def test_the_signature_is_that_of_standard_webhooks() -> None:
    """The example of the specification's own libraries."""
    headers = signed(
        "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
        "msg_p5jXN8AQM9LWM0D4loKWxJek",
        b'{"test": 2432232314}',
        1614265330.9,
    )
    assert headers == {
        "webhook-id": "msg_p5jXN8AQM9LWM0D4loKWxJek",
        "webhook-timestamp": "1614265330",
        "webhook-signature": "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
    }


def test_a_signature_is_verified() -> None:
    secret, body = new_secret(), '{"é": 1}'.encode()
    headers = signed(secret, "msg_1", body, 1000)
    verify(secret, headers, body, 1000 + TOLERANCE_SECONDS)
    verify(secret, headers | {"webhook-signature": f"v1,AAAA {headers['webhook-signature']}"}, body, 1000)
    other = signed(new_secret(), "msg_1", body, 1000)
    for wrong, text, now in (
        (headers, body + b" ", 1000),
        (headers | {"webhook-id": "msg_2"}, body, 1000),
        (headers | {"webhook-timestamp": "1001"}, body, 1000),
        (headers | {"webhook-timestamp": "soon"}, body, 1000),
        (headers | {"webhook-signature": other["webhook-signature"]}, body, 1000),
        (headers | {"webhook-signature": headers["webhook-signature"].replace("v1,", "v2,")}, body, 1000),
        (headers | {"webhook-signature": "é"}, body, 1000),
        (headers | {"webhook-signature": ""}, body, 1000),
        ({}, body, 1000),
        (headers, body, 1001 + TOLERANCE_SECONDS),
        (headers, body, 999 - TOLERANCE_SECONDS),
    ):
        with pytest.raises(SignatureWrong):
            verify(secret, wrong, text, now)


@given(st.integers(1, 50), st.floats(0, 1))
def test_pauses_grow_from_seconds_to_hours(attempts: int, chance: float) -> None:
    seconds = pause(attempts, chance).total_seconds()
    assert 0.8 * SHORTEST <= seconds <= 1.2 * LONGEST
    assert seconds <= pause(attempts + 1, chance).total_seconds()
    assert pause(12, 0.5).total_seconds() == LONGEST
    assert pause(1, 0.5, after=120).total_seconds() == 120
    assert pause(1, 0.5, after=1e9).total_seconds() == LONGEST
    assert pause(9, 0.5, after=1).total_seconds() > 1


def _family(address: str) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in address else socket.AF_INET
