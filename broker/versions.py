"""What differs between the versions of RabbitMQ that we support: 3.10 and later, 4 included."""

from dataclasses import dataclass
from typing import Self


@dataclass(frozen=True, order=True)
class Version:
    major: int
    minor: int

    @classmethod
    def parse(cls, text: str) -> Self:
        """Of `3.10.8`, say. What cannot be read is taken for the oldest we support, which every other
        version understands."""
        parts = text.split(".")
        try:
            return cls(int(parts[0]), int(parts[1]))
        except (ValueError, IndexError):
            return cls(3, 10)

    @property
    def consumer_timeout_by_policy(self) -> bool:
        """Before that `consumer_timeout` is one setting of the whole broker, half an hour by default."""
        return self >= Version(3, 12)

    @property
    def limits_deliveries_unasked(self) -> bool:
        """Every quorum queue has a delivery limit of 20 where none is named, also one of dead letters."""
        return self >= Version(4, 0)

    @property
    def returning_is_free(self) -> bool:
        """A message that is handed back by `basic.nack` counts as delivered no more often than before."""
        return self >= Version(4, 3)


LATEST = Version(4, 3)
