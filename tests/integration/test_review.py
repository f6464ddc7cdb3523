"""Masks reviewed by a person, between workers that run as processes on a real RabbitMQ and a real S3."""

import asyncio
import base64
import io
import json
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from contracts.dataset import Manifest
from contracts.events import MasksProposed, MasksReady, MasksReviewed, MeshReady
from contracts.review import PREFIX
from tests.integration.fleet import PATIENCE, Fleet, fleet
from tests.servers.ceph import ObjectStore as S3Server
from tests.servers.rabbitmq import Broker as RabbitServer
from workers.simulate.capture import simulate

OPTIONS = ("--profile", "preview", "--holdout", "0", "--review")


@pytest.fixture(scope="module")
def capture(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("simulated")
    simulate(folder, views=10, size=(240, 320), seed=5)
    return folder / "capture"


@pytest.fixture
async def ships(rabbitmq: RabbitServer, s3: S3Server, tmp_path: Path) -> AsyncIterator[Fleet]:
    async with fleet(rabbitmq, s3, tmp_path) as made:
        yield made


async def _proposed(ships: Fleet, capture: Path, capture_id: str) -> tuple[MasksProposed, list[str]]:
    """The proposal for a capture, and the stems of its masks."""
    published = ships.command("publish", str(capture), "--capture-id", capture_id, *OPTIONS)
    assert published.returncode == 0, published.stderr
    (proposal,) = await ships.outcome(MasksProposed, capture_id)
    return proposal, _stems(await ships.manifest(proposal.masks))


def _stems(manifest: Manifest) -> list[str]:
    return [Path(a.name).stem for a in manifest.artefacts if a.name.endswith(".png")]


async def _brighter(ships: Fleet, proposal: MasksProposed, stem: str) -> tuple[str, np.ndarray]:
    """A proposed mask with its topmost rows painted in: as a data URL, and its pixels."""
    artefact = (await ships.manifest(proposal.masks)).artefact(f"{stem}.png")
    with Image.open(io.BytesIO(await ships.store.get(artefact.key))) as image:
        mask = np.array(image)
    mask[:20] = 255
    content = io.BytesIO()
    Image.fromarray(mask).save(content, "PNG")
    return PREFIX + base64.b64encode(content.getvalue()).decode(), mask


async def test_nothing_is_built_from_masks_before_a_person_has_decided(
    ships: Fleet, capture: Path, tmp_path: Path
) -> None:
    _, segment, reconstruct = await ships.start("prepare", "segment", "reconstruct")
    proposal, stems = await _proposed(ships, capture, "looked-at")
    url, mask = await _brighter(ships, proposal, stems[1])
    assert reconstruct.metric("events_consumed_total") == 0
    assert segment.metric("events_published_total", event="masks.ready") == 0
    assert segment.metric("mask_duration_seconds_count") == 1

    path = tmp_path / "decisions.json"
    path.write_text(
        json.dumps({"images": {stems[0]: {"keep": False}, stems[1]: {"keep": True, "mask": url}}})
    )
    for _ in range(2):  # the same decisions twice
        decided = ships.command("masks", "decide", "looked-at", str(path), "--json")
        assert decided.returncode == 0, decided.stderr
        assert json.loads(decided.stdout)["type"] == "phototwin.masks.reviewed.v2"
    reviewed = await ships.envelopes(MasksReviewed, "looked-at", count=2)
    assert reviewed[0].id == reviewed[1].id == json.loads(decided.stdout)["event_id"]
    ready = await ships.envelopes(MasksReady, "looked-at", count=2)
    assert ready[0].id == ready[1].id
    assert ready[0].data == ready[1].data
    (mesh,) = await ships.outcome(MeshReady, "looked-at")
    assert isinstance(ready[0].data, MasksReady)
    assert mesh.masks == ready[0].data.masks

    manifest = await ships.manifest(mesh.masks)
    assert _stems(manifest) == stems[1:]
    content = await ships.store.get(manifest.artefact(f"{stems[1]}.png").key)
    with Image.open(io.BytesIO(content)) as image:
        assert np.array_equal(np.asarray(image), mask)
    await segment.settled(3)
    assert segment.metric("job_duration_seconds_count", outcome="done") == 2  # proposed, and reviewed once
    assert segment.metric("masks_reviewed_total", decision="replaced") == 1
    assert segment.metric("masks_reviewed_total", decision="discarded") == 1

    path.write_text(json.dumps({"images": {stems[2]: {"keep": False}}}))
    refused = ships.command("masks", "decide", "looked-at", str(path))
    assert refused.returncode == 1
    assert "--generation 1" in refused.stderr


async def test_decisions_outlive_the_worker_that_proposed(
    ships: Fleet, capture: Path, tmp_path: Path
) -> None:
    _, victim = await ships.start("prepare", "segment")
    _, stems = await _proposed(ships, capture, "orphaned")
    await asyncio.to_thread(victim.end, signal.SIGKILL)
    path = tmp_path / "decisions.json"
    path.write_text(json.dumps({"images": {stems[0]: {"keep": False}}}))
    decided = ships.command("masks", "decide", "orphaned", str(path))
    assert decided.returncode == 0, decided.stderr

    # Killed a second time, at any moment of the job that applies the decisions.
    (second,) = await ships.start("segment")
    await asyncio.to_thread(second.end, signal.SIGKILL)
    await ships.start("segment")
    ready = await ships.envelopes(MasksReady, "orphaned")
    assert isinstance(ready[0].data, MasksReady)
    assert _stems(await ships.manifest(ready[0].data.masks)) == stems[1:]
    async with asyncio.timeout(PATIENCE):
        while await ships.depth("segment"):  # noqa: ASYNC110
            await asyncio.sleep(0.2)
    below = await ships.store.below("captures/default/orphaned/masks/")
    assert len([entry for entry in below if entry.key.endswith("manifest.json")]) == 2
    assert await ships.broker.depth(ships.settings.topology.dead_letter_queue("segment")) == 0


async def test_what_cannot_be_decided_is_refused_in_a_sentence(
    ships: Fleet, capture: Path, tmp_path: Path
) -> None:
    await ships.start("prepare", "segment")
    _, stems = await _proposed(ships, capture, "misjudged")
    path = tmp_path / "decisions.json"
    path.write_text(json.dumps({"images": {stem: {"keep": False} for stem in stems}}))
    refused = ships.command("masks", "decide", "misjudged", str(path), "--json")
    assert refused.returncode == 1
    assert json.loads(refused.stdout)["error"]["code"] == "review_leaves_too_few"
    assert "Traceback" not in refused.stderr
    refused = ships.command("masks", "decide", "misjudged", str(path), "--tenant", "somebody-else")
    assert refused.returncode == 1
    assert "no masks of capture misjudged of tenant somebody-else" in refused.stderr
