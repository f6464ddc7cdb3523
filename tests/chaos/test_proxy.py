"""The proxy's moods, against a server that answers each line with another."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from tests.chaos.proxy import Mood, Proxy

Lines = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class Echo:
    """`heard`: what has reached it."""

    def __init__(self) -> None:
        self.heard: list[bytes] = []

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while line := await reader.readline():
            self.heard.append(line)
            writer.write(line.upper())
        writer.close()


@pytest.fixture
async def echo() -> Echo:
    return Echo()


@pytest.fixture
async def proxy(echo: Echo) -> AsyncIterator[Proxy]:
    server = await asyncio.start_server(echo.serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with server, Proxy(f"http://user:secret@127.0.0.1:{port}/path") as made:
        yield made


async def connect(proxy: Proxy) -> Lines:
    assert proxy.address.startswith("http://user:secret@127.0.0.1:")
    return await asyncio.open_connection("127.0.0.1", int(proxy.address.split(":")[-1].split("/")[0]))


async def ask(lines: Lines, question: bytes = b"hello\n") -> bytes:
    lines[1].write(question)
    return await lines[0].readline()


@asynccontextmanager
async def moody(proxy: Proxy, mood: Mood) -> AsyncIterator[None]:
    being = asyncio.create_task(proxy.be(mood, 600))
    await asyncio.sleep(0)  # it is from its first step
    try:
        yield
    finally:
        being.cancel()
        await asyncio.gather(being, return_exceptions=True)


async def test_it_passes_on_and_cuts(proxy: Proxy) -> None:
    lines = await connect(proxy)
    assert await ask(lines) == b"HELLO\n"
    assert proxy.cut() == 1
    with pytest.raises(ConnectionError):
        await ask(lines)
    assert await ask(await connect(proxy)) == b"HELLO\n"


@pytest.mark.parametrize("mood", ["refuse", "unavailable"])
async def test_it_turns_away_for_a_while(proxy: Proxy, echo: Echo, mood: Mood) -> None:
    before = await connect(proxy)
    await ask(before)
    async with moody(proxy, mood):
        with pytest.raises(ConnectionError):
            await ask(before)
        if mood == "refuse":
            with pytest.raises(ConnectionError):
                await ask(await connect(proxy))
        else:
            assert await ask(await connect(proxy)) == b"HTTP/1.1 503 Slow Down\r\n"
    assert await ask(await connect(proxy)) == b"HELLO\n"
    assert len(echo.heard) == 2


async def test_deaf_it_asks_and_never_answers(proxy: Proxy, echo: Echo) -> None:
    async with moody(proxy, "deaf"):
        asking = asyncio.create_task(ask(await connect(proxy)))
        async with asyncio.timeout(60):
            while not echo.heard:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        await asyncio.sleep(0.1)
        assert not asking.done()
    with pytest.raises(ConnectionError):
        await asking
    assert echo.heard == [b"hello\n"]
