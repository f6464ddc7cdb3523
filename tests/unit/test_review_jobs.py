"""Review in the pipeline: masks wait for a person, and what was decided first counts."""

import asyncio
import base64
import io
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import pytest
from PIL import Image

from broker.embedded import Broker
from broker.interface import Message
from broker.topology import Topology
from contracts.dataset import Manifest
from contracts.envelope import Envelope, new_traceparent
from contracts.errors import ReviewLeavesTooFew, ReviewMaskInvalid, ReviewOtherMasks, ReviewUnknownImage
from contracts.events import (
    CaptureFailed,
    Event,
    JobProgress,
    MasksProposed,
    MasksReady,
    MasksReviewed,
    Options,
    Stage,
)
from contracts.fields import ManifestRef
from contracts.review import PREFIX, DecisionsFile
from tests.captures import Rig, write
from workers import local, masks
from workers.decisions import reviewed
from workers.masks import CannotReview
from workers.runtime.compute import Compute
from workers.runtime.folder import FolderStore
from workers.runtime.metrics import Metrics
from workers.runtime.run_loop import RunLoop
from workers.runtime.settings import Settings
from workers.stages import WORKERS
from workers.upload import upload

PATIENCE = 300
E = TypeVar("E", bound=Event)


@dataclass
class Site:
    """Prepare and segment at work on an embedded broker."""

    broker: Broker
    store: FolderStore
    metrics: Metrics

    async def publish(self, event: Event, id: str) -> None:
        envelope = Envelope.wrap(event, id=id, source="test", traceparent=new_traceparent())
        await self.broker.publish(Message(envelope.encode(), event.routing_key, id))

    async def outcomes(self, kind: type[E], count: int = 1) -> list[tuple[str, E]]:
        """Ids and events of a kind, once there are so many."""
        async with asyncio.timeout(PATIENCE), self.broker.outcomes() as outcomes:
            found: list[tuple[str, E]] = []
            async for _, message in outcomes:
                envelope = None if message.id == "nonsense" else Envelope.parse(message.body)
                if envelope is not None and isinstance(envelope.data, kind):
                    found.append((envelope.id, envelope.data))
                if len(found) == count:
                    break
            return found

    async def manifest(self, ref: ManifestRef) -> Manifest:
        return Manifest.model_validate_json(await self.store.get(ref.key))

    async def kept(self, ref: ManifestRef) -> list[str]:
        return [Path(a.name).stem for a in (await self.manifest(ref)).artefacts if a.name.endswith(".png")]

    def count(self, name: str, **labels: str) -> float:
        return self.metrics.registry.get_sample_value(f"phototwin_{name}", labels) or 0.0


@asynccontextmanager
async def site(folder: Path) -> AsyncIterator[Site]:
    settings = Settings(work_dir=str(folder), retry_delays=(0.1,), max_attempts=1)
    made = Site(Broker(Topology(retry_delays=(0.1,))), FolderStore(folder / "store"), Metrics())
    workers = [WORKERS[stage](settings) for stage in ("prepare", "segment")]
    compute, stop = Compute(tuple(worker.compute for worker in workers), 1), asyncio.Event()
    running = [
        asyncio.create_task(RunLoop(w, made.broker, made.store, compute, settings, made.metrics).run(stop))
        for w in workers
    ]
    try:
        yield made
    finally:
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)
        await compute.close()
        await made.broker.close()


@pytest.fixture
async def proposed(tmp_path: Path) -> AsyncIterator[tuple[Site, MasksProposed]]:
    """A site at which the masks of a capture wait for a person."""
    capture = write(tmp_path / "capture", Rig())
    async with site(tmp_path) as made:
        options = Options(review=True)
        event = await upload(made.store, capture, tenant="default", capture_id="c1", options=options)
        await made.publish(event, "uploaded")
        ((_, proposal),) = await made.outcomes(MasksProposed)
        yield made, proposal


def decided(**images: Any) -> DecisionsFile:
    return DecisionsFile.parse(json.dumps({"images": images}).encode())


NO_FIRST, NO_SECOND = decided(photo_00={"keep": False}), decided(photo_01={"keep": False})


async def test_nothing_goes_on_before_a_person_has_decided(proposed: tuple[Site, MasksProposed]) -> None:
    here, proposal = proposed
    assert await here.broker.depth("phototwin.reconstruct") == 0
    before = await here.kept(proposal.masks)
    assert here.count("mask_duration_seconds_count", segmenter="uploaded") == 1
    await here.publish(await reviewed(here.store, NO_FIRST, proposal), "reviewed")
    ((_, ready),) = await here.outcomes(MasksReady)
    assert await here.kept(ready.masks) == [stem for stem in before if stem != "photo_00"]
    assert ready.images == len(before) - 1
    assert (ready.dataset, ready.world, ready.options) == (proposal.dataset, proposal.world, proposal.options)
    manifest = await here.manifest(ready.masks)
    assert manifest.inputs == {"dataset": proposal.dataset.key, "masks": proposal.masks.key}
    assert manifest.parameters == {"decisions": {"photo_00": {"decision": "discard", "mask": None}}}
    assert here.count("masks_reviewed_total", decision="discarded") == 1
    assert here.count("masks_reviewed_total", decision="kept") == ready.images


async def test_what_was_decided_first_counts(proposed: tuple[Site, MasksProposed]) -> None:
    here, proposal = proposed
    for number, decisions in enumerate((NO_FIRST, NO_FIRST, NO_SECOND)):
        await here.publish(await reviewed(here.store, decisions, proposal), f"reviewed-{number}")
    first, *others = await here.outcomes(MasksReady, 3)
    assert others == [first, first]
    assert "photo_00" not in await here.kept(first[1].masks)
    async with asyncio.timeout(PATIENCE):  # the last of them may not be settled yet
        while here.count("job_duration_seconds_count", stage="segment", outcome="adopted") < 2:  # noqa: ASYNC110
            await asyncio.sleep(0.02)
    assert here.count("masks_reviewed_total", decision="discarded") == 1
    # Another generation is another question.
    await here.publish(await reviewed(here.store, NO_SECOND, proposal, 1), "reviewed-again")
    id, later = (await here.outcomes(MasksReady, 4))[-1]
    assert id != first[0]
    assert later.generation == 1
    assert "photo_01" not in await here.kept(later.masks)


async def test_decisions_told_in_version_1_are_the_same_job(proposed: tuple[Site, MasksProposed]) -> None:
    here, proposal = proposed
    event = await reviewed(here.store, NO_FIRST, proposal)
    document = json.loads(Envelope.wrap(event, id="v1", source="t", traceparent=new_traceparent()).encode())
    document |= {"type": "phototwin.masks.reviewed.v1", "dataschema": "urn:phototwin:masks.reviewed:1"}
    document["data"]["decisions"] = {"photo_00": {"keep": False}}
    await here.broker.publish(Message(json.dumps(document).encode(), event.routing_key, "v1"))
    await here.publish(event, "v2")
    first, second = await here.outcomes(MasksReady, 2)
    assert first == second
    assert "photo_00" not in await here.kept(first[1].masks)
    assert here.count("masks_reviewed_total", decision="discarded") == 1


async def test_decisions_that_cannot_be_applied_fail_and_are_not_the_first(
    proposed: tuple[Site, MasksProposed],
) -> None:
    here, proposal = proposed
    nobody = decided(**{stem: {"keep": False} for stem in await here.kept(proposal.masks)})
    await here.publish(await reviewed(here.store, nobody, proposal), "reviewed-0")
    ((_, failed),) = await here.outcomes(CaptureFailed)
    assert (failed.stage, failed.error.code) == ("segment", "review_leaves_too_few")
    assert "Only 0 photos are left" in failed.error.sentence
    await here.publish(await reviewed(here.store, NO_FIRST, proposal), "reviewed-1")
    ((_, ready),) = await here.outcomes(MasksReady)
    assert "photo_00" not in await here.kept(ready.masks)


async def test_a_command_decides_on_the_latest_proposal(
    proposed: tuple[Site, MasksProposed], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(masks, "SILENCE", 0.2)
    here, proposal = proposed

    async def decide(decisions: DecisionsFile, generation: int | None = None) -> Envelope:
        return await masks.decide(here.broker, here.store, "c1", "default", decisions, generation)

    with pytest.raises(CannotReview, match="were proposed"):
        await masks.decide(here.broker, here.store, "c2", "default", NO_FIRST)
    await here.broker.publish(Message(b"nonsense", "masks.proposed", "nonsense"))
    first = await decide(NO_FIRST)
    assert isinstance(first.data, MasksReviewed)
    assert first.data.masks == proposal.masks
    assert (await decide(NO_FIRST)).id == first.id
    with pytest.raises(CannotReview, match="--generation 1"):
        await decide(NO_SECOND)
    second = await decide(NO_SECOND, 1)
    assert second.id != first.id
    with pytest.raises(CannotReview, match="--generation 2"):
        await decide(NO_FIRST, 1)
    ready = [event for _, event in await here.outcomes(MasksReady, 3)]
    assert [event.generation for event in ready] == [0, 0, 1]


@pytest.mark.parametrize(
    ("images", "error"),
    [
        ({"holiday": {"keep": False}}, ReviewUnknownImage),
        ({f"photo_{number:02d}": {"keep": False} for number in range(8)}, ReviewLeavesTooFew),
        ({"photo_00": {"keep": True, "mask": PREFIX + "iVBORw0KGgo="}}, ReviewMaskInvalid),
    ],
)
async def test_a_command_publishes_no_decisions_that_cannot_be_applied(
    proposed: tuple[Site, MasksProposed],
    monkeypatch: pytest.MonkeyPatch,
    images: dict[str, Any],
    error: type[Exception],
) -> None:
    monkeypatch.setattr(masks, "SILENCE", 0.2)
    here, _ = proposed
    with pytest.raises(error):
        await masks.decide(here.broker, here.store, "c1", "default", decided(**images))
    assert not [message for message in here.broker._log if message.routing_key == "masks.reviewed"]


async def _run(capture: Path, out: Path, decisions: DecisionsFile | None) -> dict[str, Any]:
    local.claim(out)
    ignore: Callable[[JobProgress], None] = lambda _: None  # noqa: E731
    until: Stage = "package" if decisions is None else "segment"
    async with asyncio.timeout(PATIENCE):
        return await local.run(capture, out, Options(review=True), ignore, until, decisions)


async def test_offline_a_run_stops_for_a_person_and_goes_on_with_the_decisions(tmp_path: Path) -> None:
    capture, out = write(tmp_path / "capture", Rig()), tmp_path / "out"
    result = await _run(capture, out, None)
    before = sorted(path.name for path in (out / "masks").glob("*.png"))
    assert "photo_00.png" in before
    assert list(result["stages"]) == ["prepare", "segment"]
    masks.write_page(out)
    white = io.BytesIO()
    Image.new("L", (512, 512), 255).save(white, "PNG")
    mended = {"keep": True, "mask": PREFIX + base64.b64encode(white.getvalue()).decode()}
    result = await _run(capture, out, decided(photo_00={"keep": False}, photo_01=mended))
    lying = sorted(path.name for path in (out / "masks").iterdir())
    assert lying == ["outlines.jpg", *(name for name in before if name != "photo_00.png")]
    assert sorted(result["stages"]["segment"]["files"]) == [f"masks/{name}" for name in lying]
    metrics = result["stages"]["segment"]["metrics"]
    assert metrics["segmenter"] == "uploaded"
    assert (metrics["review"]["discarded"], metrics["review"]["replaced"]) == (["photo_00"], ["photo_01"])
    with Image.open(out / "masks" / "photo_01.png") as mask:
        assert mask.getextrema() == (255, 255)
    assert not (out / "review.html").exists()


async def test_decisions_count_for_the_masks_they_were_made_on(tmp_path: Path) -> None:
    capture, out = write(tmp_path / "capture", Rig()), tmp_path / "out"
    result = await _run(capture, out, None)
    content = result["stages"]["segment"]["content"]
    assert f'"content": "{content}"' in masks.write_page(out).read_text()
    told = {"images": {"photo_00": {"keep": False}}, "proposal": content}
    ours = DecisionsFile.parse(b"\xef\xbb\xbf" + json.dumps(told).encode())  # as some editors save it
    others = ours.model_copy(update={"proposal": "0" * 64})
    with pytest.raises(ReviewOtherMasks):
        masks.apply_decisions(out, others)
    with pytest.raises(ReviewOtherMasks):
        await _run(capture, out, others)
    result = await _run(capture, out, ours)
    assert result["stages"]["segment"]["metrics"]["review"]["discarded"] == ["photo_00"]


async def test_masks_that_were_changed_since_the_run_are_not_reviewed(tmp_path: Path) -> None:
    out = tmp_path / "out"
    await _run(write(tmp_path / "capture", Rig()), out, None)
    mask, photo = out / "masks" / "photo_03.png", out / "dataset" / "images" / "photo_02.png"
    sound = mask.read_bytes()
    Image.new("L", (100, 100), 255).save(mask)
    with pytest.raises(CannotReview, match=r"photo_03.png has 100 x 100 pixels, its photo 512 x 512"):
        masks.write_page(out)
    with pytest.raises(ReviewMaskInvalid, match="not of its photo's size"):
        masks.apply_decisions(out, decided())
    mask.write_bytes(sound)
    photo.write_bytes(b"damaged")
    with pytest.raises(CannotReview, match=r"photo_02.png is not a readable picture"):
        masks.apply_decisions(out, decided())
    mask.unlink()
    with pytest.raises(CannotReview, match=r"photo_03.png is gone"):
        masks.write_page(out)
