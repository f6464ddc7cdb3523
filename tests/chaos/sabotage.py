"""What is done to a worker from within its own process: killed between two steps, or robbed of a safeguard.

Nothing of this is in the workers: their methods are wrapped here, in processes that only these tests start.
"""

import functools
import os
import signal
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import structlog

from broker.interface import Message
from broker.rabbitmq import Broker
from broker.rabbitmq_inbox import Delivery
from contracts.events import Event
from tests.chaos.diary import Diary
from workers.runtime.compute import Compute
from workers.runtime.job import Job
from workers.runtime.outcome import Outcomes
from workers.runtime.s3 import S3Store
from workers.runtime.shell import Shell

BOUNDARIES = (
    "parsed",
    "looked up",
    "fetched",
    "computed",
    "artefacts put",
    "manifest put",
    "ending recorded",
    "published",
    "acknowledged",
)
"""Between a job's steps, in order. `ending recorded` is there only where a capture ends."""


@dataclass
class Fate:
    """To be killed at the `passing`-th passing of a boundary. Leaves the file `done` behind."""

    boundary: str
    passing: int
    done: Path
    diary: Diary

    def meet(self, boundary: str) -> None:
        bound = structlog.contextvars.get_contextvars()
        if boundary != self.boundary or "capture_id" not in bound:  # a chore, not a job
            return
        self.passing -= 1
        if self.passing == 0:
            self.done.touch()
            self.diary.note("killed", boundary=boundary, stage=bound["stage"])
            os.kill(os.getpid(), signal.SIGKILL)


def arm(fate: Fate) -> None:
    meet = fate.meet
    _after(Job, "existing", lambda: meet("looked up"))
    _after(Job, "fetch", lambda: meet("fetched"))
    _after(Compute, "run", lambda: meet("computed"))
    _after(Broker, "publish_to", lambda: meet("published"))
    _after(Delivery, "ack", lambda: meet("acknowledged"))
    of, put_if_absent = Job.of, S3Store.put_if_absent

    async def parsed(*args: Any) -> Job:
        job = await of(*args)
        meet("parsed")
        return job

    async def put(store: S3Store, key: str, body: bytes, media_type: str) -> bool:
        manifest = key.endswith("/manifest.json")
        if manifest:
            meet("artefacts put")
        first = await put_if_absent(store, key, body, media_type)
        if manifest:
            meet("manifest put")
        if "/outcomes/" in key:
            meet("ending recorded")
        return first

    Job.of = staticmethod(parsed)  # type: ignore[assignment,method-assign]
    S3Store.put_if_absent = put  # type: ignore[method-assign,assignment]


def _after(owner: type, name: str, then: Callable[[], None]) -> None:
    original = getattr(owner, name)

    @functools.wraps(original)
    async def wrapped(*args: Any, **kwargs: Any) -> Any:
        result = await original(*args, **kwargs)
        then()
        return result

    setattr(owner, name, wrapped)


def keep(diary: Diary) -> None:
    """Note each delivery, when it is settled, and each computation that is begun."""
    handle, run = Shell.handle, Compute.run

    async def handling(shell: Shell, delivery: Any) -> None:
        diary.note("delivered", id=delivery.message.id, returns=delivery.returns, stage=shell.worker.stage)
        await handle(shell, delivery)
        diary.note("settled", id=delivery.message.id)

    async def computing(compute: Compute, *args: Any) -> Any:
        diary.note("computing", job=structlog.contextvars.get_contextvars()["job_key"])
        return await run(compute, *args)

    Shell.handle = handling  # type: ignore[method-assign,assignment]
    Compute.run = computing  # type: ignore[method-assign,assignment]


def acknowledge_first() -> None:
    """As a client does by default: what is delivered counts as done."""
    handle = Shell.handle

    async def handling(shell: Shell, delivery: Any) -> None:
        await delivery.ack()
        delivery.ack = _nothing
        await handle(shell, delivery)

    Shell.handle = handling  # type: ignore[method-assign,assignment]


def overwrite_manifests() -> None:
    put_if_absent = S3Store.put_if_absent

    async def put(store: S3Store, key: str, body: bytes, media_type: str) -> bool:
        if not key.endswith("/manifest.json"):
            return await put_if_absent(store, key, body, media_type)
        await store._client.put_object(Bucket=store.bucket, Key=key, Body=body, ContentType=media_type)
        return True

    S3Store.put_if_absent = put  # type: ignore[method-assign,assignment]


def record_no_endings() -> None:
    async def announce(outcomes: Outcomes, event: Event, message: Message) -> bool:
        await outcomes._broker.publish(message)
        return True

    async def failed(outcomes: Outcomes, event: Event) -> Message | None:
        return None

    Outcomes.announce = announce  # type: ignore[method-assign,assignment]
    Outcomes.failed = failed  # type: ignore[method-assign,assignment]


async def _nothing() -> None:
    return


SAFEGUARDS: dict[str, Callable[[], None]] = {
    "acknowledge-last": acknowledge_first,
    "manifest-if-absent": overwrite_manifests,
    "recorded-ending": record_no_endings,
}
"""What can be taken away, by name."""
