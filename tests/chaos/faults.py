"""What goes wrong, and when: by a seed, after how many captures have ended."""

import asyncio
import os
import random
import signal
from collections import Counter
from collections.abc import Mapping
from contextlib import suppress
from typing import Literal

from tests.chaos.diary import Diary
from tests.chaos.proxy import Mood, Proxy
from tests.chaos.sabotage import BOUNDARIES
from tests.servers.rabbitmq import RabbitMQ

Fault = Literal["kill", "restart", "cut", "burst", "alarm"]
CUTS: tuple[Mood, ...] = ("pass", "refuse", "deaf")
BUSY = 0.9
BURSTS: tuple[Mood, ...] = ("unavailable", "unavailable", "refuse", "deaf", "slow")


def schedule(faults: Mapping[Fault, int], captures: int, seed: int) -> dict[int, list[Fault]]:
    """After how many captures have ended which faults begin; the last captures are left alone."""
    dice, found = random.Random(f"faults {seed}"), dict[int, list[Fault]]()
    for fault, count in faults.items():
        for turn in range(count):  # spread over the run, each somewhere in its share of it
            place = int((turn + dice.random()) / count * captures * BUSY)
            found.setdefault(place, []).append(fault)
    return found


def fates(kills: int, jobs: int, seed: int) -> list[tuple[str, int]]:
    """Boundary and passing for each of the kills, all boundaries equally often. A worker's first job is left
    to it: what is killed at once, again and again, would take an innocent event for a killer."""
    dice = random.Random(f"fates {seed}")
    boundaries = [boundary for turn in range(kills // len(BOUNDARIES) + 1) for boundary in BOUNDARIES][:kills]
    dice.shuffle(boundaries)
    latest = max(3, jobs // max(1, kills) // 2)
    return [(boundary, dice.randint(2, latest)) for boundary in boundaries]


class Faults:
    """`done`: how many of each there were; `connections`: how many of them were cut."""

    def __init__(self, rabbit: RabbitMQ, amqp: Proxy, http: Proxy, diary: Diary, seed: int) -> None:
        self._rabbit, self._amqp, self._http, self._diary = rabbit, amqp, http, diary
        self._dice = random.Random(f"moods {seed}")
        self._broker = asyncio.Lock()
        self._under_way: set[asyncio.Task[None]] = set()
        self.living: dict[int, bool] = {}
        """The workers' process ids, and whether each has a delivery."""
        self.done: Counter[str] = Counter()

    def begin(self, fault: Fault) -> None:
        self.done[fault] += 1
        self._under_way.add(asyncio.create_task(getattr(self, f"_{fault}")()))

    async def over(self) -> None:
        await asyncio.gather(*self._under_way)

    async def _kill(self) -> None:
        """Whoever is at work, if anyone is; as soon as there is anyone at all."""
        while not self.living:  # noqa: ASYNC110
            await asyncio.sleep(0.1)
        victim = self._dice.choice([pid for pid, busy in self.living.items() if busy] or list(self.living))
        del self.living[victim]
        with suppress(ProcessLookupError):
            os.kill(victim, signal.SIGKILL)
            self._diary.note("struck", of=victim)

    async def _restart(self) -> None:
        async with self._broker:
            await asyncio.to_thread(self._rabbit.restart)

    async def _alarm(self) -> None:
        async with self._broker:
            await asyncio.to_thread(self._rabbit.alarm, on=True)
            await asyncio.sleep(self._dice.uniform(1, 3))
            await asyncio.to_thread(self._rabbit.alarm, on=False)

    async def _cut(self) -> None:
        mood = self._dice.choice(CUTS)
        if mood == "pass":
            self._amqp.cut()
        else:
            await self._amqp.be(mood, self._dice.uniform(0.2, 1.0))

    async def _burst(self) -> None:
        await self._http.be(self._dice.choice(BURSTS), self._dice.uniform(1.0, 5.0))
