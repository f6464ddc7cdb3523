"""The dashboards: each query is asked of a real Prometheus that watches real processes."""

import asyncio
import json
import re
import subprocess
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from broker.interface import Message
from contracts.envelope import Envelope, new_traceparent
from contracts.events import CaptureFailed, DatasetUploaded, ModelReady, Options, PosesReady, UploadedFile
from tests.integration.fleet import Fleet, fleet
from tests.integration.gateways import Site
from tests.servers.ceph import ObjectStore as S3Server
from tests.servers.keeper import free_ports
from tests.servers.prometheus import Prometheus
from tests.servers.rabbitmq import Broker as RabbitServer

ROOT = Path(__file__).parents[2]
DASHBOARDS = ROOT / "deploy/grafana/dashboards"
GOLDEN = ROOT / "tests/contract/golden/model.ready.v1/minimal.json"
WITHOUT_DATA = {
    "GPUs at work": "there is none",
    "Masks an hour, by verdict": "nothing is segmented here",
    "Pauses in ten minutes, by reason": "nothing holds the worker up",
}
METRICS_WITHOUT_DATA = {
    "DCGM_FI_PROF_GR_ENGINE_ACTIVE": "there is no GPU",
    "phototwin_schedule_up": "nothing is scheduled here",
    "phototwin_schedule_refused_total": "nothing is scheduled here",
}
PATIENCE = 90


@dataclass
class Watched:
    """A worker that obeys orders, a gateway, and what both are seen by."""

    ships: Fleet
    client: httpx.AsyncClient
    prometheus: Prometheus

    async def capture(self, id: str, do: str, **options: Any) -> None:
        """Announce one of which `prepare` does that."""
        orders = self.ships.folder / "orders.json"
        orders.write_text(json.dumps({"do": do, "diary": str(self.ships.folder / "diary")}))
        key = f"captures/default/{id}/upload/orders.json"
        await self.ships.store.put(key, orders, "application/json")
        file = UploadedFile(key=key, bytes=orders.stat().st_size)
        await self.say(DatasetUploaded(capture_id=id, files=(file,), options=Options(**options)))

    async def model(self, id: str) -> None:
        """What `package` would say of it."""
        told = json.loads(GOLDEN.read_text().replace("shelf-42", id))
        await self.say(ModelReady.model_validate(told["data"]))

    async def say(self, event: DatasetUploaded | ModelReady) -> None:
        await say(self.ships, event)


async def say(ships: Fleet, event: DatasetUploaded | ModelReady) -> None:
    envelope = Envelope.wrap(
        event, id=f"{event.capture_id}-{event.routing_key}", source="test", traceparent=new_traceparent()
    )
    await ships.broker.publish(Message(envelope.encode(), event.routing_key, envelope.id))


@pytest.fixture
async def watched(rabbitmq: RabbitServer, s3: S3Server, tmp_path: Path) -> AsyncIterator[Watched]:
    async with fleet(rabbitmq, s3, tmp_path) as ships:
        ships.environment |= {
            "PHOTOTWIN_DATABASE_URL": f"sqlite+aiosqlite:///{tmp_path}/gateway.db",
            "PHOTOTWIN_GATEWAY_HOST": "127.0.0.1",
            "PHOTOTWIN_AUTH": "none",
        }
        (worker,), (gateway, client) = await asyncio.gather(
            ships.start("prepare", program=("tests.fakes",)), Site(ships, "any").gateway()
        )
        ports = {"prepare": worker.port, "gateway": gateway.port}
        async with client:
            with Prometheus(
                jobs(ports, rabbitmq, ships.settings.prefix), ROOT / "deploy/prometheus/rules"
            ) as prometheus:
                await found(prometheus)
                yield Watched(ships, client, prometheus)


async def found(prometheus: Prometheus) -> None:
    """It takes seconds to find its targets; counters count from there."""
    async with asyncio.timeout(PATIENCE):
        while {target["health"] for target in prometheus.targets()} != {"up"}:  # noqa: ASYNC110
            await asyncio.sleep(0.2)


def jobs(ports: dict[str, int], rabbitmq: RabbitServer, prefix: str) -> list[dict[str, Any]]:
    """Those of the configuration that we ship, with addresses in place of names. The RabbitMQ still has what
    other tests left in it: of its queues only those with our prefix are seen."""
    ours = [{"targets": [f"127.0.0.1:{port}"], "labels": {"service": name}} for name, port in ports.items()]
    theirs = [{"targets": [rabbitmq.metrics_url.removeprefix("http://")]}]
    made = yaml.safe_load((ROOT / "deploy/prometheus/prometheus.yaml").read_text())["scrape_configs"]
    for job in made:
        del job["dns_sd_configs"]
        job.pop("relabel_configs", None)
        job["static_configs"] = ours if job["job_name"] == "phototwin" else theirs
        job["metric_relabel_configs"] = [
            {"source_labels": ["queue"], "regex": rf"(?:{prefix}\..+)?", "action": "keep"}
        ]
    return list(made)


def panels() -> dict[str, list[str]]:
    """The queries of each, with Grafana's variable filled in."""
    found: dict[str, list[str]] = {}
    for path in sorted(DASHBOARDS.glob("*.json")):
        for panel in json.loads(path.read_text())["panels"]:
            queries = [target["expr"].replace("$__rate_interval", "30s") for target in panel["targets"]]
            found.setdefault(panel["title"], []).extend(queries)
    return found


async def test_every_query_parses_and_has_data(watched: Watched) -> None:
    for number in range(2):
        await watched.capture(f"good{number}", "work")
        await watched.capture(f"bulk{number}", "work", lane="bulk")
        await watched.capture(f"bad{number}", "reject")
        await watched.capture(f"bug{number}", "break")
        for capture_id in (f"good{number}", f"bulk{number}"):
            await watched.ships.outcome(PosesReady, capture_id)
            await watched.model(capture_id)
        await asyncio.sleep(2)  # be seen between the rounds
    missing = {query: title for title, queries in panels().items() for query in queries}
    for query, title in list(missing.items()):
        if title in WITHOUT_DATA:
            watched.prometheus.query(query)
            del missing[query]
    rules = watched.prometheus.rules()
    names = {name for rule in rules for name in metrics_in(rule["query"])} - set(METRICS_WITHOUT_DATA)
    missing |= dict.fromkeys(names, "a rule")
    missing |= {rule["name"]: "a record" for rule in rules if rule["type"] == "recording"}
    try:
        async with asyncio.timeout(PATIENCE):
            while missing:
                answer = await watched.client.get("/v1/captures")
                assert answer.status_code == 200
                for query in list(missing):
                    if await asyncio.to_thread(watched.prometheus.query, query):
                        del missing[query]
                await asyncio.sleep(1)
    except TimeoutError:
        pass
    assert not missing
    assert [rule for rule in watched.prometheus.rules() if rule["health"] != "ok"] == []
    assert {target["health"] for target in watched.prometheus.targets()} == {"up"}


async def test_the_gateway_counts_how_captures_end(watched: Watched) -> None:
    await watched.capture("good", "work", lane="bulk")
    await watched.capture("looked-at", "work", review=True)
    await watched.capture("bad", "reject")
    await watched.capture("bug", "break")
    for capture_id in ("good", "looked-at"):
        await watched.ships.outcome(PosesReady, capture_id)
        await watched.model(capture_id)
    expected = {
        'phototwin_gateway_capture_seconds_count{lane="bulk", outcome="model"}': 1,
        'phototwin_gateway_capture_seconds_count{lane="interactive", outcome="model"}': 0,
        'phototwin_gateway_capture_seconds_count{lane="interactive", outcome="rejected"}': 1,
        'phototwin_gateway_capture_seconds_count{lane="interactive", outcome="failed"}': 1,
        'phototwin_gateway_captures_failed_total{code="too_few_images"}': 1,
        'phototwin_gateway_captures_failed_total{code="compute_failed"}': 1,
        f'phototwin_gateway_events_total{{kind="{CaptureFailed.routing_key}"}}': 2,
        f'phototwin_gateway_events_total{{kind="{ModelReady.routing_key}"}}': 2,
        'stage:phototwin_dead:sum{stage="prepare"} > 0': 1,
    }
    async with asyncio.timeout(PATIENCE):
        while True:
            told = {query: await asyncio.to_thread(value, watched.prometheus, query) for query in expected}
            if told == expected:
                return
            await asyncio.sleep(0.5)


async def test_a_store_that_is_away_is_noticed(rabbitmq: RabbitServer, s3: S3Server, tmp_path: Path) -> None:
    async with fleet(rabbitmq, s3, tmp_path) as ships:
        (closed,) = free_ports(1)
        ships.environment["PHOTOTWIN_S3_ENDPOINT_URL"] = f"http://127.0.0.1:{closed}"
        (worker,) = await ships.start("prepare")
        scraped = jobs({"prepare": worker.port}, rabbitmq, ships.settings.prefix)
        with Prometheus(scraped, ROOT / "deploy/prometheus/rules") as prometheus:
            await found(prometheus)
            file = UploadedFile(key="captures/default/a/upload/a.zip", bytes=1)
            await say(ships, DatasetUploaded(capture_id="a", files=(file,)))
            states: dict[str, str] = {}
            async with asyncio.timeout(PATIENCE):
                while states.get("PhototwinStoreUnavailable") != "pending":  # for as long as its `for` says
                    await asyncio.sleep(0.5)
                    rules = await asyncio.to_thread(prometheus.rules)
                    states = {rule["name"]: rule["state"] for rule in rules if rule["type"] == "alerting"}
            assert (
                worker.metric("stalls_total", code="storage_unavailable") == 0
            )  # so PhototwinStalls is silent


def value(prometheus: Prometheus, query: str) -> float | None:
    found = prometheus.query(query)
    return float(found[0]["value"][1]) if found else None


def metrics_in(query: str) -> set[str]:
    """The names of metrics of an expression, as far as they are ours, RabbitMQ's or NVIDIA's."""
    return set(re.findall(r"\b(?:phototwin_|rabbitmq_|DCGM_)\w+(?=[\[{)\s]|$)", query))


def test_panels_without_data_exist() -> None:
    assert set(WITHOUT_DATA) <= set(panels())


def test_the_files_are_what_the_code_says(tmp_path: Path) -> None:
    subprocess.run([sys.executable, ROOT / "deploy/grafana/dashboards.py", tmp_path], check=True)
    made = {path.name: path.read_text() for path in tmp_path.iterdir()}
    assert made == {path.name: path.read_text() for path in DASHBOARDS.iterdir()}


def test_what_grafana_is_provisioned_with() -> None:
    provisioning = ROOT / "deploy/grafana/provisioning"
    (source,) = yaml.safe_load((provisioning / "datasources/prometheus.yaml").read_text())["datasources"]
    told = yaml.safe_load((ROOT / "deploy/prometheus/prometheus.yaml").read_text())
    assert source["jsonData"]["timeInterval"] == told["global"]["scrape_interval"]
    for path in DASHBOARDS.glob("*.json"):
        board = json.loads(path.read_text())
        assert {panel["datasource"]["uid"] for panel in board["panels"]} == {source["uid"]}
        assert [panel["id"] for panel in board["panels"]] == list(range(1, len(board["panels"]) + 1))
