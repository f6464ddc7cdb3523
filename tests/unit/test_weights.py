"""Weights of networks: where they come from, who checks them, and how they reach a job."""

import ast
import asyncio
import hashlib
import json
import threading
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from importlib.metadata import files
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from broker.embedded import Broker
from contracts.dataset import Manifest
from contracts.events import MasksReady, Options, PosesReady, Segmenter
from contracts.fields import ManifestRef
from tests.fakes.bench import TOPOLOGY, Bench
from tests.fakes.networked import Networked
from workers.cli import app
from workers.geometry.errors import NumericError
from workers.networks import fetch, weights
from workers.prepare.worker import Prepare
from workers.reconstruct.worker import Reconstruct
from workers.runtime.compute import Compute
from workers.runtime.folder import FolderStore
from workers.runtime.metrics import Metrics
from workers.runtime.run_loop import RunLoop
from workers.runtime.settings import Settings, SettingsError
from workers.runtime.weights import weights_at_hand
from workers.segment.worker import Segment

CONTENT = b"weights" * 1000


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_: Any) -> None: ...


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The folder of a server that serves what KNOWN now names."""
    folder = tmp_path / "site"
    folder.mkdir()
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(folder)))
    url = f"http://127.0.0.1:{server.server_port}"
    digest = f"sha512:{hashlib.sha512(CONTENT).hexdigest()}"
    known = {
        name: replace(each, url=f"{url}/{each.file}", digest=digest) for name, each in weights.KNOWN.items()
    }
    for each in known.values():
        (folder / each.file).write_bytes(CONTENT)
    for module in ("networks.weights", "networks.fetch", "cli_weights"):
        monkeypatch.setattr(f"workers.{module}.KNOWN", known)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield folder
    server.shutdown()
    server.server_close()


def test_addresses_and_digests_are_those_that_carvekit_pins() -> None:
    (source,) = (path for path in files("carvekit") or [] if path.name == "download_models.py")
    tree = ast.parse(source.read_text())
    pinned = {
        assigned.targets[0].id: ast.literal_eval(assigned.value)
        for assigned in tree.body
        if isinstance(assigned, ast.Assign)
        and isinstance(assigned.targets[0], ast.Name)
        and isinstance(assigned.value, ast.Dict)
    }
    for each in (weights.KNOWN[name] for name in ("tracer_b7", "u2net", "fba_matting")):
        where = pinned["MODELS_URLS"][each.file]
        repository, revision, filename = where["repository"], where["revision"], where["filename"]
        assert each.url == f"https://huggingface.co/{repository}/resolve/{revision}/{filename}"
        assert each.digest == f"sha512:{pinned['MODELS_CHECKSUMS'][each.file]}"


@pytest.mark.usefixtures("site")
def test_fetching_brings_verified_weights_once(tmp_path: Path) -> None:
    parts: list[tuple[int, int | None]] = []
    path = fetch.fetch("u2net", tmp_path / "new" / "folder", lambda *part: parts.append(part))
    assert path.read_bytes() == CONTENT
    assert parts[-1] == (len(CONTENT), len(CONTENT))
    assert [each.name for each in path.parent.iterdir()] == ["u2net.pth"]
    fetch.fetch("u2net", path.parent, lambda *_: pytest.fail("downloaded again"))


@pytest.mark.parametrize("spoilt", ["missing", "other", "short"])
def test_nothing_but_the_right_weights_is_left(site: Path, tmp_path: Path, spoilt: str) -> None:
    served = site / "u2net.pth"
    if spoilt == "missing":
        served.unlink()
    else:
        served.write_bytes(CONTENT[:-1] if spoilt == "short" else CONTENT[::-1])
    with pytest.raises(fetch.CannotFetch, match=r"u2net\.pth (could not be downloaded|is not what)"):
        fetch.fetch("u2net", tmp_path / "to", lambda *_: None)
    assert list((tmp_path / "to").iterdir()) == []


@pytest.mark.usefixtures("site")
def test_fetching_leaves_what_is_not_its_own(tmp_path: Path) -> None:
    (tmp_path / "u2net.pth").write_bytes(b"mine")
    with pytest.raises(NumericError, match="damaged, or others"):
        fetch.fetch("u2net", tmp_path, lambda *_: None)
    assert (tmp_path / "u2net.pth").read_bytes() == b"mine"


@pytest.mark.usefixtures("site")
def test_the_command_fetches_a_set_and_tells_what_is_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PHOTOTWIN_WEIGHTS", str(tmp_path / "here"))
    fetched = CliRunner().invoke(app, ["weights", "fetch", "carvekit"])
    assert fetched.exit_code == 0, fetched.output
    assert "noncommercial" not in fetched.output
    asked = CliRunner().invoke(app, ["weights", "fetch", "fba_matting"])
    assert "noncommercial" in asked.output
    (tmp_path / "here" / "tracer_b7.pth").write_bytes(b"damaged")
    listed = CliRunner().invoke(app, ["weights", "list", "--json"])
    states = {row["name"]: row["state"] for row in json.loads(listed.output)}
    assert states == {
        "tracer_b7": "damaged",
        "u2net": "missing",
        "fba_matting": "verified",
        "aliked": "missing",
    }


def test_the_command_refuses_what_it_does_not_know() -> None:
    result = CliRunner().invoke(app, ["weights", "fetch", "everything"])
    assert result.exit_code == 1
    assert "choose one of carvekit, tracer_b7, u2net, fba_matting, aliked" in result.output


def _event(segmenter: Segmenter) -> PosesReady:
    dataset = ManifestRef(
        key="captures/default/c1/dataset/k/manifest.json", sha256="0" * 64, content="1" * 64
    )
    options = Options(segmenter=segmenter)
    return PosesReady(capture_id="c1", dataset=dataset, images=8, posed=True, masked=False, options=options)


def test_segmenter_and_weights_decide_which_job_it_is(tmp_path: Path) -> None:
    (tmp_path / "net.json").write_text("{}")
    settings = Settings(weights=str(tmp_path), onnx_model="net.onnx", onnx_sha256="ab" * 32)
    worker = Segment(settings)
    auto = worker.parameters(_event("auto"))
    assert (auto["segmenter"], auto["weights"]) == ("auto", {})
    onnx = worker.parameters(_event("onnx"))
    assert onnx["segmenter"] == "onnx"
    described = hashlib.sha256(b"{}").hexdigest()
    assert onnx["weights"] == {"net.onnx": f"sha256:{'ab' * 32}", "net.json": f"sha256:{described}"}
    carvekit = worker.parameters(_event("carvekit"))
    assert carvekit["weights"] == {"tracer_b7.pth": weights.KNOWN["tracer_b7"].digest}


def test_the_settings_choose_for_captures_that_do_not(tmp_path: Path) -> None:
    settings = _with_network(tmp_path)
    assert Segment(settings).parameters(_event("auto"))["segmenter"] == "onnx"
    assert Segment(settings).parameters(_event("multiview"))["segmenter"] == "multiview"


def _with_network(folder: Path) -> Settings:
    (folder / "net.onnx").write_bytes(CONTENT)
    return Settings(
        segmenter="onnx",
        weights=str(folder),
        onnx_model="net.onnx",
        onnx_sha256=hashlib.sha256(CONTENT).hexdigest(),
    )


def test_a_worker_without_the_weights_its_settings_name_does_not_start(tmp_path: Path) -> None:
    settings = _with_network(tmp_path)
    Segment(settings)
    (tmp_path / "net.onnx").write_bytes(CONTENT[:-1])
    with pytest.raises(SettingsError, match=r"PHOTOTWIN_SEGMENTER is onnx, but .*damaged"):
        Segment(settings)
    with pytest.raises(SettingsError, match="but no weights are named"):
        Segment(settings.model_copy(update={"onnx_sha256": None}))
    with pytest.raises(SettingsError, match="weights fetch tracer_b7"):
        Segment(settings.model_copy(update={"segmenter": "carvekit"}))


def test_the_worker_command_refuses_in_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PHOTOTWIN_SEGMENTER", "carvekit")
    monkeypatch.setenv("PHOTOTWIN_WEIGHTS", str(tmp_path))
    result = CliRunner().invoke(app, ["worker", "segment"])
    assert result.exit_code == 1
    assert result.stderr.strip().startswith(
        "phototwin: PHOTOTWIN_SEGMENTER is carvekit, but there is no tracer_b7.pth among the weights"
    )
    assert len(result.stderr.strip().splitlines()) == 1


async def test_weights_in_the_object_store_are_at_hand_while_a_worker_runs(tmp_path: Path) -> None:
    store = FolderStore(tmp_path / "store")
    for key in ("nets/v1/net.onnx", "nets/v1/old/net.onnx", "nets/v2/net.onnx"):
        (tmp_path / "net.onnx").write_bytes(CONTENT if key == "nets/v1/net.onnx" else b"other")
        await store.put(key, tmp_path / "net.onnx", "application/octet-stream")
    inside = _with_network(tmp_path).model_copy(
        update={"weights": "store:nets/v1", "work_dir": str(tmp_path)}
    )
    async with weights_at_hand(Segment, inside, store) as settings:
        folder = settings.weights_folder
        Segment(settings)
        assert [path.name for path in folder.iterdir()] == ["net.onnx"]
        assert folder.parent.parent == tmp_path
    assert not folder.exists()
    async with weights_at_hand(Prepare, inside, store) as settings:
        assert settings == inside
    with pytest.raises(SettingsError, match="nothing below nets/v3/"):
        async with weights_at_hand(Segment, inside.model_copy(update={"weights": "store:nets/v3"}), store):
            pass


async def test_a_job_finds_the_weights_of_the_settings_and_leaves_them(tmp_path: Path) -> None:
    (tmp_path / "nets").mkdir()
    (tmp_path / "nets" / "net.onnx").write_text("a network")
    settings = Settings(prefix="test", work_dir=str(tmp_path), weights=str(tmp_path / "nets"))
    bench = Bench(tmp_path, Broker(TOPOLOGY), FolderStore(tmp_path / "store"), settings, Metrics())
    compute, stop = Compute((Networked.compute,), 1), asyncio.Event()
    loop = RunLoop(Networked(settings), bench.broker, bench.store, compute, settings, bench.metrics)
    running = asyncio.create_task(loop.run(stop))
    try:
        await bench.publish(await bench.upload("work"))
        await bench.until(lambda: bool(bench.outcomes(PosesReady)))
    finally:
        stop.set()
        await running
        await compute.close()
    (done,) = bench.outcomes(PosesReady)
    assert isinstance(done.data, PosesReady)
    manifest = Manifest.model_validate_json(await bench.store.get(done.data.dataset.key))
    assert manifest.metrics["weights"] == {"net.onnx": "a network"}
    assert (tmp_path / "nets" / "net.onnx").read_text() == "a network"


def _masks_ready() -> MasksReady:
    ref = ManifestRef(key="captures/default/c1/masks/k/manifest.json", sha256="0" * 64, content="1" * 64)
    return MasksReady(capture_id="c1", dataset=ref, masks=ref, images=1)


def test_a_network_for_single_pictures_decides_which_job_it_is(tmp_path: Path) -> None:
    """One that ships changes nothing; another is verified when the worker starts, and again for each job."""
    assert "network" not in Reconstruct(Settings()).parameters(_masks_ready())
    assert not Reconstruct.networks(Settings())
    (tmp_path / "ours.safetensors").write_bytes(b"weights")
    digest = hashlib.sha256(b"weights").hexdigest()
    settings = Settings(
        weights=str(tmp_path), single_view_model="ours.safetensors", single_view_sha256=digest
    )
    assert Reconstruct.networks(settings)
    asked = Reconstruct(settings).parameters(_masks_ready())
    assert asked["network"] == {"ours.safetensors": f"sha256:{digest}"}
    for wrong in ({"single_view_sha256": None}, {"single_view_sha256": "ab" * 32}):
        with pytest.raises(SettingsError, match="PHOTOTWIN_SINGLE_VIEW"):
            Reconstruct(settings.model_copy(update=wrong))
