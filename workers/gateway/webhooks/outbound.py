"""Calls of webhooks: to allowed addresses only, whatever a name resolves to and wherever we are sent on."""

import asyncio
import re
import socket
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from ipaddress import ip_address
from types import TracebackType
from typing import Self

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult
from aiohttp.connector import AddrInfoType
from yarl import URL

from contracts.envelope import MEDIA_TYPE
from workers.gateway.problems import AddressRefused
from workers.gateway.webhooks.guard import Network, check, is_allowed, is_plain

TOTAL_SECONDS = 10.0
REDIRECTS = 3
SENT_ON = (301, 302, 307, 308)
"""All of them with the same method and body: a webhook is a POST or it is nothing."""


class CallFailed(Exception):
    """It was not answered with success; says why, for the webhook's owner. `after`: for how many seconds it
    asks to be left alone."""

    def __init__(self, reason: str, after: float = 0.0) -> None:
        super().__init__(reason)
        self.after = after


class Outbound:
    """`networks`: of our own, where calls may go too. `resolver` looks names up. A context manager."""

    def __init__(self, networks: Sequence[Network] = (), resolver: AbstractResolver | None = None) -> None:
        self._networks, self._resolver = networks, resolver
        self._sessions: dict[bool, aiohttp.ClientSession] = {}
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> Self:
        for plain in (True, False):
            self._sessions[plain] = await self._stack.enter_async_context(self._session(plain=plain))
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._stack.aclose()

    async def post(self, url: str, headers: Mapping[str, str], body: bytes) -> None:
        """Of the answer nothing but the status is read. Raises CallFailed, AddressRefused."""
        try:
            async with asyncio.timeout(TOTAL_SECONDS):
                await self._post(url, headers, body)
        except TimeoutError:
            raise CallFailed(f"there was no answer in {TOTAL_SECONDS:g} s") from None
        except (aiohttp.ClientError, OSError, ValueError) as error:
            raise CallFailed(f"{error or type(error).__name__}") from None

    async def _post(self, url: str, headers: Mapping[str, str], body: bytes) -> None:
        for _ in range(1 + REDIRECTS):
            target = check(url, self._networks)
            session = self._sessions[is_plain(target)]
            async with session.post(target, data=body, headers=headers, allow_redirects=False) as answer:
                if 200 <= answer.status < 300:
                    return
                elsewhere = answer.headers.get("Location")
                if answer.status not in SENT_ON or not elsewhere:
                    after = answer.headers.get("Retry-After", "")
                    seconds = float(after) if re.fullmatch(r"\d{1,9}", after) else 0.0
                    raise CallFailed(f"it answered {answer.status}", seconds)
            url = str(target.join(URL(elsewhere)))
        raise CallFailed(f"it sent us on more than {REDIRECTS} times")

    def _session(self, *, plain: bool) -> aiohttp.ClientSession:
        connector = aiohttp.TCPConnector(
            resolver=_Resolver(self._resolver or aiohttp.ThreadedResolver(), self._networks, plain=plain),
            socket_factory=lambda info: _socket(info, self._networks, plain=plain),
            use_dns_cache=False,
            # Answers are not read to their end, so that no connection could serve twice.
            force_close=True,
            limit=0,
        )
        return aiohttp.ClientSession(
            connector=connector,
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,
            trust_env=False,
            headers={"Content-Type": MEDIA_TYPE, "User-Agent": "phototwin"},
        )


class _Resolver(AbstractResolver):
    """Names of which a single address is not allowed are refused: they are no mistake."""

    def __init__(self, inner: AbstractResolver, networks: Sequence[Network], *, plain: bool) -> None:
        self._inner, self._networks, self._plain = inner, networks, plain

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        found = await self._inner.resolve(host, port, family)
        for one in found:
            if not is_allowed(ip_address(one["host"]), self._networks, plain=self._plain):
                raise AddressRefused(f"{host} has an address that is not public")
        return found

    async def close(self) -> None:
        await self._inner.close()


def _socket(info: AddrInfoType, networks: Sequence[Network], *, plain: bool) -> socket.socket:
    """For the very address that is connected to: the last word, also where no name was looked up."""
    family, kind, protocol, _, address = info
    if not is_allowed(ip_address(address[0]), networks, plain=plain):
        raise AddressRefused("its address is not public")
    return socket.socket(family, kind, protocol)
