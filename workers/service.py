"""One worker as a process of its own, on RabbitMQ and S3."""

import asyncio
import signal

from broker.rabbitmq import Broker
from contracts.events import Stage
from workers.runtime import http, logs, s3, tracing
from workers.runtime.compute import Compute
from workers.runtime.metrics import Metrics
from workers.runtime.patience import end
from workers.runtime.run_loop import RunLoop, Until
from workers.runtime.settings import Settings
from workers.runtime.vitals import Vitals
from workers.runtime.weights import weights_at_hand
from workers.stages import WORKERS


async def run(stage: Stage, settings: Settings, *, until: Until = "stopped") -> None:
    """Until SIGTERM or SIGINT (the job at hand is finished, if that is soon, or given back for another
    worker), and with `until` "empty" or "once" no longer than there is something to do, or than one event
    takes. Raises BrokerUnavailable where RabbitMQ cannot be
    reached at start or its topology is not whole, and SettingsError where the settings ask for what this
    worker cannot do."""
    logs.configure(settings.log_level)
    log = logs.get_logger()
    stop = asyncio.Event()
    for signal_number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(signal_number, stop.set)
    metrics = Metrics()
    async with (
        tracing.collected(settings, f"phototwin-{stage}"),
        s3.connect(settings) as store,
        weights_at_hand(WORKERS[stage], settings, store) as settings,
    ):
        worker = WORKERS[stage](settings)
        compute = Compute((worker.compute,), settings.threads)
        await compute.start()
        broker = await Broker.connect(
            settings.amqp_url.get_secret_value(),
            settings.topology,
            name=f"phototwin {stage}",
            ca_file=settings.ca_file,
        )
        try:
            await broker.check(settings.topology.live_queues(stage))
            vitals = Vitals(broker, metrics)
            watching = asyncio.create_task(vitals.watch())
            loop = RunLoop(worker, broker, store, compute, settings, metrics)
            async with http.serve(
                settings.http_host,
                settings.http_port,
                metrics.registry,
                lambda: vitals.fault() or loop.fault(),
            ) as port:
                log.info("worker started", stage=stage, http_port=port)
                await loop.run(stop, until=until)
            await end(watching)
        finally:
            await compute.close()
            await broker.close()
            log.info("worker stopped", stage=stage)
