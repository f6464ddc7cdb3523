"""The nodes that replicas run on: one more is ordered where none has room, and given up when it has been
empty for a while."""

import math
import random
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class NodePool:
    """Nodes of one kind; times in seconds."""

    name: str
    cores: float = 16.0
    gpus: float = 0.0
    """What there is on a node for replicas."""
    start: float = 0.0
    """From its order until it takes replicas."""
    keep: float = 600.0
    """An empty one is given up after so long."""
    taken_back: float = 0.0
    """How often in an hour the provider takes a node back, on average."""


@dataclass(eq=False)
class Node:
    ordered: float
    ready: float
    ends: float
    """When the provider takes it back."""
    cores: float
    gpus: float
    """What is free."""
    replicas: int = 0
    empty_since: float = math.inf

    def gone(self, keep: float) -> float:
        """When it is, or will be as things are."""
        return min(self.ends, self.empty_since + keep)


class Nodes:
    """Of a pool, by a clock. A replica gets the fullest node that has room for it, as if whoever scales the
    cluster kept moving them together: this errs on the cheap side."""

    def __init__(self, pool: NodePool, clock: Callable[[], float], rng: random.Random) -> None:
        self.pool, self.most = pool, 0
        self._clock, self._rng, self._paid = clock, rng, 0.0
        self._there: list[Node] = []

    def take(self, cores: float, gpus: float) -> Node:
        """Room for a replica. Raises ValueError where no node of the pool is large enough."""
        self._give_up()
        free = [node for node in self._there if node.cores >= cores and node.gpus >= gpus]
        node = min(free, key=lambda node: node.cores, default=None) or self._order()
        if node.cores < cores or node.gpus < gpus:
            raise ValueError(
                f"a replica with {cores:g} cores and {gpus:g} GPUs fits on no {self.pool.name} node"
            )
        node.cores, node.gpus, node.replicas = node.cores - cores, node.gpus - gpus, node.replicas + 1
        node.empty_since = math.inf
        return node

    def give(self, node: Node, cores: float, gpus: float) -> None:
        """Back what was taken."""
        node.cores, node.gpus, node.replicas = node.cores + cores, node.gpus + gpus, node.replicas - 1
        if node.replicas == 0:
            node.empty_since = self._clock()

    def paid(self) -> float:
        """Seconds of all nodes so far, from their orders on."""
        self._give_up()
        return self._paid + sum(self._clock() - node.ordered for node in self._there)

    def _order(self) -> Node:
        now, pool = self._clock(), self.pool
        ready = now + pool.start if now else now  # what is there at the beginning has been there before
        lasts = self._rng.expovariate(pool.taken_back / 3600) if pool.taken_back else math.inf
        node = Node(now, ready, ready + lasts, pool.cores, pool.gpus)
        self._there.append(node)
        self.most = max(self.most, len(self._there))
        return node

    def _give_up(self) -> None:
        now, keep = self._clock(), self.pool.keep
        over = [node for node in self._there if node.gone(keep) <= now]
        self._paid += sum(node.gone(keep) - node.ordered for node in over)
        self._there = [node for node in self._there if node.gone(keep) > now]
