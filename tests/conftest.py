"""The servers that tests ask for: real ones, private to the run unless the environment names others.

`PHOTOTWIN_TEST_AMQP_URL`, `PHOTOTWIN_TEST_POSTGRES_URL`, and `PHOTOTWIN_TEST_S3_URL` with
`PHOTOTWIN_TEST_S3_KEY` and `PHOTOTWIN_TEST_S3_SECRET`, point the tests at existing servers. Where a server
cannot be had, the tests that need it fail; they never skip.
"""

import os
import uuid
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import hypothesis
import pytest

from tests.servers.ceph import Ceph, ObjectStore
from tests.servers.keeper import ServerError
from tests.servers.postgres import Databases, PostgreSQL
from tests.servers.rabbitmq import Broker, RabbitMQ

AMQP_URL = "PHOTOTWIN_TEST_AMQP_URL"
POSTGRES_URL = "PHOTOTWIN_TEST_POSTGRES_URL"
S3_URL, S3_KEY, S3_SECRET = "PHOTOTWIN_TEST_S3_URL", "PHOTOTWIN_TEST_S3_KEY", "PHOTOTWIN_TEST_S3_SECRET"

# How long an example takes is the machine's affair: on a busy one a deadline fails what is right.
hypothesis.settings.register_profile(
    "phototwin", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow]
)
hypothesis.settings.load_profile("phototwin")

PRIVATE_RABBITMQ = pytest.StashKey[RabbitMQ]()


def pytest_collection_finish(session: pytest.Session) -> None:
    """Let RabbitMQ boot, which takes seconds, while the tests that do not need it run."""
    needed = any("rabbitmq" in getattr(item, "fixturenames", ()) for item in session.items)
    if needed and not session.config.option.collectonly and AMQP_URL not in os.environ:
        with suppress(ServerError):  # the fixture meets it again, and fails its tests with the reason
            _private_rabbitmq(session.config)


@pytest.fixture(scope="session")
def rabbitmq(pytestconfig: pytest.Config) -> Broker:
    """A RabbitMQ shared by the whole run; name queues uniquely, and crash only brokers of your own."""
    if url := os.environ.get(AMQP_URL):
        return Broker.at(url)
    try:
        server = _private_rabbitmq(pytestconfig)
        server.wait()
    except ServerError as error:
        raise pytest.fail.Exception(str(error), pytrace=False) from None
    return server.broker


@pytest.fixture(scope="session")
def s3() -> Iterator[ObjectStore]:
    """An S3 shared by the whole run, with a bucket of its own; name objects uniquely."""
    if url := os.environ.get(S3_URL):
        store = ObjectStore(url, _required(S3_KEY), _required(S3_SECRET), f"phototwin-test-{uuid.uuid4()}")
        store.create_bucket()
        yield store
        store.remove_bucket()
        return
    try:
        server = Ceph()
    except ServerError as error:
        raise pytest.fail.Exception(str(error), pytrace=False) from None
    with server:
        yield server.store


@pytest.fixture(scope="session")
def postgres() -> Iterator[Databases]:
    """A PostgreSQL shared by the whole run; `database()` is the URL of a new and empty database there."""
    if url := os.environ.get(POSTGRES_URL):
        existing = Databases(url)
        yield existing
        existing.remove()
        return
    try:
        server = PostgreSQL()
    except ServerError as error:
        raise pytest.fail.Exception(str(error), pytrace=False) from None
    with server:
        yield server.databases


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Of an empty database for the gateway; a test that asks for it runs on both kinds."""
    if request.param == "sqlite":
        return f"sqlite+aiosqlite:///{tmp_path}/gateway.db"
    databases: Databases = request.getfixturevalue("postgres")
    return databases.database()


def _private_rabbitmq(config: pytest.Config) -> RabbitMQ:
    if PRIVATE_RABBITMQ not in config.stash:
        config.stash[PRIVATE_RABBITMQ] = RabbitMQ()
        config.add_cleanup(config.stash[PRIVATE_RABBITMQ].close)
    return config.stash[PRIVATE_RABBITMQ]


def _required(name: str) -> str:
    if value := os.environ.get(name):
        return value
    pytest.fail(f"{S3_URL} is set, so {name} must be set too.", pytrace=False)


@pytest.fixture(scope="module")
def one_torch_thread() -> Iterator[None]:
    """Several that wait for cores which other tests use take many times as long."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
