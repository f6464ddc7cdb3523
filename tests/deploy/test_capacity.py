"""The simulation of an installation, against what queueing theory knows in closed form."""

import math
import statistics
from dataclasses import replace

import pytest

from deploy.capacity.model import Draw, Outcome, Stage, poisson, quantile, simulate
from deploy.capacity.nodes import NodePool

MANY = 60_000


def exponential(mean: float) -> Draw:
    return lambda rng: rng.expovariate(1 / mean)


def constant(seconds: float) -> Draw:
    return lambda _: seconds


def wait(outcome: Outcome, stage: str = "work") -> float:
    return statistics.fmean(passage.waited[stage] for passage in outcome.passages)


def erlang_c(servers: int, load: float) -> float:
    """Probability that an arrival has to wait."""
    last = load**servers / math.factorial(servers) * servers / (servers - load)
    return last / (sum(load**k / math.factorial(k) for k in range(servers)) + last)


@pytest.mark.parametrize(("servers", "rate"), [(1, 0.5), (4, 3.0)])
def test_waiting_is_erlangs(servers: int, rate: float) -> None:
    stage = Stage("work", exponential(1.0), servers, servers)
    outcome = simulate([stage], poisson(3600 * rate, MANY / rate))
    expected = erlang_c(servers, rate) / (servers - rate)
    assert wait(outcome) == pytest.approx(expected, rel=0.08)
    assert outcome.usage["work"].busy / outcome.usage["work"].alive == pytest.approx(rate / servers, rel=0.03)


def test_waiting_for_what_takes_always_the_same_is_half_of_that() -> None:
    outcome = simulate([Stage("work", constant(1.0))], poisson(1800, 2 * MANY))
    assert wait(outcome) == pytest.approx(0.5, rel=0.08)  # Pollaczek and Khinchine


def test_stages_follow_each_other() -> None:
    stages = [Stage("one", constant(2.0)), Stage("two", constant(3.0))]
    outcome = simulate(stages, [0.0, 0.0, 0.0])
    assert [passage.seconds for passage in outcome.passages] == [5.0, 8.0, 11.0]
    assert [passage.waited["two"] for passage in outcome.passages] == [0.0, 1.0, 2.0]


def test_replicas_come_when_they_are_needed_and_go_when_they_are_not() -> None:
    nodes = NodePool("nodes", cores=4, start=100, keep=6000)
    stage = Stage("work", constant(60.0), 0, 10, nodes, start=20, poll=15, cooldown=120)
    outcome = simulate([stage], [0.0] * 100 + [4000.0])
    first, last = outcome.passages[0], outcome.passages[-1]
    assert first.waited["work"] == 15 + 20 + 100
    usage = outcome.usage["work"]
    assert usage.most == 10
    replicas = {at: count for at, _, count in usage.looks}
    assert replicas[15.0] == 0
    assert replicas[30.0] == 10
    assert replicas[3990.0] == 0
    assert outcome.nodes["nodes"].most == 3
    # A place on a node that is there takes no provisioning, as the first one's of each four did.
    assert last.waited["work"] == pytest.approx(4005 - 4000 + 20, abs=15)
    assert usage.busy == pytest.approx(101 * 60)
    assert usage.busy < usage.alive < 1.6 * usage.busy


def test_an_empty_node_is_given_up_and_waited_for_again() -> None:
    kept = NodePool("kept", cores=4, start=100, keep=600)
    stage = Stage("work", constant(60.0), 0, 8, start=20, poll=15, cooldown=0)
    arrivals = [0.0] * 8 + [1000.0]

    def run(pool: NodePool) -> Outcome:
        return simulate([replace(stage, nodes=pool)], arrivals)

    first, last = run(kept), run(replace(kept, keep=1e6))
    assert [outcome.passages[0].waited["work"] for outcome in (first, last)] == [135, 135]
    waits = [outcome.passages[-1].waited["work"] for outcome in (first, last)]
    assert waits == [pytest.approx(waits[1] + 100), pytest.approx(35, abs=15)]
    end = max(passage.done["work"] for passage in first.passages)
    # Two nodes of four from the first look on, until they were empty (a look after their 180 s) and kept for
    # 600 s, then one; or both for good.
    gone = [outcome.nodes["kept"].paid() for outcome in (first, last)]
    assert gone[0] == pytest.approx(2 * (210 - 15 + 600) + end - 1005, abs=40)
    assert gone[1] == pytest.approx(2 * (max(p.done["work"] for p in last.passages) - 15))


def test_a_replica_that_fits_on_no_node_is_an_error() -> None:
    stage = Stage("work", constant(1.0), nodes=NodePool("small", cores=2), cores=4)
    with pytest.raises(ValueError, match="4 cores and 0 GPUs fits on no small node"):
        simulate([stage], [0.0])


def test_a_job_for_each_starts_a_replica_for_each() -> None:
    stage = Stage("work", constant(30.0), 0, 2, start=20, poll=15, cooldown=0)
    several, single = (simulate([replace(stage, once=once)], [0.0] * 4) for once in (False, True))
    assert [p.done["work"] for p in several.passages] == [65, 65, 95, 95]
    # Seen at 15, there at 35, done at 65; the next are seen at 75 and done at 125.
    assert [p.done["work"] for p in single.passages] == [65, 65, 125, 125]


def test_what_a_node_takes_with_it_is_made_up_from_the_last_checkpoint() -> None:
    nodes = NodePool("spot", cores=1, taken_back=6)
    stage = Stage("work", constant(300.0), 4, 4, nodes, start=10, checkpoint=30)
    outcome = simulate([stage], [0.0] * 200)
    usage = outcome.usage["work"]
    again = usage.busy - 200 * 300
    assert usage.interrupted > 30
    assert 0 < again < 30 * usage.interrupted
    assert again / usage.interrupted == pytest.approx(15, rel=0.25)
    assert all(passage.seconds >= 300 for passage in outcome.passages)


def test_the_same_seed_is_the_same_day() -> None:
    stages = [
        Stage("one", exponential(5.0), 1, 8, NodePool("spot", taken_back=2), start=9),
        Stage("two", exponential(3.0), 2, 2),
    ]
    arrivals = poisson(2000, 3600, seed=3)
    one, other, next_one = (simulate(stages, arrivals, seed=seed) for seed in (1, 1, 2))
    assert (one.passages, one.usage) == (other.passages, other.usage)
    assert one.nodes["spot"].paid() == other.nodes["spot"].paid()
    assert one.passages != next_one.passages
    assert quantile([3, 1, 2, 4], 0.5) == 2
