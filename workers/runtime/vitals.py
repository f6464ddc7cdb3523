"""How a worker is: whether its event loop is on time, and whether RabbitMQ takes what it has to say."""

import asyncio
import time

from broker.rabbitmq import BLOCKED, Broker
from workers.runtime.logs import get_logger
from workers.runtime.metrics import Metrics

LAG_INTERVAL = 0.1
BROKER_INTERVAL = 1.0


class Vitals:
    """`fault` is one sentence where the worker cannot do its work now, else None."""

    def __init__(self, broker: Broker, metrics: Metrics) -> None:
        self._broker, self._metrics = broker, metrics
        self._fault: str | None = None

    def fault(self) -> str | None:
        return self._broker.fault() or self._fault

    async def watch(self) -> None:
        """Until it is cancelled."""
        last = time.monotonic()
        while True:
            started = time.monotonic()
            await asyncio.sleep(LAG_INTERVAL)
            now = time.monotonic()
            self._metrics.lag.observe(max(0.0, now - started - LAG_INTERVAL))
            if now - last >= BROKER_INTERVAL:
                last = now
                await self._ask_broker()

    async def _ask_broker(self) -> None:
        fault = BLOCKED if await self._broker.blocked() else None
        if fault != self._fault:
            log = get_logger()
            log.error(fault) if fault else log.info("RabbitMQ takes messages again")
        self._fault = fault
        self._metrics.up.set(0 if self.fault() else 1)
