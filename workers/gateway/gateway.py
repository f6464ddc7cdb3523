"""What the routes share."""

from dataclasses import dataclass

from broker.interface import Broker
from workers.gateway.access import Access
from workers.gateway.database.session import Database
from workers.gateway.follower import Follower
from workers.gateway.hub import Hub
from workers.gateway.limits import Limiter
from workers.gateway.links.interface import Links
from workers.gateway.removal import Remover
from workers.gateway.settings import GatewaySettings
from workers.gateway.webhooks.sender import Sender
from workers.runtime.storage import ObjectStore


@dataclass(frozen=True)
class Gateway:
    settings: GatewaySettings
    database: Database
    broker: Broker
    store: ObjectStore
    links: Links
    access: Access
    limiter: Limiter
    hub: Hub
    follower: Follower
    sender: Sender
    remover: Remover

    async def fault(self) -> str | None:
        """One sentence while it cannot do its work, else None."""
        if not await self.database.ready():
            return "the database cannot be reached"
        if self.follower.listening < 2:
            return "starting: the workers' events are not followed yet"
        return None

    def lacks(self) -> str | None:
        """One sentence while it cannot do all of its work, else None: without RabbitMQ it still tells what it
        knows, and hands out models."""
        return self.broker.fault()
