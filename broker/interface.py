"""What a worker may ask of a broker. `rabbitmq.Broker` and `embedded.Broker` keep the same promises:

- `publish` returns once the message is safe in every queue it was routed to; a message nobody is
  bound for raises instead of vanishing;
- a delivery not settled when its consumer ends comes again, to whoever consumes next;
- a message delivered more often than the queue's limit without being settled ends in the queue's
  dead-letter queue;
- `retry`, `give_back`, `forward` and `dead_letter` first put the message safely elsewhere, then ack it here.
"""

from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from typing import Protocol

Headers = Mapping[str, str | int]


AGAIN = "phototwin-again"
"""The header of a message that was given back."""


@dataclass(frozen=True)
class Message:
    """A message as it travels; `id` is the CloudEvents id, the same on every publication."""

    body: bytes
    routing_key: str
    id: str
    headers: Headers = field(default_factory=dict)


class Delivery(Protocol):
    """One message handed to a consumer; settle it with exactly one of the methods.

    All raise DeliveryLost where the connection it came over is gone: the message then comes again by
    itself. Those that put it elsewhere raise BrokerUnavailable or EventReturned where that cannot be
    done now; it is then still to be settled.
    """

    message: Message
    returns: int
    """How often it came back before, as far as the broker counts (crashes included)."""
    again: bool
    """Whether somebody may have worked on it before."""

    async def ack(self) -> None: ...

    async def retry(self, body: bytes, delay: float) -> None:
        """Come again with this body after `delay` seconds, or, behind others, up to the next longer tier."""

    async def give_back(self) -> None:
        """Come again at once, for another worker, with nothing counted against it."""

    async def forward(self, queue: str) -> None:
        """Into another queue, as it is."""

    async def dead_letter(self, worker: str, headers: Headers) -> None:
        """To the worker's dead-letter queue, with headers that say why."""


class Inbox(Protocol):
    """Several queues, of which one message at a time is worked on. Where `listen` is the faster way to learn
    of a message, `take` is the sure one: it asks the broker.

    All raise BrokerUnavailable.
    """

    async def take(self, queue: str) -> Delivery | None:
        """The oldest message of a queue; None where it is empty."""

    async def listen(self) -> None:
        """From now on be sent messages as they come, at most one of each queue that is not settled."""

    async def arrival(self) -> Delivery:
        """The next of those that were sent."""

    async def hush(self) -> None:
        """Be sent no more; what was sent and is in nobody's hands yet is given back."""


class Broker(Protocol):
    async def publish(self, message: Message) -> None:
        """To the events exchange: persistent, confirmed, mandatory.

        Raises EventReturned where no queue is bound for its routing key, BrokerUnavailable where
        the broker cannot be reached or refuses.
        """

    async def publish_progress(self, message: Message) -> None:
        """To the progress exchange: transient, unconfirmed, lost where nobody listens."""

    def consume(
        self, queue: str, prefetch: int
    ) -> AbstractAsyncContextManager[AsyncGenerator[Delivery, None]]:
        """Deliveries of a queue, at most `prefetch` unsettled at a time. Closing the generator stops
        them coming; what was handed out can be settled until the context is left, and comes again
        where it was not."""

    def outcomes(
        self, offset: int | str = "first"
    ) -> AbstractAsyncContextManager[AsyncGenerator[tuple[int, Message], None]]:
        """Every stage and terminal event with its place in the stream, from `offset` on: a number,
        `first`, or `next` (only what is published from now on)."""

    def progress(self) -> AbstractAsyncContextManager[AsyncGenerator[Message, None]]:
        """Progress messages published from now on."""

    def inbox(self, queues: Sequence[str]) -> AbstractAsyncContextManager[Inbox]:
        """What is unsettled when the context ends comes again."""

    async def send(self, queue: str, message: Message) -> None:
        """To one of our queues by its name: persistent, confirmed, mandatory; raises as `publish` does."""

    async def depth(self, queue: str) -> int:
        """How many messages wait in a queue (those being worked on not counted)."""

    async def listeners(self, queue: str) -> int:
        """How many consume from it."""

    def fault(self) -> str | None:
        """One sentence where it cannot be reached at present, else None."""

    async def close(self) -> None: ...
