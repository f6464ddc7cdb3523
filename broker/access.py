"""Who may do what on RabbitMQ: one user for each role, with no more than it needs. As data; `apply` sets it.

RabbitMQ asks three things of a user, for names of queues and exchanges: may it `configure` (declare, delete),
`write` (publish, bind a queue) and `read` (consume, purge, bind to an exchange); and, of a topic exchange,
for which routing keys. Declaring passively asks for nothing. Nobody is given the default exchange, which
leads to any queue. Whoever may take from a queue may purge it too: RabbitMQ makes no difference.

    role       publishes                                        takes
    a worker   its events, how captures ended, progress; into   its own queues, cancellations
               its own queues: at once, later, as dead letters
    publisher  what a mobile backend says                       outcomes, progress (by a queue of its own)
    gateway    what a publisher does, and the input of any     as a publisher
               stage, to have that done again
    operator   dead letters back to where they came from        dead letters, lost ones
    applier    nothing; it declares all (`topology apply`)      nothing, by what it is for

Before 4.0 RabbitMQ checks a message's routing key and not its CC and BCC headers: there, who writes a client
of their own with a worker's password can still put messages into queues that are not that worker's.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from broker.management import Management
from broker.topology import CANCELLATIONS, CONSUMES, Topology
from contracts.events import LANES

ROLES = (*CONSUMES, "publisher", "gateway", "operator", "applier")
NOTHING = "(?!)"
"""Matches no name; `^$` would match an empty routing key."""

SENT = ("dataset.uploaded", "masks.reviewed", "capture.cancelled")
"""What a mobile backend says."""
PUBLISHES: Mapping[str, tuple[str, ...]] = {
    "prepare": ("poses.ready",),
    "segment": ("masks.proposed", "masks.ready"),
    "reconstruct": ("mesh.ready",),
    "package": (),
    "publisher": SENT,
    "gateway": (*SENT, "poses.ready", "masks.ready", "mesh.ready"),
    "operator": ("capture.cancelled",),
}
"""Role -> the events that it publishes, beside those of `ANNOUNCES`."""
ANNOUNCES = ("capture.failed", "model.ready")
"""How a capture ended. Whoever would say it another time says what is recorded, be it another worker's."""
LANE = rf"(\.({'|'.join(LANES)})\.\d+)?"


@dataclass(frozen=True)
class Grant:
    """Regular expressions of the names of queues and exchanges; `topics`: topic exchange -> those of the
    routing keys that may be published to it. No routing key of a topic exchange may be bound, but by whoever
    `binds`. `tags`: what of the management it may use."""

    role: str
    configure: str = NOTHING
    write: str = NOTHING
    read: str = NOTHING
    topics: Mapping[str, str] = field(default_factory=dict)
    binds: bool = False
    tags: tuple[str, ...] = ()


def user_name(topology: Topology, role: str) -> str:
    return f"{topology.prefix}-{role}"


def grant(topology: Topology, role: str) -> Grant:
    """Of one of `ROLES`."""
    if role in ("publisher", "gateway"):
        return _publisher(topology, role)
    if role == "operator":
        return _operator(topology)
    if role == "applier":
        everything = rf"^{re.escape(topology.prefix)}\."
        topics = dict.fromkeys(_topic_exchanges(topology), NOTHING)
        return Grant(role, everything, everything, everything, topics, binds=True, tags=("policymaker",))
    return _worker(topology, role)


async def apply(management: Management, topology: Topology, role: str, password: str) -> None:
    """Make the role's user, or mend what it may do and its password. Raises BrokerUnavailable."""
    given, name = grant(topology, role), user_name(topology, role)
    await management.put_user(name, password, given.tags)
    # Whoever has no permission for topics may use them all: so these first.
    for exchange, keys in given.topics.items():
        await management.permit_topics(name, exchange, keys, ".*" if given.binds else NOTHING)
    await management.permit(name, given.configure, given.write, given.read)


def _worker(topology: Topology, role: str) -> Grant:
    mine = re.escape(topology.arrivals(role))
    cancellations = re.escape(topology.cancellations)
    dead = (re.escape(topology.dead_letter_queue(worker)) for worker in (role, CANCELLATIONS))
    topics = {
        topology.events: _events(PUBLISHES[role] + ANNOUNCES),
        topology.work: _any(mine + LANE, cancellations),
        topology.dead: _any(*dead),
        **{topology.retry(delay): _any(mine + LANE) for delay in topology.retry_delays},
    }
    return Grant(
        role,
        write=_any(*map(re.escape, (*topics, topology.progress))),
        read=_any(mine + LANE, re.escape(topology.lost_letter_queue(role)), cancellations),
        topics=topics,
    )


def _publisher(topology: Topology, role: str) -> Grant:
    own = r"amq(\.gen-.*|_[0-9a-f]+)"  # as RabbitMQ and aio-pika name what is declared without a name
    return Grant(
        role,
        configure=_any(own),
        write=_any(re.escape(topology.events), own),
        read=_any(re.escape(topology.outcomes), re.escape(topology.progress), own),
        topics={topology.events: _events(PUBLISHES[role])},
    )


def _operator(topology: Topology) -> Grant:
    kept = (*CONSUMES, CANCELLATIONS)
    letters = [re.escape(topology.dead_letter_queue(worker)) for worker in kept]
    lost = [re.escape(topology.lost_letter_queue(worker)) for worker in kept]
    live = [re.escape(topology.arrivals(worker)) + LANE for worker in CONSUMES]
    topics = {
        topology.events: _events(PUBLISHES["operator"] + ANNOUNCES),
        topology.work: _any(*live, re.escape(topology.cancellations)),
        topology.dead: _any(*letters),
    }
    return Grant("operator", write=_any(*map(re.escape, topics)), read=_any(*letters, *lost), topics=topics)


def _events(keys: tuple[str, ...]) -> str:
    """Those that a worker consumes go into its lanes; the publisher's, which it sends plainly, need not."""
    return _any(*(re.escape(key) + LANE for key in keys))


def _topic_exchanges(topology: Topology) -> list[str]:
    return [exchange.name for exchange in topology.exchanges() if exchange.type == "topic"]


def _any(*patterns: str) -> str:
    return f"^({'|'.join(patterns)})$"
