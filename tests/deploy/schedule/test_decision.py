"""Which Jobs are created and deleted."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from workers.schedule.decision import UNFINISHED, Job, Plan, decide

KEEP = timedelta(minutes=10)
NOW = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)


class World:
    """A cluster and a queue, as far as a decision goes by them; Kubernetes gives a name once."""

    def __init__(self, most: int) -> None:
        self.most, self.waiting, self.now = most, 0, NOW
        self.jobs: dict[int, Job] = {}
        self.made = 0

    def decide(self) -> Plan:
        return decide(self.waiting, tuple(self.jobs.values()), self.most, KEEP, self.now)

    def apply(self, plan: Plan) -> None:
        """It may be one made from what was so a while ago."""
        for job in plan.delete:
            if self.jobs.get(job.slot or 0) == job:
                del self.jobs[job.slot or 0]
        for slot in plan.create:
            if slot not in self.jobs:
                self.made += 1
                self.jobs[slot] = Job(f"job-{slot}", str(self.made), slot, "starting")

    def in_phase(self, *phases: str) -> list[int]:
        return sorted(slot for slot, job in self.jobs.items() if job.phase in phases)

    def begins(self, slot: int) -> None:
        """With a message, or it ends at once."""
        if self.waiting:
            self.waiting -= 1
            self.jobs[slot] = replace(self.jobs[slot], phase="working")
        else:
            self.ends(slot, "succeeded")

    def ends(self, slot: int, phase: Any) -> None:
        self.jobs[slot] = replace(self.jobs[slot], phase=phase, ended=self.now)


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("arrive"), st.integers(1, 6)),
        st.tuples(st.just("see"), st.integers(0, 1)),
        st.tuples(st.just("do"), st.integers(0, 1)),
        st.tuples(st.sampled_from(["begin", "succeed", "fail"]), st.integers(0, 9)),
        st.tuples(st.just("pass"), st.sampled_from([1, 300, 700])),
    ),
    max_size=60,
)


@given(st.integers(1, 5), STEPS)
def test_never_too_many_and_always_enough(most: int, steps: list[tuple[str, int]]) -> None:
    """Of two schedulers, each of which does things long after it has seen why; then one goes on alone."""
    world = World(most)
    plans = {0: Plan((), ()), 1: Plan((), ())}
    for what, number in steps:
        match what:
            case "arrive":
                world.waiting += number
            case "see":
                plans[number] = world.decide()
            case "do":
                world.apply(plans[number])
            case "begin" if starting := world.in_phase("starting"):
                world.begins(starting[number % len(starting)])
            case "succeed" if working := world.in_phase("working"):
                world.ends(working[number % len(working)], "succeeded")
            case "fail" if working := world.in_phase("working", "starting"):
                world.ends(working[number % len(working)], "failed")
            case "pass":
                world.now += timedelta(seconds=number)
        assert len(world.in_phase(*UNFINISHED)) <= most
    world.now += KEEP
    world.apply(world.decide())
    starting, working = world.in_phase("starting"), world.in_phase("working")
    assert len(starting) >= min(world.waiting, most - len(working))  # enough
    assert world.decide().create == ()  # and once
    for _ in range(100):
        for slot in world.in_phase("starting"):
            world.begins(slot)
        for slot in world.in_phase("working"):
            world.ends(slot, "succeeded")
        world.apply(world.decide())
    assert (world.waiting, world.in_phase(*UNFINISHED)) == (0, [])
    world.now += KEEP + timedelta(minutes=2)
    world.apply(world.decide())
    assert world.jobs == {}


@given(st.integers(0, 40), st.integers(0, 20), st.integers(1, 20))
def test_what_is_worked_on_does_not_wait(waiting: int, working: int, most: int) -> None:
    jobs = [Job(f"job-{slot}", str(slot), slot, "working") for slot in range(min(working, most))]
    assert len(decide(waiting, jobs, most, KEEP, NOW).create) == min(waiting, most - len(jobs))


def test_failed_jobs_stay_for_a_time() -> None:
    failed = Job("job-0", "a", 0, "failed", NOW - KEEP + timedelta(seconds=1))
    assert decide(5, [failed], 1, KEEP, NOW) == Plan((), ())
    later = NOW + timedelta(seconds=1)
    assert decide(5, [failed], 1, KEEP, later) == Plan((failed,), (0,))
    assert decide(0, [failed], 1, KEEP, later) == Plan((), ())  # Kubernetes deletes it
    assert decide(0, [failed], 1, KEEP, later + timedelta(minutes=1)) == Plan((failed,), ())  # but did not


def test_what_somebody_deletes_is_left_alone() -> None:
    leaving = Job("job-0", "a", 0, "leaving", NOW - 2 * KEEP)
    assert decide(5, [leaving], 2, KEEP, NOW) == Plan((), (1,))
    assert decide(5, [leaving], 1, KEEP, NOW + 2 * KEEP) == Plan((), ())


def test_more_than_there_may_be_are_not_added_to() -> None:
    """After --max-jobs was lowered."""
    jobs = [Job(f"job-{slot}", str(slot), slot, "working") for slot in (2, 3)]
    assert decide(5, jobs, 2, KEEP, NOW).create == ()
