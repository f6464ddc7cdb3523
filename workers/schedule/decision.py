"""Which Jobs to create and which to delete. What is decided from is in the cluster and in the queues, and
nowhere else: a scheduler that is started anew, or a second one beside it, knows as much.

A Job has one of `most` slots, and its name is that of the slot; Kubernetes gives a name once. So there are
never more than `most` at once, and of two schedulers that answer the same need one is told that the Job is
there already.
"""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal

Phase = Literal["starting", "working", "succeeded", "failed", "leaving"]
UNFINISHED = ("starting", "working", "leaving")
DELETED_BY_KUBERNETES = timedelta(minutes=1)
"""How long after its time a finished Job's removal is left to Kubernetes, which does it by itself."""


@dataclass(frozen=True)
class Job:
    """`slot`: None for a name that none of ours has; `ended`: if it has succeeded or failed. Starting are
    those that have no message as yet, leaving those that somebody is deleting."""

    name: str
    uid: str
    slot: int | None
    phase: Phase
    ended: datetime | None = None


@dataclass(frozen=True)
class Plan:
    """First the deletions: some make room for what is created."""

    delete: tuple[Job, ...]
    create: tuple[int, ...]


def decide(waiting: int, jobs: Collection[Job], most: int, keep: timedelta, now: datetime) -> Plan:
    """A Job for each message that waits and that no starting Job will take; those in work do not wait.
    keep: how long a finished Job may stay. One that failed holds its slot for so long: somebody may want to
    look at it, and what always fails is not begun again without end."""
    over = [
        job for job in jobs if job.phase == "succeeded" or (job.phase == "failed" and _age(job, now) >= keep)
    ]
    held = {job.slot for job in jobs if job not in over}
    free = [slot for slot in range(most) if slot not in held]
    room = most - sum(job.phase in UNFINISHED for job in jobs)
    unmet = waiting - sum(job.phase == "starting" for job in jobs)
    create = tuple(free[: max(0, min(unmet, room))])
    late = keep + DELETED_BY_KUBERNETES
    delete = tuple(job for job in over if job.slot in create or _age(job, now) >= late)
    return Plan(delete, create)


def _age(job: Job, now: datetime) -> timedelta:
    """Since it ended."""
    return now - (job.ended or now)
