"""What lies in the object store: the layout of keys, the manifest of a stage, and `cameras.json`.

    captures/{tenant}/{capture_id}/
        capture.json                              who asked the gateway for it, and for what
        announced/{generation}.json               the gateway's own `dataset.uploaded`, once and for all
        upload/...                                as the phone sent it
        {dataset|masks|mesh|model}/{job_key}/     one folder for each job of a stage
            {sha256}/{name}                       artefacts, content-addressed
            manifest.json                         written last, once and for all
        checkpoints/{job_key}/{sha256}/{name}     states of a job that runs, gone when it is done
        previews/{job_key}/latest.{glb,png}       how its result looks so far
        running/{job_key}                         there while the job is computed
        outcomes/{generation}.json                the event it ended with, cancelled or not, once and for all

`poses_bounds.npy`: (N, 17) float64, a row for each image in the order of `cameras.json`; the LLFF
layout: 3x5 row-major [R | t | (height, width, focal)] with camera-to-world columns [down, right,
backwards], then near and far in world units. `cameras.json` is authoritative.
"""

import hashlib
import json
from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import Field

from contracts.events import Event, Stage
from contracts.fields import Contract, ManifestRef, Name, ObjectRef, RelativePath, Sha256

FOLDERS: dict[Stage, str] = {
    "prepare": "dataset",
    "segment": "masks",
    "reconstruct": "mesh",
    "package": "model",
}


def stage_folder(event: Event, stage: Stage, job_key: str) -> str:
    return f"{event.folder}{FOLDERS[stage]}/{job_key}/"


def manifest_key(event: Event, stage: Stage, job_key: str) -> str:
    return stage_folder(event, stage, job_key) + "manifest.json"


def artefact_key(event: Event, stage: Stage, job_key: str, sha256: str, name: str) -> str:
    """Content-addressed, so that a slow twin can never overwrite what a manifest points to; the
    name comes last, so that a download is called what it is."""
    return f"{stage_folder(event, stage, job_key)}{sha256}/{name}"


def checkpoint_folder(event: Event, job_key: str) -> str:
    """Below it `{sha256}/{name}`, as with artefacts and for the same reason."""
    return f"{event.folder}checkpoints/{job_key}/"


def preview_key(event: Event, job_key: str, suffix: str) -> str:
    return f"{event.folder}previews/{job_key}/latest{suffix}"


def running_key(event: Event, job_key: str) -> str:
    return f"{event.folder}running/{job_key}"


def capture_key(event: Event) -> str:
    return f"{event.folder}capture.json"


def announced_key(event: Event) -> str:
    return f"{event.folder}announced/{event.generation}.json"


def outcome_key(event: Event) -> str:
    return f"{event.folder}outcomes/{event.generation}.json"


class Artefact(ObjectRef):
    """One file of a stage's result; `name` is its path in the stage's folder, e.g. `images/a.png`."""

    name: RelativePath


class Producer(Contract):
    """Who made it, and all that would be needed to make it again."""

    name: Name
    version: Name
    algorithm: Name
    device: Name
    seed: int
    libraries: dict[str, str]


class Usage(Contract):
    """What it cost: times in seconds, peak memory in MB (10^6 bytes)."""

    wall_seconds: Annotated[float, Field(ge=0)]
    cpu_seconds: Annotated[float, Field(ge=0)]
    peak_rss_mb: Annotated[float, Field(ge=0)]


class Manifest(Contract):
    """A stage's result, and inbox and outbox at once: while it is absent the job is to be done,
    once it is there the job is done and its event can be published again from it."""

    version: Literal[1] = 1
    stage: Stage
    job_key: Sha256
    tenant: Name
    capture_id: Name
    generation: int
    inputs: dict[str, str]
    parameters: dict[str, Any]
    producer: Producer
    artefacts: tuple[Artefact, ...]
    usage: Usage
    metrics: dict[str, Any]
    warnings: tuple[str, ...]
    created: datetime

    @property
    def content(self) -> str:
        """SHA-256 over the names and digests of the artefacts, in the order of their names."""
        listing = "".join(f"{a.sha256}  {a.name}\n" for a in sorted(self.artefacts, key=lambda a: a.name))
        return hashlib.sha256(listing.encode()).hexdigest()

    def artefact(self, name: str) -> Artefact:
        """Raises KeyError where there is none of that name."""
        for artefact in self.artefacts:
            if artefact.name == name:
                return artefact
        raise KeyError(name)

    def encode(self) -> bytes:
        return self.model_dump_json(indent=1).encode()


def manifest_ref(key: str, body: bytes, manifest: Manifest) -> ManifestRef:
    return ManifestRef(key=key, sha256=hashlib.sha256(body).hexdigest(), content=manifest.content)


def job_key(
    event: Event, stage: Stage, inputs: Mapping[str, str], algorithm: str, parameters: Mapping[str, Any]
) -> str:
    """SHA-256 over all that decides what a job computes, and for whom. The version of the event is not of
    that: an event and its twin in another version ask for the same job, also across an upgrade."""
    identity = [
        event.routing_key,
        event.tenant,
        event.capture_id,
        event.generation,
        stage,
        algorithm,
        dict(inputs),
        dict(parameters),
    ]
    return hashlib.sha256(json.dumps(identity, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


Vector3 = tuple[float, float, float]
Row4 = tuple[float, float, float, float]
Matrix4 = tuple[Row4, Row4, Row4, Row4]


class ImageCamera(Contract):
    """One image of the dataset. Pixels, pixel centres at +0.5; `c2w` OpenGL (x right, y up, looking
    down -z) in the capture's own world; `crop` [x, y, width, height] in pixels of the source, which it
    may leave: what lies outside is padding."""

    image: RelativePath
    source: RelativePath
    source_size: tuple[int, int]
    crop: Row4
    fx: Annotated[float, Field(gt=0)]
    fy: Annotated[float, Field(gt=0)]
    cx: float
    cy: float
    w: Annotated[int, Field(gt=0)]
    h: Annotated[int, Field(gt=0)]
    c2w: Matrix4 | None
    """None of a single picture without a pose."""


class WorldFrame(Contract):
    """`to_normalised` takes points of the capture's world to the frame of reconstruction, in which
    the object is about the unit sphere at the origin."""

    up: Vector3 | None
    scale: Annotated[float, Field(gt=0)] | None
    to_normalised: Matrix4 | None


class CamerasFile(Contract):
    """`cameras.json`."""

    images: Annotated[tuple[ImageCamera, ...], Field(min_length=1)]
    world: WorldFrame
