"""`phototwin schedule`: Kubernetes Jobs for reconstructions that wait, where there is no KEDA."""

import asyncio
import json
import signal
from pathlib import Path
from typing import Annotated

import typer

from workers.console import configured, connect, do
from workers.runtime import http, logs
from workers.runtime.settings import Settings, SettingsError


def schedule(
    template: Annotated[
        Path, typer.Option(help="A manifest with your Job, or with KEDA's ScaledJob.", show_default=False)
    ],
    max_jobs: Annotated[int, typer.Option(min=1, help="At a time.")] = 20,
    interval: Annotated[float, typer.Option(min=1, help="Seconds between two looks at the queues.")] = 10.0,
    once: Annotated[bool, typer.Option("--once", help="Look once and end: for cron.")] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Look once, print the Jobs to create, and change nothing.")
    ] = False,
) -> None:
    """Create a Kubernetes Job for each reconstruction that waits, until SIGTERM; Jobs go on without it.

    Needs `phototwin[kubernetes]`; the cluster is that of the pod it runs in, or kubeconfig's.

    Example: `phototwin schedule --template job.yaml --max-jobs 20`
    """
    do(_schedule(configured(), template, max_jobs, interval, once=once, dry_run=dry_run))


async def _schedule(
    settings: Settings, path: Path, max_jobs: int, interval: float, *, once: bool, dry_run: bool
) -> None:
    try:
        import kubernetes.aio  # noqa: F401
    except ImportError:
        raise SettingsError("this needs Kubernetes' client; install phototwin[kubernetes]") from None
    from workers.schedule.cluster import connected
    from workers.schedule.scheduler import Scheduler
    from workers.schedule.template import read

    logs.configure(settings.log_level)
    template, queues = read(path), settings.topology.live_queues("reconstruct")
    broker = await connect(settings)
    try:
        scheduler = Scheduler(broker, queues, lambda: connected(template), template, max_jobs)
        if dry_run:
            plan = await scheduler.plan()
            for slot in plan.create:
                print(f"---\n{json.dumps(template.job(slot), indent=2)}")
            for job in plan.delete:
                print(f"# delete {job.name}, which {job.phase}")
            print(f"# {len(plan.create)} to create, {len(plan.delete)} to delete")
        elif once:
            await scheduler.look()
        else:
            stop = asyncio.Event()
            for number in (signal.SIGTERM, signal.SIGINT):
                asyncio.get_running_loop().add_signal_handler(number, stop.set)
            async with http.serve(
                settings.http_host,
                settings.http_port,
                scheduler.metrics.registry,
                lambda: broker.fault() or scheduler.fault(),
            ) as port:
                logs.get_logger().info("scheduler started", http_port=port, max_jobs=max_jobs)
                await scheduler.run(stop, interval)
                logs.get_logger().info("scheduler stopped")
    finally:
        await broker.close()
