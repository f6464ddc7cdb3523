"""The pipeline's workers, by stage, in order."""

from typing import Any

from contracts.events import Stage
from workers.package.worker import Package
from workers.prepare.worker import Prepare
from workers.reconstruct.worker import Reconstruct
from workers.runtime.worker import Worker
from workers.segment.worker import Segment

WORKERS: dict[Stage, type[Worker[Any]]] = {
    "prepare": Prepare,
    "segment": Segment,
    "reconstruct": Reconstruct,
    "package": Package,
}
