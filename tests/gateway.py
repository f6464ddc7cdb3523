"""A gateway for tests, on an embedded broker and a folder, and what workers would say to it."""

import asyncio
import hashlib
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx

from broker.embedded import Broker
from broker.interface import Message
from broker.topology import Topology
from contracts.dataset import (
    Artefact,
    CamerasFile,
    ImageCamera,
    Manifest,
    Producer,
    Usage,
    WorldFrame,
    artefact_key,
    manifest_key,
    manifest_ref,
)
from contracts.envelope import Envelope, event_id, new_traceparent
from contracts.events import Event, JobProgress, Stage
from contracts.fields import ManifestRef
from workers.gateway.app import application
from workers.gateway.database.session import connect
from workers.gateway.gateway import Gateway
from workers.gateway.links.folder import FolderLinks
from workers.gateway.serve import gateway
from workers.gateway.settings import GatewaySettings
from workers.runtime.folder import FolderStore
from workers.runtime.storage import ObjectStore
from workers.stages import WORKERS

BASE = "http://127.0.0.1:8080"
IMAGE = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\0\x04\0\0\0\x04"
PRODUCER = Producer(name="test", version="0", algorithm="0", device="cpu", seed=0, libraries={})
EYE = ((1.0, 0.0, 0.0, 0.0), (0.0, 1.0, 0.0, 0.0), (0.0, 0.0, 1.0, 0.0), (0.0, 0.0, 0.0, 1.0))
MADE: dict[Stage, tuple[str, ...]] = {
    "prepare": ("cameras.json", *(f"images/p{i}.png" for i in range(12))),
    "segment": tuple(f"p{i}.png" for i in range(12)),
    "reconstruct": ("mesh.obj",),
    "package": ("model.glb", "poster.png", "report.html"),
}
KINDS = {".glb": "model/gltf-binary", ".png": "image/png", ".html": "text/html", ".json": "application/json"}


@dataclass
class Served:
    """A gateway, a client of it (tenant `default`), and the workers' part."""

    gateway: Gateway
    client: httpx.AsyncClient
    workers: "Workers"

    async def created(self, *names: str, **asked: Any) -> dict[str, Any]:
        """A capture, with its files still to be uploaded."""
        files = [{"name": name, "bytes": len(content(name))} for name in names or ("a.jpg", "b.jpg")]
        answer = await self.client.post("/v1/captures", json={"files": files, **asked})
        assert answer.status_code == 201, answer.text
        told: dict[str, Any] = answer.json()
        return told

    async def uploaded(self, *names: str, **asked: Any) -> str:
        """The id of a capture that is complete."""
        told = await self.created(*names, **asked)
        await self.send(told["uploads"])
        answer = await self.client.post(f"/v1/captures/{told['capture_id']}/complete")
        assert answer.status_code == 202, answer.text
        return str(told["capture_id"])

    async def send(self, uploads: dict[str, Any]) -> None:
        for target in uploads["files"]:
            if not target["received"]:
                body = content(target["name"])
                put = await self.client.put(target["url"], content=body, headers=target["headers"])
                assert put.status_code < 300, put.text

    async def status(self, capture_id: str) -> dict[str, Any]:
        told: dict[str, Any] = (await self.client.get(f"/v1/captures/{capture_id}")).json()
        return told

    async def until(self, capture_id: str, state: str) -> dict[str, Any]:
        async with asyncio.timeout(120):
            while (told := await self.status(capture_id)).get("state") != state:  # noqa: ASYNC110
                await asyncio.sleep(0.02)
        return told


@dataclass
class Workers:
    """Says what workers say, with results in the store, of no content to speak of."""

    publish: Callable[[Message], Awaitable[None]]
    progress: Callable[[Message], Awaitable[None]]
    store: ObjectStore
    settings: GatewaySettings
    folder: Path

    async def do(self, stage: Stage, begun: Event, **metrics: Any) -> Event:
        """The stage's answer to an event, published."""
        job = hashlib.sha256(f"{stage}{begun.generation}{begun.routing_key}".encode()).hexdigest()
        ref, manifest = await self._result(stage, begun, job, metrics)
        reply = WORKERS[stage](self.settings).reply(begun, manifest, ref)
        await self.say(reply, event_id(reply.event_type(), f"{reply.folder}{job}"))
        return reply

    async def say(self, event: Event, id: str) -> None:
        envelope = Envelope.wrap(event, id=id, source="phototwin/test", traceparent=new_traceparent())
        message = Message(envelope.encode(), event.routing_key, id)
        await (self.progress if isinstance(event, JobProgress) else self.publish)(message)

    async def _result(
        self, stage: Stage, event: Event, job: str, metrics: dict[str, Any]
    ) -> tuple[ManifestRef, Manifest]:
        artefacts = []
        for name in MADE[stage]:
            path = self.folder / "artefact"
            path.write_bytes(_cameras() if name == "cameras.json" else IMAGE + name.encode())
            digest = hashlib.sha256(path.read_bytes()).hexdigest()
            key = artefact_key(event, stage, job, digest, name)
            kind = KINDS.get(Path(name).suffix, "text/plain")
            await self.store.put(key, path, kind)
            size = path.stat().st_size
            artefacts.append(Artefact(key=key, sha256=digest, bytes=size, media_type=kind, name=name))
        manifest = Manifest(
            stage=stage,
            job_key=job,
            tenant=event.tenant,
            capture_id=event.capture_id,
            generation=event.generation,
            inputs={},
            parameters={},
            producer=PRODUCER,
            artefacts=tuple(artefacts),
            usage=Usage(wall_seconds=2.5, cpu_seconds=2, peak_rss_mb=1),
            metrics={"images": 12, "posed": True, "masked": False, "world": {}, **metrics},
            warnings=(f"{stage} was unsure",) if stage in ("prepare", "package") else (),
            created=datetime.now(UTC),
        )
        key, body = manifest_key(event, stage, job), manifest.encode()
        await self.store.put_if_absent(key, body, "application/json")
        return manifest_ref(key, body, manifest), manifest


@asynccontextmanager
async def served(folder: Path, url: str | None = None, **changes: Any) -> AsyncIterator[Served]:
    """url: of the database; a file's in `folder` unless given."""
    folder.mkdir(parents=True, exist_ok=True)
    broker, store = Broker(Topology(prefix="test", shards=1)), FolderStore(folder / "store")
    async with one(folder, broker, store, url, **changes) as made:
        yield made
    await broker.close()


@asynccontextmanager
async def one(
    folder: Path, broker: Broker, store: FolderStore, url: str | None = None, **changes: Any
) -> AsyncIterator[Served]:
    """One of several on the same broker, store and database."""
    settings = GatewaySettings(
        prefix="test", shards=1, **{"auth": "none", "requests_per_minute": 100_000, **changes}
    )
    links = FolderLinks(store, b"secret")
    async with (
        connect(url or f"sqlite+aiosqlite:///{folder / 'gateway.db'}") as database,
        gateway(settings, database, broker, store, links, lasting=False) as made,
        httpx.AsyncClient(
            transport=httpx.ASGITransport(application(made), raise_app_exceptions=False), base_url=BASE
        ) as client,
    ):
        workers = Workers(broker.publish, broker.publish_progress, store, settings, folder)
        yield Served(made, client, workers)


def content(name: str) -> bytes:
    return f"the photo {name}".encode()


def _cameras() -> bytes:
    images = tuple(
        ImageCamera(
            image=f"images/p{i}.png",
            source=f"p{i}.jpg",
            source_size=(4, 4),
            crop=(0, 0, 4, 4),
            fx=4,
            fy=4,
            cx=2,
            cy=2,
            w=4,
            h=4,
            c2w=EYE,
        )
        for i in range(12)
    )
    return (
        CamerasFile(images=images, world=WorldFrame(up=None, scale=None, to_normalised=None))
        .model_dump_json()
        .encode()
    )
