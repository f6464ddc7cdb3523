"""`python -m tests.chaos`: a run on servers of its own. Prints what happened; exits with 1 on any finding,
and where it ended before all faults had come."""

import argparse
import asyncio
import logging
import sys
import tempfile
import time
from pathlib import Path

from tests.chaos import captures
from tests.chaos.report import lines
from tests.chaos.run import Wish, run, share
from tests.chaos.sabotage import SAFEGUARDS
from tests.servers.ceph import Ceph
from tests.servers.rabbitmq import RabbitMQ
from workers.simulate.capture import simulate


def main() -> int:
    asked = _arguments()
    logging.disable()  # aio-pika tells of each connection that is cut, which is what they are here for
    folder = Path(asked.keep or tempfile.mkdtemp(prefix="phototwin-chaos-"))
    folder.mkdir(parents=True, exist_ok=True)
    if asked.real:
        simulate(folder, views=8, size=(180, 240), seed=asked.seed)
        plan = captures.real(asked.captures, asked.seed)
    else:
        plan = captures.plan(asked.captures, asked.seed)
    planned, at_random = share(asked.kills, asked.captures, asked.seed)
    wish = Wish(
        plan,
        {
            "kill": at_random,
            "restart": asked.restarts,
            "cut": asked.cuts,
            "burst": asked.bursts,
            "alarm": asked.alarms,
        },
        planned,
        seed=asked.seed,
        each=1 if asked.real else 2,
        patience=asked.patience,
        without=asked.without,
        real=asked.real,
    )
    started = time.monotonic()
    rabbit = RabbitMQ()
    with Ceph() as s3, rabbit:
        result = asyncio.run(run(wish, rabbit, s3.store, folder))
    print(f"seed {asked.seed}, {time.monotonic() - started:.0f} s, workers' log: {folder / 'workers.log'}")
    print("\n".join(lines(result)))
    return 1 if result.findings or result.spared else 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument("--captures", type=int, default=40)
    parser.add_argument("--kills", type=int, default=12)
    parser.add_argument("--restarts", type=int, default=1)
    parser.add_argument("--cuts", type=int, default=3)
    parser.add_argument("--bursts", type=int, default=3)
    parser.add_argument("--alarms", type=int, default=1)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--patience", type=float, default=180, help="seconds in which nothing need end")
    parser.add_argument("--without", choices=SAFEGUARDS, help="take a safeguard from the workers")
    parser.add_argument("--real", action="store_true", help="photos, and the computations of the pipeline")
    parser.add_argument("--keep", help="a new folder for logs and diary")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
