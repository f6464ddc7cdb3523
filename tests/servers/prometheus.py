"""A private Prometheus for tests: a loopback port, its data gone with it."""

import json
import shutil
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlencode

from tests.servers.keeper import Keeper, ServerError, free_ports, serves

CONFIGURATION: dict[str, Any] = {"global": {"scrape_interval": "1s", "evaluation_interval": "1s"}}


class QueryRefused(ValueError):
    """Prometheus cannot make sense of an expression."""


class Prometheus:
    """Ready once constructed; `jobs` are its scrape configurations. As a context manager it ends on exit.
    Raises ServerError where Prometheus is not installed or does not start."""

    def __init__(self, jobs: Sequence[Mapping[str, Any]], rules: Path) -> None:
        if not (program := shutil.which("prometheus")):
            raise ServerError("prometheus is not installed: run scripts/test-servers.sh")
        (port,) = free_ports(1)
        self.url = f"http://127.0.0.1:{port}"
        self._keeper = Keeper()
        home = self._keeper.directory
        asked = CONFIGURATION | {"rule_files": [f"{rules}/*.yaml"], "scrape_configs": list(jobs)}
        (home / "prometheus.yml").write_text(json.dumps(asked))  # JSON is YAML
        try:
            pid = self._keeper.start(
                program,
                f"--config.file={home}/prometheus.yml",
                f"--storage.tsdb.path={home}/data",
                f"--web.listen-address=127.0.0.1:{port}",
            )
            self._keeper.wait_until(lambda: serves(f"{self.url}/-/ready"), program, pid)
        except BaseException:
            self.close()
            raise

    def query(self, expression: str) -> list[dict[str, Any]]:
        """The series it has now. Raises QueryRefused."""
        return list(self._ask("query", query=expression)["result"])

    def rules(self) -> list[dict[str, Any]]:
        """All rules, with their health."""
        return [rule for group in self._ask("rules")["groups"] for rule in group["rules"]]

    def targets(self) -> list[dict[str, Any]]:
        return list(self._ask("targets")["activeTargets"])

    def close(self) -> None:
        """End it and remove its data."""
        self._keeper.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _ask(self, what: str, **asked: str) -> Any:
        try:
            with urllib.request.urlopen(
                f"{self.url}/api/v1/{what}?{urlencode(asked)}", timeout=60
            ) as response:
                return json.load(response)["data"]
        except urllib.error.HTTPError as error:
            said = error.read().decode()
            with suppress(ValueError):
                said = json.loads(said)["error"]
            raise QueryRefused(f"{asked}: {said}") from None
