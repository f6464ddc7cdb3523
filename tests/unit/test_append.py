"""Photos are added to a capture: only pairs with a new one are matched, and the map is as of all at once."""

import asyncio
import io
import json
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from broker.embedded import Broker
from broker.interface import Message
from broker.topology import Topology
from contracts.dataset import Manifest
from contracts.envelope import Envelope, new_traceparent
from contracts.events import CaptureFailed, DatasetUploaded, Options, PosesReady
from tests import captures
from tests.captures import Rig
from workers.appending import continued, matches_in
from workers.prepare import compute
from workers.prepare.sfm import matches_file, matching
from workers.prepare.sfm.estimate import Photos, _matched
from workers.prepare.sfm.features import Features
from workers.prepare.sfm.mapping import Camera
from workers.prepare.sfm.matches_file import NOTHING, Known, digest, kept, read, write
from workers.prepare.sfm.plugs import Plugs
from workers.prepare.worker import Prepare
from workers.runtime.compute import Compute
from workers.runtime.folder import FolderStore
from workers.runtime.job import Job
from workers.runtime.metrics import Metrics
from workers.runtime.run_loop import RunLoop
from workers.runtime.settings import Settings
from workers.upload import upload

RIG = Rig(views=30, width=320, height=240, fx=330, fy=330, cx=160, cy=120)
OLD, ALL = 8, 10
"""Photos that a capture has at first, and in the end."""
TOPOLOGY = Topology(prefix="test")
# Where each begins and its two sides: a table, and a box on it.
RECTANGLES = np.array(
    [
        [[-2, -0.3, -2], [4, 0, 0], [0, 0, 4]],
        [[-0.3, 0.2, -0.3], [0.6, 0, 0], [0, 0, 0.6]],
        *([[-0.3, -0.3, z], [0.6, 0, 0], [0, 0.5, 0]] for z in (-0.3, 0.3)),
        *([[x, -0.3, -0.3], [0, 0, 0.6], [0, 0.5, 0]] for x in (-0.3, 0.3)),
    ]
)


def photo(index: int) -> NDArray[np.uint8]:
    """(H,W) grey: the table and the box, each side with blots of its own."""
    rng = np.random.default_rng(0)
    down, across = np.mgrid[: RIG.height, : RIG.width] + 0.5
    rays = np.stack([(across - RIG.cx) / RIG.fx, (RIG.cy - down) / RIG.fy, -np.ones_like(down)], axis=-1)
    rays = rays @ RIG.c2w[index, :3, :3].T
    seen, nearest = np.zeros(rays.shape[:2], np.float32), np.full(rays.shape[:2], np.inf)
    for start, u, v in RECTANGLES:
        blots = sum(
            cv2.resize(
                rng.normal(size=(n, n)).astype(np.float32), (1024, 1024), interpolation=cv2.INTER_CUBIC
            )
            for n in (24, 64, 160)
        )
        normal = np.cross(u, v)
        with np.errstate(divide="ignore"):
            depth = ((start - RIG.c2w[index, :3, 3]) @ normal) / (rays @ normal)
        hit = RIG.c2w[index, :3, 3] + rays * depth[..., None] - start
        a, b = (hit @ side / (side @ side) for side in (u, v))
        inside = (depth > 0) & (depth < nearest) & (np.minimum(a, b) >= 0) & (np.maximum(a, b) <= 1)
        texel = np.stack([a, b], axis=-1).astype(np.float32) * 1023
        colour = cv2.remap(np.asarray(blots), texel[..., 0], texel[..., 1], cv2.INTER_LINEAR)
        seen, nearest = np.where(inside, colour, seen), np.where(inside, depth, nearest)
    return np.clip(cv2.GaussianBlur(seen, (0, 0), 0.6) * 40 + 128, 0, 255).astype(np.uint8)


@pytest.fixture(scope="module")
def greys() -> list[NDArray[np.uint8]]:
    return [photo(index) for index in range(ALL)]


def capture(folder: Path, greys: list[NDArray[np.uint8]]) -> Path:
    folder.mkdir(parents=True)
    for index, grey in enumerate(greys):
        # The last are taken from between the first, and their names come before.
        name = f"{'b' if index < OLD else 'a'}{index}.png"
        Image.fromarray(grey).save(folder / name)
    return folder


def order(count: int) -> list[int]:
    """Which of the rig's photos there are, in the order of their names."""
    return [*range(OLD, count), *range(min(OLD, count))]


async def test_photos_added_are_matched_alone_and_the_map_is_that_of_all(
    greys: list[NDArray[np.uint8]], tmp_path: Path
) -> None:
    broker, store = Broker(TOPOLOGY), FolderStore(tmp_path / "store")
    settings = Settings(prefix="test", work_dir=str(tmp_path), max_attempts=1)
    computing, stop = Compute((), 1), asyncio.Event()
    loop = RunLoop(Prepare(settings), broker, store, computing, settings, Metrics())
    running = asyncio.create_task(loop.run(stop))

    async def prepared(event: DatasetUploaded, number: int) -> tuple[Manifest, PosesReady]:
        envelope = Envelope.wrap(event, id=f"event-{number}", source="test", traceparent=new_traceparent())
        await broker.publish(Message(envelope.encode(), event.routing_key, envelope.id))
        async with asyncio.timeout(300), broker.outcomes() as outcomes:
            async for _, message in outcomes:
                data = Envelope.parse(message.body).data
                assert not isinstance(data, CaptureFailed), data.error.message
                if isinstance(data, PosesReady) and data.generation == event.generation:
                    return Manifest.model_validate_json(await store.get(data.dataset.key)), data
        raise AssertionError("the stream of outcomes ended")

    whose: dict[str, Any] = {"tenant": "default", "capture_id": "c1", "options": Options()}
    few = capture(tmp_path / "few", greys[:OLD])
    many = capture(tmp_path / "many", greys)
    try:
        first, ready = await prepared(await upload(store, few, **whose), 1)
        event = await upload(store, many, generation=1, **whose)
        whole, _ = await prepared(event, 2)
        event = event.model_copy(update={"generation": 2, "previous": ready.dataset})
        added, _ = await prepared(event, 3)
    finally:
        stop.set()
        await asyncio.wait_for(running, 120)
        await computing.close()
    told = [manifest.metrics["poses"] for manifest in (first, whole, added)]
    assert [each["registered"] for each in told] == [OLD, ALL, ALL]
    assert [each["pairs"] for each in told] == [28, 45, 45]
    assert [each["pairs_taken_over"] for each in told] == [0, 0, 28]
    assert added.inputs == {"previous": ready.dataset.key}
    poses = []
    for manifest in (whole, added):
        cameras = json.loads(await store.get(manifest.artefact("cameras.json").key))
        poses.append(np.array([image["c2w"] for image in cameras["images"]]))
    np.testing.assert_allclose(poses[1], poses[0], atol=1e-3)
    again = [read(store.root / each.artefact(matches_file.FILE).key) for each in (whole, added)]
    assert again[0].pairs.keys() == again[1].pairs.keys()


def photos(greys: list[NDArray[np.uint8]], indices: list[int]) -> Photos:
    size = RIG.width, RIG.height
    lens = (RIG.fx, RIG.fy, RIG.cx, RIG.cy, 0.0, 0.0, 0.0, 0.0)
    return Photos(
        [greys[i] for i in indices], [size] * len(indices), [Camera(size, lens, True)], [0] * len(indices)
    )


def test_only_pairs_with_a_new_photo_are_matched(greys: list[NDArray[np.uint8]]) -> None:
    asked = []

    def match(one: Features, other: Features) -> matching.Matches:
        asked.append({digest(one), digest(other)})
        return matching.matched(one, other)

    plugs = Plugs(match=match)
    first = _matched(photos(greys, order(OLD)), None, plugs, 1, lambda *_: None, NOTHING)
    assert len(asked) == 28
    asked.clear()
    some = photos(greys, order(ALL))
    pair, *rest = first.known.pairs  # as of looks that were not thought alike before
    without = replace(first.known, pairs={each: first.known.pairs[each] for each in rest})
    then = _matched(some, None, plugs, 1, lambda *_: None, without)
    assert (then.taken, then.pairs) == (27, 44)
    assert pair not in then.known.pairs
    new = {digest(each) for each in then.features[: ALL - OLD]}
    assert len(asked) == 17
    assert all(pair & new for pair in asked)
    asked.clear()
    other = replace(plugs, way="otherwise")
    few = photos(greys, order(OLD)[:4])
    assert _matched(few, None, plugs, 1, lambda *_: None, first.known).taken == 6
    assert len(asked) == 0
    assert _matched(few, None, other, 1, lambda *_: None, then.known).taken == 0
    assert len(asked) == 6


def features(seed: int, count: int = 40) -> Features:
    rng = np.random.default_rng(seed)
    described = rng.normal(size=(count, 8)).astype(np.float32)
    return Features(rng.random((count, 2)), described, np.zeros(count, np.float32), (640, 480))


def example() -> tuple[list[Features], Known]:
    looked = [features(seed) for seed in range(4)]
    rows = np.array([[1, 30], [4, 2], [9, 39]], np.uint32)
    none = rows[:0]
    pairs = {(0, 1): (rows, rows[[0, 2]]), (0, 2): (none, none), (1, 2): (rows[:1], none)}
    return looked, kept("sift 1", looked, pairs)


def test_what_was_matched_is_found_again_in_any_order(tmp_path: Path) -> None:
    looked, known = example()
    write(tmp_path / "m.npz", known)
    write(tmp_path / "n.npz", known)
    assert (tmp_path / "m.npz").read_bytes() == (tmp_path / "n.npz").read_bytes()
    again = read(tmp_path / "m.npz")
    assert again.way == "sift 1"
    told = again.among([looked[3], looked[1], looked[0]], "sift 1")
    assert list(told) == [(1, 2)]
    found, sure = told[1, 2]
    np.testing.assert_array_equal(found, [[30, 1], [2, 4], [39, 9]])
    np.testing.assert_array_equal(sure, [[30, 1], [39, 9]])
    assert [len(both[0]) for both in again.among(looked, "sift 1").values()] == [3, 0, 1]
    assert again.among(looked, "sift 2") == {}


def test_matches_of_features_that_a_photo_lacks_are_not_taken() -> None:
    looked, _ = example()
    one, other = (digest(each) for each in looked[:2])
    rows = np.array([[40, 0]], np.uint32)
    assert Known("w", {(one, other): (rows, rows)}).among(looked, "w") == {}
    assert Known("w", {(other, one): (rows, rows)}).among(looked, "w") == {}
    assert list(Known("w", {(one, other): (np.array([[39, 0]], np.uint32),) * 2}).among(looked, "w")) == [
        (0, 1)
    ]


def changed(arrays: dict[str, Any], **changes: Any) -> bytes:
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **{**arrays, **changes})
    return buffer.getvalue()


def claiming(body: bytes) -> bytes:
    """Its matches say that they are a thousand million, which they are not."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(body)) as given, zipfile.ZipFile(buffer, "w") as out:
        for name in given.namelist():
            content = given.read(name)
            if name == "found.npy":
                content = content.replace(b"(4, 2), }", b"(999999999, 2), }")
            out.writestr(name, content)
    return buffer.getvalue()


@pytest.mark.parametrize(
    "damage",
    [
        lambda body, arrays: body[:-40],
        lambda body, arrays: b"what is this",
        lambda body, arrays: claiming(body),
        lambda body, arrays: changed(arrays, found=np.array([{"a": 1}] * 4, object)),
        lambda body, arrays: changed(arrays, found=arrays["found"].astype(np.float32)),
        lambda body, arrays: changed(arrays, found=arrays["found"][:3]),
        lambda body, arrays: changed(arrays, found=arrays["found"].reshape(2, 4)),
        lambda body, arrays: changed(arrays, pairs=arrays["pairs"] + np.uint32(9)),
        lambda body, arrays: changed(arrays, counts=arrays["counts"][:2]),
        lambda body, arrays: changed(arrays, photos=arrays["photos"][:, :5]),
        lambda body, arrays: changed({name: a for name, a in arrays.items() if name != "sure"}),
    ],
)
def test_a_damaged_file_is_refused(damage: Callable[[bytes, dict[str, Any]], bytes], tmp_path: Path) -> None:
    path = tmp_path / "m.npz"
    write(path, example()[1])
    read(path)
    path.write_bytes(damage(path.read_bytes(), dict(np.load(path))))
    with pytest.raises(ValueError, match=r"^m\.npz"):
        read(path)


def test_a_damaged_file_is_told_and_does_no_harm(tmp_path: Path) -> None:
    captures.write(tmp_path / "in" / "upload", Rig(), masks=None)
    (tmp_path / "in" / "previous").mkdir()
    (tmp_path / "in" / "previous" / matches_file.FILE).write_bytes(b"?")
    (tmp_path / "out").mkdir()
    done = compute.run(tmp_path / "in", tmp_path / "out", compute.DEFAULTS, lambda *_: None)
    assert done["warnings"][0].startswith("What was matched before is of no use")
    assert not (tmp_path / "out" / matches_file.FILE).exists()  # its poses came along


async def test_a_second_run_into_a_folder_takes_over_what_the_first_matched(
    tmp_path: Path,
) -> None:
    captures.write(tmp_path / "capture", Rig(), masks=None)
    out = tmp_path / "out"
    assert matches_in(out) is None
    (out / "dataset").mkdir(parents=True)
    write(out / "dataset" / matches_file.FILE, example()[1])
    matches = matches_in(out)
    assert matches is not None
    store = FolderStore(tmp_path / "store")
    sent = await upload(store, tmp_path / "capture", tenant="t", capture_id="c", options=Options())
    event = await continued(store, sent, matches)
    worker = Prepare(Settings())
    job = await Job.of(worker, event, store)
    assert job.key != (await Job.of(worker, sent, store)).key
    await job.fetch(tmp_path / "in", 1 << 30, lambda _: None)
    assert (tmp_path / "in" / "previous" / matches_file.FILE).read_bytes() == matches
