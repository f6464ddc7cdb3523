"""TLS to RabbitMQ and the object store: only with whom a trusted authority knows by the name we asked for."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest
from pydantic import SecretStr, ValidationError

from broker import access
from broker.management import Management
from broker.rabbitmq import Broker
from broker.topology import Topology
from contracts.errors import BrokerUnavailable, StorageUnavailable
from tests.servers.ceph import Ceph
from tests.servers.ceph import ObjectStore as S3Server
from tests.servers.certificates import Authority
from tests.servers.rabbitmq import Broker as RabbitServer
from tests.servers.rabbitmq import RabbitMQ, Tls
from workers.runtime import s3 as objects
from workers.runtime.settings import Settings, SettingsError, from_environment

UNTRUSTED, MISNAMED = (
    "CERTIFICATE_VERIFY_FAILED.*issuer",
    "CERTIFICATE_VERIFY_FAILED.*not valid for '127.0.0.1'",
)


@pytest.fixture(scope="module")
def tls(rabbitmq: RabbitServer) -> Iterator[Tls]:
    if rabbitmq.tls is not None:
        yield rabbitmq.tls
        return
    with RabbitMQ() as server:  # the one that the environment names may speak no TLS
        assert server.broker.tls
        yield server.broker.tls


@pytest.fixture(scope="module")
def store(s3: S3Server) -> Iterator[S3Server]:
    if s3.tls_url is not None:
        yield s3
        return
    with Ceph() as server:
        yield server.store


@pytest.fixture(scope="module")
def stranger(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The certificate of an authority that has signed for nobody."""
    return str(Authority(tmp_path_factory.mktemp("stranger")).file)


def _by_address(url: str) -> str:
    """The same server, by a name that its certificate does not have."""
    return url.replace("localhost", "127.0.0.1")


async def _connect(url: str, ca_file: str | None) -> None:
    connected = await Broker.connect(url, Topology(), name="tls", ca_file=ca_file, timeout=60)
    await connected.close()


async def _list(store: S3Server, url: str, ca_file: str | None) -> None:
    settings = Settings(
        s3_endpoint_url=url,
        s3_bucket=store.bucket,
        s3_access_key=store.key,
        s3_secret_key=SecretStr(store.secret),
        ca_file=ca_file,
    )
    async with objects.connect(settings) as found:
        await found.below("nothing/")


async def test_rabbitmq_with_the_right_authority_answers(tls: Tls) -> None:
    await _connect(tls.url, tls.ca_file)


async def test_rabbitmq_of_another_authority_is_not_believed(tls: Tls, stranger: str) -> None:
    for ca_file in (stranger, None):
        with pytest.raises(BrokerUnavailable, match=UNTRUSTED):
            await _connect(tls.url, ca_file)


async def test_rabbitmq_of_another_name_is_not_believed(tls: Tls) -> None:
    with pytest.raises(BrokerUnavailable, match=MISNAMED):
        await _connect(_by_address(tls.url), tls.ca_file)


async def test_no_url_turns_verification_off(tls: Tls, stranger: str) -> None:
    for option in ("no_verify_ssl=1", f"cafile={tls.ca_file}"):
        with pytest.raises(BrokerUnavailable, match=UNTRUSTED):
            await _connect(f"{tls.url}?{option}", stranger)


async def test_without_tls_the_tls_port_is_refused_and_the_other_way_round(
    tls: Tls, rabbitmq: RabbitServer
) -> None:
    with pytest.raises(BrokerUnavailable, match="cannot connect to RabbitMQ as tls"):
        await _connect(tls.url.replace("amqps:", "amqp:"), tls.ca_file)
    with pytest.raises(BrokerUnavailable, match="SSL"):
        await _connect(rabbitmq.url.replace("amqp:", "amqps:"), tls.ca_file)


async def test_the_management_is_verified_too(tls: Tls, stranger: str) -> None:
    def managed(url: str, ca_file: str | None) -> Management:
        return Management.of(tls.url, url, ca_file)

    topology = Topology(prefix="tls")
    await access.apply(managed(tls.management_url, tls.ca_file), topology, "operator", "x")
    for url, ca_file, said in (
        (tls.management_url, stranger, UNTRUSTED),
        (tls.management_url, None, UNTRUSTED),
        (_by_address(tls.management_url), tls.ca_file, MISNAMED),
    ):
        with pytest.raises(BrokerUnavailable, match=said):
            await access.apply(managed(url, ca_file), topology, "operator", "x")


async def test_the_store_with_the_right_authority_answers(store: S3Server) -> None:
    assert store.tls_url
    await _list(store, store.tls_url, store.ca_file)


async def test_the_store_of_another_authority_or_name_is_not_believed(store: S3Server, stranger: str) -> None:
    assert store.tls_url

    async def refused(url: str, ca_file: str | None, said: str) -> None:
        with pytest.raises(StorageUnavailable, match=said):
            await _list(store, url, ca_file)

    await asyncio.gather(  # at once: botocore tries each several times
        refused(store.tls_url, stranger, UNTRUSTED),
        refused(store.tls_url, None, UNTRUSTED),
        refused(_by_address(store.tls_url), store.ca_file, MISNAMED),
    )


async def test_behind_a_proxy_the_store_is_verified_as_well() -> None:
    """aiobotocore makes no context of its own there, and aiohttp then verifies nothing."""
    session = objects._Verifying()
    context = session._setup_proxy_ssl_context("http://proxy:3128")
    assert context.check_hostname
    assert context.verify_mode.name == "CERT_REQUIRED"


def test_settings_that_would_weaken_or_break_it_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(ValidationError, match="no_verify_ssl is refused"):
        Settings(amqp_url=SecretStr("amqps://rabbit/?no_verify_ssl=1"))
    empty = tmp_path / "empty.pem"
    empty.touch()
    for path in (empty, tmp_path / "missing.pem"):
        monkeypatch.setenv("PHOTOTWIN_CA_FILE", str(path))
        with pytest.raises(SettingsError, match=f"PHOTOTWIN_CA_FILE: {path} has no certificates"):
            from_environment()
