"""RabbitMQ's management API, as far as we need it: policies, and who may do what."""

import base64
import hashlib
import os
import ssl
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, unquote, urlsplit, urlunsplit

import aiohttp

from broker.topology import Policy
from contracts.errors import BrokerUnavailable

HINT = "enable the rabbitmq_management plugin, or set PHOTOTWIN_MANAGEMENT_URL"
TIMEOUT = aiohttp.ClientTimeout(total=30)
PRIORITY = 10


@dataclass(frozen=True)
class Management:
    """`url` with credentials; `vhost` is what is managed; `ca_file`: whose certificates are believed, those
    the system believes where it is None."""

    url: str
    vhost: str
    ca_file: str | None = None

    @classmethod
    def of(cls, amqp_url: str, url: str | None, ca_file: str | None = None) -> "Management":
        """On the usual port of the broker's host, with the same credentials, unless a URL says otherwise."""
        parts = urlsplit(amqp_url)
        secure = parts.scheme == "amqps"
        credentials = parts.netloc.rpartition("@")[0] or "guest:guest"
        port = 15671 if secure else 15672
        guessed = f"{'https' if secure else 'http'}://{credentials}@{parts.hostname or 'localhost'}:{port}"
        return cls(url or guessed, unquote(parts.path[1:]) or "/", ca_file)

    async def put_policy(self, policy: Policy) -> None:
        body = {
            "pattern": policy.pattern,
            "definition": dict(policy.definition),
            "apply-to": "queues",
            "priority": PRIORITY,
        }
        await self.put(f"policies/{self._of_vhost(policy.name)}", body)

    async def put_user(self, name: str, password: str, tags: Sequence[str]) -> None:
        """Make it, or give it this password, which travels as a salted hash."""
        salt = os.urandom(4)
        hashed = base64.b64encode(salt + hashlib.sha256(salt + password.encode()).digest()).decode()
        body = {
            "password_hash": hashed,
            "hashing_algorithm": "rabbit_password_hashing_sha256",
            "tags": ",".join(tags),
        }
        await self.put(f"users/{quote(name, safe='')}", body)

    async def permit(self, user: str, configure: str, write: str, read: str) -> None:
        """Regular expressions of names of queues and exchanges; in place of what it might before."""
        body = {"configure": configure, "write": write, "read": read}
        await self.put(f"permissions/{self._of_vhost(user)}", body)

    async def permit_topics(self, user: str, exchange: str, write: str, read: str) -> None:
        """Regular expressions of the routing keys that it may publish to a topic exchange, and bind."""
        body = {"exchange": exchange, "write": write, "read": read}
        await self.put(f"topic-permissions/{self._of_vhost(user)}", body)

    def _of_vhost(self, name: str) -> str:
        return f"{quote(self.vhost, safe='')}/{quote(name, safe='')}"

    async def put(self, path: str, body: Mapping[str, Any]) -> None:
        """Raises BrokerUnavailable."""
        parts = urlsplit(self.url)
        user, _, password = parts.netloc.rpartition("@")[0].partition(":")
        bare = urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path.rstrip("/"), "", ""))
        login = aiohttp.encode_basic_auth(unquote(user), unquote(password))
        trusting = ssl.create_default_context(cafile=self.ca_file)
        try:
            async with (
                aiohttp.ClientSession(headers={"Authorization": login}, timeout=TIMEOUT) as session,
                session.put(f"{bare}/api/{path}", json=body, ssl=trusting) as response,
            ):
                if response.status >= 400:
                    said = (await response.text())[:500]
                    raise BrokerUnavailable(f"{bare} refuses {path}: {response.status} {said}")
        except (aiohttp.ClientError, OSError, TimeoutError, ValueError) as error:
            raise BrokerUnavailable(
                f"cannot reach RabbitMQ's management at {bare}: {error}; {HINT}"
            ) from error
