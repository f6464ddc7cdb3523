"""A fake of the Kubernetes API, an empty queue, and the file that the Jobs are made from."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import yaml

from broker.embedded import Broker as Embedded
from broker.topology import Topology
from tests.deploy.schedule.site import manifest
from tests.servers import kubernetes
from tests.servers.kubernetes import Api


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "job.yaml"
    path.write_text(yaml.dump_all([manifest(), {"apiVersion": "v1", "kind": "ConfigMap"}]))
    return path


@pytest.fixture
async def api(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Api]:
    async with kubernetes.api() as made:
        # Kubernetes' client reads KUBECONFIG when it is imported.
        where = str(made.kubeconfig(tmp_path))
        monkeypatch.setattr("kubernetes.aio.config.kube_config.KUBE_CONFIG_DEFAULT_LOCATION", where)
        yield made


@pytest.fixture
def waiting() -> Embedded:
    return Embedded(Topology())
