"""A private RabbitMQ for tests: loopback ports, throw-away data, its own Erlang port mapper."""

import os
import secrets
import shutil
import socket
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self
from urllib.parse import urlsplit

from tests.servers.certificates import Authority
from tests.servers.keeper import Keeper, ServerError, free_ports, serves

CONFIGURATION = """
listeners.tcp.default = 127.0.0.1:{amqp}
listeners.ssl.default = 127.0.0.1:{amqps}
ssl_options.certfile = {certificate}
ssl_options.keyfile = {key}
ssl_options.verify = verify_none
ssl_options.fail_if_no_peer_cert = false
management.tcp.ip = 127.0.0.1
management.tcp.port = {management}
management.ssl.ip = 127.0.0.1
management.ssl.port = {management_tls}
management.ssl.certfile = {certificate}
management.ssl.keyfile = {key}
prometheus.tcp.ip = 127.0.0.1
prometheus.tcp.port = {metrics}
log.console = true
log.console.level = warning
log.file = false
vm_memory_high_watermark.absolute = 1GB
disk_free_limit.absolute = 200MB
"""


@dataclass(frozen=True)
class Tls:
    """The same broker by TLS: its certificate is for `localhost`, by the authority in `ca_file`."""

    url: str
    management_url: str
    ca_file: str


@dataclass(frozen=True)
class Broker:
    """Where a RabbitMQ is reached, credentials included."""

    url: str
    management_url: str
    metrics_url: str
    """Of the plugin rabbitmq_prometheus, without a path."""
    tls: Tls | None = None

    @classmethod
    def at(cls, url: str) -> Self:
        """The broker at an AMQP URL, with management and metrics on the usual ports of the same host."""
        parts = urlsplit(url)
        user = f"{parts.username or 'guest'}:{parts.password or 'guest'}"
        return cls(url, f"http://{user}@{parts.hostname}:15672", f"http://{parts.hostname}:15692")


class RabbitMQ:
    """A broker of one's own. It boots in the background once constructed; `wait()` returns when it answers.

    As a context manager: waits on entry, and on exit ends the broker and removes its data.
    `consumer_timeout`: seconds for which a delivery may go unacknowledged; by default half an hour.
    Raises ServerError where RabbitMQ is not installed or does not start.
    """

    def __init__(self, consumer_timeout: float | None = None) -> None:
        self._program = _server_program()
        self._amqp, amqps, self._management, management_tls, metrics, distribution, epmd = free_ports(7)
        self._keeper = Keeper()
        home = self._keeper.directory
        try:
            authority = Authority(home)
            certificate, key = authority.issue("localhost")
        except BaseException:
            self.close()
            raise
        self.broker = Broker(
            f"amqp://guest:guest@127.0.0.1:{self._amqp}/",
            f"http://guest:guest@127.0.0.1:{self._management}",
            f"http://127.0.0.1:{metrics}",
            Tls(
                f"amqps://guest:guest@localhost:{amqps}/",
                f"https://guest:guest@localhost:{management_tls}",
                str(authority.file),
            ),
        )
        (home / "rabbitmq.conf").write_text(
            CONFIGURATION.format(
                amqp=self._amqp,
                amqps=amqps,
                management=self._management,
                management_tls=management_tls,
                metrics=metrics,
                certificate=certificate,
                key=key,
            )
        )
        if consumer_timeout is not None:
            timeout = round(consumer_timeout * 1000)
            (home / "advanced.config").write_text(
                f"[{{rabbit, [{{consumer_timeout, {timeout}}}, {{channel_tick_interval, 1000}}]}}].\n"
            )
        (home / "enabled_plugins").write_text("[rabbitmq_management,rabbitmq_prometheus].\n")
        cookie = home / ".erlang.cookie"
        cookie.write_text(secrets.token_hex(16))
        cookie.chmod(0o400)
        self._env = _environment(home, distribution, epmd)
        self._pid = self._keeper.start(self._program, env=self._env)

    def wait(self) -> None:
        """Return once AMQP and the management interface both answer."""
        self._keeper.wait_until(self._answers, self._program, self._pid)

    def restart(self) -> None:
        """Kill the broker (SIGKILL), start it again on the same ports and data, and wait for it."""
        self._keeper.kill(self._pid)
        self._pid = self._keeper.start(self._program, env=self._env)
        self.wait()

    def alarm(self, *, on: bool) -> None:
        """Have the broker believe that its memory is nearly full: it then takes no messages."""
        control = self._program.with_name("rabbitmqctl")
        limit = ("0.00001",) if on else ("absolute", "1GB")
        pid = self._keeper.start(control, "set_vm_memory_high_watermark", *limit, env=self._env)
        self._keeper.wait_until(lambda: self._keeper.exit_code(pid) is not None, control)

    def close(self) -> None:
        """End the broker and remove its data."""
        self._keeper.close()

    def __enter__(self) -> Self:
        try:
            self.wait()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _answers(self) -> bool:
        return _speaks_amqp(self._amqp) and serves(f"http://127.0.0.1:{self._management}")


def _server_program() -> Path:
    # Debian's command on the PATH is a wrapper that switches to the package's own user and data.
    program = Path("/usr/lib/rabbitmq/bin/rabbitmq-server")
    found = program if program.exists() else shutil.which("rabbitmq-server")
    if found is None:
        raise ServerError(
            "rabbitmq-server is not installed: run scripts/test-servers.sh, "
            "or set PHOTOTWIN_TEST_AMQP_URL to a RabbitMQ that the tests may use."
        )
    return Path(found)


def _environment(home: Path, distribution: int, epmd: int) -> dict[str, str]:
    return {
        "PATH": os.environ["PATH"],
        "HOME": str(home),
        "LANG": "C.UTF-8",
        "RABBITMQ_CONF_ENV_FILE": os.devnull,
        "RABBITMQ_CONFIG_FILE": str(home / "rabbitmq.conf"),
        "RABBITMQ_ADVANCED_CONFIG_FILE": str(home / "advanced.config"),
        "RABBITMQ_ENABLED_PLUGINS_FILE": str(home / "enabled_plugins"),
        "RABBITMQ_MNESIA_BASE": str(home / "data"),
        "RABBITMQ_LOG_BASE": str(home / "log"),
        "RABBITMQ_PID_FILE": str(home / "pid"),
        # "localhost" always resolves; the machine's own name may not.
        "RABBITMQ_NODENAME": f"test{distribution}@localhost",
        "RABBITMQ_DIST_PORT": str(distribution),
        "ERL_EPMD_PORT": str(epmd),
        "ERL_EPMD_ADDRESS": "127.0.0.1",
        # Two schedulers that do not spin: the broker shares the machine with the workers under test.
        "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "+S 2:2 +sbwt none +sbwtdcpu none +sbwtdio none"
        " -kernel inet_dist_use_interface {127,0,0,1}",
    }


def _speaks_amqp(port: int) -> bool:
    with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1) as connection:
        connection.sendall(b"AMQP\x00\x00\x09\x01")
        return connection.recv(1) == b"\x01"  # a method frame: connection.start
    return False
