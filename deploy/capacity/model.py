"""A discrete-event simulation of an installation: captures arrive, wait in a queue for each stage, and are
worked on by replicas that a scaler adds and takes away. Times are in seconds.

What is modelled: KEDA's look at the queues every so often, the start of a pod, a node that has to be
provisioned first, replicas that are taken away once they are idle (SIGTERM has a job given back at no cost:
this errs on the slow side), nodes that are given up when they are empty, or that the provider takes back
(spot), and checkpoints, from which the next replica goes on. What is not: failures and retries, tenants and
lanes, and the network.
"""

import math
import random
from collections import deque
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, field
from typing import Any

import simpy

from deploy.capacity.nodes import Node, NodePool, Nodes

Steps = Generator[Any, Any, None]
Draw = Callable[[random.Random], float]
"""A time, drawn at random."""


@dataclass(frozen=True)
class Stage:
    """One worker's part, and how it is scaled."""

    name: str
    seconds: Draw
    """A job's."""
    least: int = 1
    most: int = 1
    """Replicas; where both are the same nothing is scaled."""
    nodes: NodePool | None = None
    """What its replicas run on; None: there is room always."""
    cores: float = 1.0
    gpus: float = 0.0
    """What a replica asks for."""
    start: float = 0.0
    """From the decision to a replica that takes jobs, on a node that has room."""
    once: bool = False
    """A replica ends with its first job, as a Job's for one message does."""
    checkpoint: float = 30.0
    """At most so old is the state that the next replica goes on from."""
    poll: float = 15.0
    """The scaler looks so often: as many replicas are wanted as there are jobs, waiting or in work."""
    cooldown: float = 120.0
    """Replicas go where there were more than wanted for so long; 0: at once, as a KEDA ScaledJob's do."""


@dataclass
class Passage:
    """A capture's way: when it arrived; for each stage how long it waited, and when it was done."""

    arrived: float
    waited: dict[str, float] = field(default_factory=dict)
    done: dict[str, float] = field(default_factory=dict)

    @property
    def seconds(self) -> float:
        """From its arrival to its model."""
        return max(self.done.values()) - self.arrived


@dataclass
class Usage:
    """Of one stage."""

    alive: float = 0.0
    """Replica seconds that were paid for, from the decision on,"""
    busy: float = 0.0
    """and those in which there was work."""
    most: int = 0
    """Replicas at a time."""
    interrupted: int = 0
    """Jobs whose node was taken back."""
    looks: list[tuple[float, int, int]] = field(default_factory=list)
    """The scaler's: when, how many jobs waited, how many replicas there were."""


@dataclass
class Outcome:
    passages: list[Passage]
    usage: dict[str, Usage]
    nodes: dict[str, Nodes]
    """By their pool's name."""


def simulate(stages: Sequence[Stage], arrivals: Sequence[float], *, seed: int = 0) -> Outcome:
    """Captures that arrive at these times, in this order, until the last one is done."""
    environment, rng = simpy.Environment(), random.Random(seed)
    nodes = {
        pool: Nodes(pool, lambda: environment.now, random.Random(rng.random()))
        for pool in dict.fromkeys(stage.nodes for stage in stages)
        if pool is not None
    }
    teams = [
        _Team(environment, stage, nodes[stage.nodes] if stage.nodes else None, random.Random(rng.random()))
        for stage in stages
    ]
    passages = [Passage(arrived) for arrived in arrivals]
    end = environment.event()
    last = _count(len(passages), end)
    for team, following in zip(teams, [*(team.put for team in teams[1:]), last], strict=True):
        team.following = following
    environment.process(_arrive(environment, teams[0], passages))
    environment.run(until=end)
    for team in teams:
        team.account()
    usage = {team.stage.name: team.usage for team in teams}
    return Outcome(passages, usage, {pool.name: there for pool, there in nodes.items()})


def poisson(per_hour: float, seconds: float, seed: int = 0) -> list[float]:
    """Arrivals that know nothing of each other."""
    rng, now, found = random.Random(seed), 0.0, []
    while (now := now + rng.expovariate(per_hour / 3600)) < seconds:
        found.append(now)
    return found


def quantile(values: Sequence[float], part: float) -> float:
    """The smallest value that this part of them does not exceed."""
    return sorted(values)[max(0, math.ceil(part * len(values)) - 1)]


@dataclass
class _Job:
    passage: Passage
    queued: float
    left: float | None = None
    """What remains of one that was interrupted."""


class _Team:
    """A stage's queue and its replicas."""

    def __init__(
        self, environment: simpy.Environment, stage: Stage, nodes: Nodes | None, rng: random.Random
    ) -> None:
        self.stage, self.usage = stage, Usage()
        self.following: Callable[[_Job], None]
        self._env, self._nodes, self._rng = environment, nodes, rng
        self._jobs: deque[_Job] = deque()
        self._idle: deque[simpy.Event] = deque()
        """Each of a replica that waits: for a job, or for None, to go."""
        self._replicas = self._busy = self._surplus = 0
        self._changed = 0.0
        self._too_many_since: float | None = None
        for _ in range(stage.least):
            environment.process(self._replica(there=True))
        if stage.most > stage.least:
            environment.process(self._scale())

    def put(self, job: _Job) -> None:
        if self._idle:
            self._idle.popleft().succeed(job)
        else:
            self._jobs.append(job)

    def account(self, replicas: int = 0, busy: int = 0) -> None:
        """What was used up to now; from now on there are so many more."""
        passed = self._env.now - self._changed
        self.usage.alive += passed * self._replicas
        self.usage.busy += passed * self._busy
        self._changed = self._env.now
        self._replicas += replicas
        self._busy += busy
        self.usage.most = max(self.usage.most, self._replicas)

    def _replica(self, *, there: bool = False) -> Steps:
        """`there`: from the beginning."""
        stage, now = self.stage, self._env.now
        self.account(replicas=1)
        node = self._nodes.take(stage.cores, stage.gpus) if self._nodes else Node(now, now, math.inf, 0, 0)
        yield self._env.timeout(max(0.0, node.ready - now))
        yield self._env.timeout(0.0 if there else stage.start)
        while self._env.now < node.ends:
            job = yield from self._next(node.ends)
            if job is None:
                break
            yield from self._work(job, node.ends)
            if stage.once:
                break
        self.account(replicas=-1)
        if self._nodes:
            self._nodes.give(node, stage.cores, stage.gpus)
        if self._env.now >= node.ends and stage.most == stage.least:  # else it is for the scaler to see
            self._env.process(self._replica())

    def _next(self, ends: float) -> Generator[Any, Any, _Job | None]:
        """A job; None when it is time to go."""
        if self._surplus:
            self._surplus -= 1
            return None
        if self._jobs:
            return self._jobs.popleft()
        news = self._env.event()
        self._idle.append(news)
        yield news if math.isinf(ends) else news | self._env.timeout(ends - self._env.now)
        if not news.triggered:
            self._idle.remove(news)
            return None
        job: _Job | None = news.value
        return job

    def _work(self, job: _Job, ends: float) -> Steps:
        name, begun = self.stage.name, self._env.now
        job.passage.waited.setdefault(name, begun - job.queued)
        left = self.stage.seconds(self._rng) if job.left is None else job.left
        self.account(busy=1)
        yield self._env.timeout(min(left, ends - begun))
        self.account(busy=-1)
        if left <= ends - begun:
            job.passage.done[name] = self._env.now
            self.following(_Job(job.passage, self._env.now))
            return
        ran = ends - begun
        self.usage.interrupted += 1
        job.left = left - ran + self._rng.uniform(0, min(ran, self.stage.checkpoint))
        self._jobs.appendleft(job)
        if self._idle:
            self._idle.popleft().succeed(self._jobs.popleft())

    def _scale(self) -> Steps:
        stage = self.stage
        while True:
            yield self._env.timeout(stage.poll)
            self.usage.looks.append((self._env.now, len(self._jobs), self._replicas))
            wanted = min(stage.most, max(stage.least, len(self._jobs) + self._busy))
            there = self._replicas - self._surplus
            if wanted <= there:
                self._take_away(there - wanted)
                continue
            self._too_many_since = None
            kept = min(self._surplus, wanted - there)
            self._surplus -= kept
            for _ in range(wanted - there - kept):
                self._env.process(self._replica())

    def _take_away(self, count: int) -> None:
        if count == 0:
            self._too_many_since = None
            return
        if self._too_many_since is None:
            self._too_many_since = self._env.now
        if self._env.now - self._too_many_since < self.stage.cooldown:
            return
        for _ in range(count):
            if self._idle:
                self._idle.popleft().succeed(None)
            else:
                self._surplus += 1


def _arrive(environment: simpy.Environment, first: _Team, passages: list[Passage]) -> Steps:
    for passage in passages:
        yield environment.timeout(passage.arrived - environment.now)
        first.put(_Job(passage, environment.now))


def _count(wanted: int, end: simpy.Event) -> Callable[[_Job], None]:
    """For what has passed the last stage."""
    left = wanted

    def one(_: _Job) -> None:
        nonlocal left
        left -= 1
        if left == 0:
            end.succeed()

    return one
