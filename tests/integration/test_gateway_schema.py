"""The gateway keeps to its OpenAPI document, whatever it is asked."""

import asyncio
import json
import random
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import hypothesis
import pytest
import schemathesis
import uvicorn
from openapi_spec_validator import validate
from schemathesis.specs.openapi.checks import positive_data_acceptance

from contracts.dataset import announced_key
from contracts.envelope import Envelope
from contracts.events import Event
from tests.gateway import Served, served
from workers.cli_schemas import OPENAPI
from workers.gateway.app import application
from workers.gateway.record import STAGES

EXAMPLES = 30


@dataclass
class Site:
    """A gateway that listens, with captures in several states."""

    url: str
    headers: dict[str, str]
    captures: list[str]


async def _captures(site: Served) -> list[str]:
    done, reviewed, working = [
        await site.uploaded(name=name, options={"review": name == "reviewed"})
        for name in ("done", "reviewed", "working")
    ]
    for id, stages in ((done, STAGES), (reviewed, STAGES[:2])):
        event = Envelope.parse(await site.gateway.store.get(announced_key(Event(capture_id=id)))).data
        for stage in stages:
            event = await site.workers.do(stage, event)
    await site.until(done, "done")
    await site.until(reviewed, "review")
    return [done, reviewed, working, (await site.created())["capture_id"]]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """In a thread of its own, as its clients know nothing of event loops."""
    folder, ready, end = tmp_path_factory.mktemp("gateway"), threading.Event(), threading.Event()
    found: list[Site] = []
    thread = threading.Thread(target=lambda: asyncio.run(_serve(folder, found, ready, end)))
    thread.start()
    assert ready.wait(300)
    try:
        yield found[0]
    finally:
        end.set()
        thread.join(120)


async def _serve(folder: Path, found: list[Site], ready: threading.Event, end: threading.Event) -> None:
    async with served(folder, max_open_captures=100_000) as made:
        captures = await _captures(made)
        _, key = await made.gateway.access.create_key("default", "test")
        made.gateway.settings.__dict__["auth"] = "keys"
        config = uvicorn.Config(application(made.gateway), port=0, lifespan="off", log_config=None)
        server = uvicorn.Server(config)
        serving = asyncio.create_task(server._serve())
        while not server.started:  # noqa: ASYNC110
            await asyncio.sleep(0.05)
        port = server.servers[0].sockets[0].getsockname()[1]
        found.append(Site(f"http://127.0.0.1:{port}", {"Authorization": f"Bearer {key}"}, captures))
        ready.set()
        await asyncio.to_thread(end.wait)
        server.should_exit = True
        await serving


API: Any = schemathesis.openapi.from_dict(application(None).openapi())
OPERATIONS = {
    found.ok().label: found.ok()
    for found in API.exclude(path_regex="/events$").get_all_operations()  # events go on for ever
}


@pytest.mark.parametrize("operation", OPERATIONS)
def test_whatever_is_asked_is_answered_by_the_document(operation: str, site: Site) -> None:
    @hypothesis.given(case=OPERATIONS[operation].as_strategy())
    @hypothesis.settings(max_examples=EXAMPLES, suppress_health_check=list(hypothesis.HealthCheck))
    def check(case: schemathesis.Case[Any]) -> None:
        if "capture_id" in case.path_parameters and random.random() < 0.5:
            case.path_parameters["capture_id"] = random.choice(site.captures)
        # Much is refused for what no schema can say: sizes that add up to too much, a key used before, ...
        case.call_and_validate(
            base_url=site.url,
            headers=site.headers,
            excluded_checks=[positive_data_acceptance],
            timeout=120,
        )

    check()


def test_the_document_is_valid_and_committed() -> None:
    document = application(None).openapi()
    validate(document)
    assert json.loads(OPENAPI.read_text()) == document
