"""A TCP proxy on the loopback interface that can be told to misbehave."""

import asyncio
import socket
import struct
from contextlib import suppress
from types import TracebackType
from typing import Literal, Self
from urllib.parse import urlsplit, urlunsplit

Mood = Literal["pass", "refuse", "unavailable", "deaf", "slow"]
CHUNK = 1 << 16
SLOWNESS = 0.03
NO_LINGER = struct.pack("ii", 1, 0)
BODY = b"<Error><Code>SlowDown</Code><Message>Please reduce your request rate.</Message></Error>"
UNAVAILABLE = (
    b"HTTP/1.1 503 Slow Down\r\nContent-Type: application/xml\r\nConnection: close\r\n"
    b"Content-Length: %d\r\n\r\n%b" % (len(BODY), BODY)
)


class Proxy:
    """Stands before the server of an address; `address` is what to give to its clients instead.

    Moods: `pass`; `refuse` closes what connects; `unavailable` answers every HTTP request with 503; `deaf`
    hands requests on and keeps the answers back, until the connections are cut; `slow` takes its time.
    """

    def __init__(self, address: str) -> None:
        self._parts = urlsplit(address)
        self._mood: Mood = "pass"
        self._hearing = asyncio.Event()
        self._hearing.set()
        self._pairs: set[asyncio.StreamWriter] = set()
        self._turn = asyncio.Lock()
        self.address = ""

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        port = self._server.sockets[0].getsockname()[1]
        login, at, _ = self._parts.netloc.rpartition("@")
        self.address = urlunsplit(self._parts._replace(netloc=f"{login}{at}127.0.0.1:{port}"))
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.close()
        self.cut()

    def cut(self) -> int:
        """Reset all connections; how many there were."""
        ended, self._pairs = self._pairs, set()
        for writer in ended:
            _reset(writer)
        return len(ended) // 2

    async def be(self, mood: Mood, seconds: float) -> None:
        """For a while, or until it is cancelled, one at a time. `refuse` and `unavailable` begin, and `deaf`
        ends, with a cut."""
        async with self._turn:
            self._mood = mood
            if mood == "deaf":
                self._hearing.clear()
            elif mood != "slow":
                self.cut()
            try:
                await asyncio.sleep(seconds)
            finally:
                if mood == "deaf":
                    self.cut()
                self._mood = "pass"
                self._hearing.set()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            if self._mood == "refuse":
                _reset(writer)
            elif self._mood == "unavailable":
                await reader.read(CHUNK)
                writer.write(UNAVAILABLE)
                await writer.drain()
            else:
                await self._join(reader, writer)
        writer.close()

    async def _join(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        host, port = self._parts.hostname or "", self._parts.port
        server_reader, server_writer = await asyncio.open_connection(host, port)
        pair = {writer, server_writer}
        self._pairs |= pair
        asking = asyncio.create_task(self._pump(reader, server_writer, None))
        answering = asyncio.create_task(self._pump(server_reader, writer, self._hearing))
        try:
            await asyncio.wait({asking, answering}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            self._pairs -= pair
            for task in (asking, answering):
                task.cancel()
            for each in pair:
                each.close()

    async def _pump(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, allowed: asyncio.Event | None
    ) -> None:
        with suppress(OSError):
            while data := await reader.read(CHUNK):
                if allowed is not None:
                    await allowed.wait()
                if self._mood == "slow":
                    await asyncio.sleep(SLOWNESS)
                writer.write(data)
                await writer.drain()


def _reset(writer: asyncio.StreamWriter) -> None:
    """Without a farewell: what is under way is lost, and both ends get an error."""
    with suppress(OSError):
        writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, NO_LINGER)
    writer.transport.abort()
