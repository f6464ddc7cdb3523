"""Gateways as they are deployed, and a client of theirs."""

import asyncio
import json
import subprocess
import sys
from dataclasses import dataclass
from typing import Any

import httpx

from tests.integration.fleet import PATIENCE, Fleet, Service
from tests.servers.keeper import free_ports

OPTIONS = {"profile": "preview", "holdout": 0}


@dataclass
class Site:
    """An installation whose gateways are started by the test."""

    ships: Fleet
    key: str

    @staticmethod
    def new_key(ships: Fleet, tenant: str) -> str:
        made = ships.command("gateway", "keys", "create", "app", "--tenant", tenant, "--json")
        assert made.returncode == 0, made.stderr
        return str(json.loads(made.stdout)["key"])

    async def gateway(self) -> tuple[Service, httpx.AsyncClient]:
        """One more replica, ready, and a client of it."""
        watched, port = free_ports(2)
        log = self.ships.folder / f"gateway-{port}.log"
        self.ships.logs.append(log.open("wb"))
        ports = {"PHOTOTWIN_HTTP_PORT": str(watched), "PHOTOTWIN_GATEWAY_PORT": str(port)}
        process = subprocess.Popen(  # noqa: ASYNC220
            [sys.executable, "-m", "workers.cli", "gateway"],
            env=self.ships.environment | ports,
            stderr=self.ships.logs[-1],
        )
        service = Service("prepare", process, watched, log)
        self.ships.services.append(service)
        async with asyncio.timeout(PATIENCE):
            while not await asyncio.to_thread(service.ready):
                assert process.poll() is None, log.read_text()
                await asyncio.sleep(0.2)
        headers = {"Authorization": f"Bearer {self.key}"}
        client = httpx.AsyncClient(
            base_url=f"http://127.0.0.1:{port}",
            headers=headers,
            timeout=PATIENCE,
            limits=httpx.Limits(max_connections=None),
        )
        return service, client


class Events:
    """Server-sent events, followed as a client does: what breaks off is taken up where it was."""

    def __init__(self, path: str) -> None:
        self.path, self.last, self.seen = path, "", list[tuple[int, str]]()
        self.status: dict[str, Any] = {}
        self.progress: list[dict[str, Any]] = []

    async def follow(self, client: httpx.AsyncClient, until: Any) -> None:
        """Until the condition holds, or the connection ends."""
        headers = {"Last-Event-ID": self.last} if self.last else {}
        async with client.stream("GET", self.path, headers=headers) as answer:
            assert answer.headers["content-type"].startswith("text/event-stream")
            fields: dict[str, str] = {}
            async for line in answer.aiter_lines():
                if line:
                    name, _, value = line.partition(": ")
                    fields[name] = value
                    continue
                self._take(fields)
                fields = {}
                if until(self):
                    return

    def _take(self, fields: dict[str, str]) -> None:
        kind = fields.get("event")
        data = json.loads(fields.get("data", "{}"))
        if kind == "status":
            self.status = data
        elif kind == "job.progress":
            self.progress.append(data["data"])
        elif kind is not None:
            self.seen.append((int(fields["id"]), kind))
        self.last = fields.get("id", self.last)


async def send(client: httpx.AsyncClient, photos: dict[str, bytes], **options: Any) -> str:
    """A capture, uploaded and not yet complete."""
    files = [{"name": name, "bytes": len(body)} for name, body in photos.items()]
    answer = await client.post("/v1/captures", json={"files": files, "options": OPTIONS | options})
    assert answer.status_code == 201, answer.text
    told = answer.json()
    async with httpx.AsyncClient(timeout=PATIENCE) as anyone:  # a link is enough
        for target in told["uploads"]["files"]:
            put = await anyone.put(target["url"], content=photos[target["name"]], headers=target["headers"])
            assert put.status_code == 200, put.text
    return str(told["capture_id"])
