"""What goes on right now, in this replica's memory: who listens to which capture, and what was last heard of
its progress. All that matters later is in the database."""

import asyncio
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime

from contracts.events import Event, JobProgress, Stage

Key = tuple[str, str]
"""Tenant and capture id."""
_KEPT = 32
"""Progress messages that a slow listener may be behind; older ones are dropped: they are out of date."""
_CAPTURES = 2000
_CURVE = 400
"""Points of a loss curve; where there would be more, every other one goes."""


@dataclass(frozen=True)
class Heard:
    """The latest of a stage; when the stage was first heard of, and when last."""

    progress: JobProgress
    first: datetime
    last: datetime


@dataclass
class Progress:
    """Of a capture's present generation."""

    generation: int
    stages: dict[Stage, Heard] = field(default_factory=dict)
    curve: list[tuple[float, dict[str, float]]] = field(default_factory=list)
    preview: str | None = None
    preview_image: str | None = None
    previews: int = 0


class Listener:
    """`news` is set when there may be any, and `moved` too where it is in the journal; whoever sees them
    clears them first, and looks then."""

    def __init__(self) -> None:
        self.news = asyncio.Event()
        self.moved = True
        self.progress: deque[bytes] = deque(maxlen=_KEPT)


class Hub:
    def __init__(self) -> None:
        self.closed = False
        self._progress: dict[Key, Progress] = {}
        self._listeners: dict[Key, set[Listener]] = {}

    @property
    def listeners(self) -> int:
        return sum(map(len, self._listeners.values()))

    def listened_to(self) -> list[Key]:
        return list(self._listeners)

    def listeners_of(self, tenant: str) -> int:
        return sum(len(listening) for key, listening in self._listeners.items() if key[0] == tenant)

    @contextmanager
    def listen(self, key: Key) -> Iterator[Listener]:
        listener = Listener()
        self._listeners.setdefault(key, set()).add(listener)
        try:
            yield listener
        finally:
            self._listeners[key].discard(listener)
            if not self._listeners[key]:
                del self._listeners[key]

    def moved(self, key: Key) -> None:
        """There is something new in the capture's journal."""
        for listener in self._listeners.get(key, ()):
            listener.moved = True
            listener.news.set()

    def heard(self, progress: JobProgress, body: bytes) -> None:
        """body: the envelope, as it came."""
        key = key_of(progress)
        known = self._progress.get(key)
        if known is None or progress.generation > known.generation:
            known = self._progress[key] = Progress(progress.generation)
            if len(self._progress) > _CAPTURES:  # some was late, and its capture had ended
                del self._progress[next(iter(self._progress))]
        elif progress.generation < known.generation:
            return
        now, before = datetime.now(UTC), known.stages.get(progress.stage)
        known.stages[progress.stage] = Heard(progress, before.first if before else now, now)
        if progress.losses:
            known.curve.append((progress.fraction, progress.losses))
            if len(known.curve) > _CURVE:
                del known.curve[1:-1:2]
        if progress.preview or progress.preview_image:
            known.preview = progress.preview or known.preview
            known.preview_image = progress.preview_image or known.preview_image
            known.previews += 1
        for listener in self._listeners.get(key, ()):
            listener.progress.append(body)
            listener.news.set()

    def progress(self, key: Key, generation: int) -> Progress | None:
        known = self._progress.get(key)
        return known if known is not None and known.generation == generation else None

    def forget(self, key: Key) -> None:
        """The capture has ended: no more progress is to come."""
        self._progress.pop(key, None)

    def close(self) -> None:
        """Whoever listens is to go: another replica has the same."""
        self.closed = True
        for listeners in self._listeners.values():
            for listener in listeners:
                listener.news.set()


def key_of(event: Event) -> Key:
    return event.tenant, event.capture_id
