"""What follows from code and settings, as Kubernetes resources: `python deploy/kubernetes/generate.py` writes

    rabbitmq/topology.yaml                    exchanges, queues, bindings, policies and users, for RabbitMQ's
                                              messaging topology operator; what `phototwin topology apply` and
                                              `topology users` do elsewhere
    components/external-secrets/secrets.yaml  a Secret for each role, for the External Secrets Operator

anew; a test fails where they differ from what is written. One resource a line: YAML that diffs well. The
settings (PHOTOTWIN_SHARDS and others that queues follow from) are those that the pods get: of
components/site/settings.env, or of the file named as argument, where a site has another in its stead.
"""

import json
import sys
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parents[1]))

from broker.access import NOTHING, ROLES, grant, user_name  # noqa: E402
from broker.management import PRIORITY  # noqa: E402
from broker.topology import Topology  # noqa: E402
from workers.runtime.s3_policy import ACCESS  # noqa: E402
from workers.runtime.settings import Settings  # noqa: E402

SETTINGS = HERE / "components/site/settings.env"
CLUSTER = "rabbitmq"
HOST = f"{CLUSTER}.phototwin.svc"
SCALER = f"{Topology.prefix}-keda"
USERS = tuple(role for role in ROLES if role != "applier")
"""Whoever applies the topology here is the operator, as the cluster's own administrator."""
PROCESSES = tuple(role for role in ACCESS if role != "publisher")
"""Those that run in the cluster; the publisher is a backend of somebody else's."""
HEADER = (
    "# Made by deploy/kubernetes/generate.py; change the code or the settings it reads, and run it again.\n"
)


class Site(Settings):
    """As that file alone has them, whatever the environment is of whoever runs this."""

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: Any,
        init_settings: Any,
        env_settings: Any,
        dotenv_settings: Any,
        file_secret_settings: Any,
    ) -> tuple[Any, ...]:
        return (dotenv_settings,)


def told(settings: Path) -> Topology:
    """What the pods with these settings work with."""
    if not settings.is_file():
        raise SystemExit(f"there is no file {settings}")
    found = Site(_env_file=settings).topology  # type: ignore[call-arg]
    if found.prefix != Topology.prefix:
        raise SystemExit(f"PHOTOTWIN_PREFIX: scalers, secrets and users here are for {Topology.prefix} alone")
    return found


def topology(site: Topology) -> Iterator[dict[str, Any]]:
    """Queues stay where their resources are deleted: they hold captures."""
    for exchange in site.exchanges():
        yield _resource("Exchange", exchange.name, name=exchange.name, type=exchange.type, durable=True)
    for queue in site.queues():
        arguments = dict(queue.arguments)
        yield _resource(
            "Queue",
            queue.name,
            name=queue.name,
            type=arguments.pop("x-queue-type"),
            durable=True,
            deletionPolicy="retain",
            **({"arguments": arguments} if arguments else {}),
        )
    for binding in site.bindings():
        what = zlib.crc32(f"{binding.exchange} {binding.routing_key}".encode())
        yield _resource(
            "Binding",
            f"{binding.queue}-{what:08x}",
            source=binding.exchange,
            destination=binding.queue,
            destinationType="queue",
            routingKey=binding.routing_key,
        )
    for policy in site.policies():
        yield _resource(
            "Policy",
            policy.name,
            name=policy.name,
            pattern=policy.pattern,
            applyTo="queues",
            priority=PRIORITY,
            definition=dict(policy.definition),
        )
    for role in USERS:
        given, name = grant(site, role), user_name(site, role)
        yield from _user(name, given.tags, given.configure, given.write, given.read)
        for named, keys in given.topics.items():
            yield _resource(
                "TopicPermission",
                f"{name}-{named}",
                vhost="/",
                userReference={"name": name},
                permissions={"exchange": named, "write": keys, "read": NOTHING},
            )
    # Looks at the queues' lengths, by the management API.
    yield from _user(SCALER, ("monitoring",), NOTHING, NOTHING, NOTHING)


def secrets(site: Topology) -> Iterator[dict[str, Any]]:
    """From `phototwin/ROLE` of the site's secret store, with the properties `password` (of RabbitMQ),
    `s3_access_key`, `s3_secret_key` and, of the gateway, `database_url`."""
    for role in dict.fromkeys((*USERS, *PROCESSES)):
        data = {}
        if role in PROCESSES:
            data = {
                "PHOTOTWIN_S3_ACCESS_KEY": "{{ .s3_access_key }}",
                "PHOTOTWIN_S3_SECRET_KEY": "{{ .s3_secret_key }}",
            }
        if role in USERS:
            name = user_name(site, role)
            data["PHOTOTWIN_AMQP_URL"] = f"amqps://{name}:{{{{ .password | urlquery }}}}@{HOST}:5671/"
            data |= {"username": name, "password": "{{ .password }}"}
        if role == "gateway":
            data["PHOTOTWIN_DATABASE_URL"] = "{{ .database_url }}"
        yield _secret(role, data)
    login = {"username": SCALER, "password": "{{ .password }}"}
    yield _secret("keda", login | {"host": f"https://{HOST}:15671/", "tls": "enable"})


def files(settings: Path = SETTINGS) -> Mapping[Path, str]:
    site = told(settings)
    return {
        HERE / "rabbitmq/topology.yaml": _written(topology(site)),
        HERE / "components/external-secrets/secrets.yaml": _written(secrets(site)),
    }


def _user(
    name: str, tags: tuple[str, ...], configure: str, write: str, read: str
) -> Iterator[dict[str, Any]]:
    imported = {"name": name}
    yield _resource("User", name, importCredentialsSecret=imported, **({"tags": list(tags)} if tags else {}))
    permissions = {"configure": configure, "write": write, "read": read}
    yield _resource("Permission", name, vhost="/", userReference={"name": name}, permissions=permissions)


def _resource(kind: str, name: str, /, **spec: Any) -> dict[str, Any]:
    return {
        "apiVersion": "rabbitmq.com/v1beta1",
        "kind": kind,
        "metadata": {"name": name},
        "spec": {**spec, "rabbitmqClusterReference": {"name": CLUSTER}},
    }


def _secret(role: str, data: Mapping[str, str]) -> dict[str, Any]:
    label = {"rabbitmq.com/topology-operator": "true"}  # or the operator may not read it
    template = {"metadata": {"labels": label}, "data": dict(data)}
    return {
        "apiVersion": "external-secrets.io/v1",
        "kind": "ExternalSecret",
        "metadata": {"name": f"{Topology.prefix}-{role}"},
        "spec": {
            "refreshInterval": "1h",
            "secretStoreRef": {"kind": "SecretStore", "name": "phototwin"},
            "target": {"template": template},
            "dataFrom": [{"extract": {"key": f"phototwin/{role}"}}],
        },
    }


def _written(resources: Iterator[dict[str, Any]]) -> str:
    return HEADER + "".join(f"---\n{json.dumps(resource)}\n" for resource in resources)


if __name__ == "__main__":
    for path, text in files(*map(Path, sys.argv[1:2])).items():
        path.write_text(text)
