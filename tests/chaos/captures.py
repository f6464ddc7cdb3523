"""What is sent: captures of all sorts, and messages that nobody can read, by a seed."""

import json
import random
import uuid
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from broker.interface import Message
from contracts.envelope import Envelope, new_traceparent
from contracts.events import LANES, DatasetUploaded, Lane, Stage, UploadedFile

Deed = Literal["work", "differ", "last", "reject", "waver", "break", "kill", "real"]
MODEL = "model.ready"
ENDINGS: dict[Deed, frozenset[str]] = {
    "work": frozenset({MODEL}),
    "differ": frozenset({MODEL}),  # its bytes are others whenever it is computed
    "last": frozenset({MODEL}),  # long enough to be checkpointed
    "reject": frozenset({"too_few_images"}),
    "waver": frozenset({MODEL, "too_few_images"}),  # rejects every other time
    "break": frozenset({"compute_failed"}),
    "kill": frozenset({"worker_died"}),  # its worker, each time
    "real": frozenset({MODEL}),  # photos, for the real pipeline
}
"""What a capture may end with: a model, or an error's code."""
DEAD: dict[Deed, str] = {"break": "compute_failed", "kill": "worker_died"}
"""With which code its event is kept as a dead letter."""
COMMON: dict[Deed, int] = {"work": 60, "differ": 14, "last": 8, "reject": 9, "waver": 8}
"""How often each is drawn; of the others, `plan` has a few in each run."""
TENANTS = ("default", "shop", "museum", "studio")
STAGES: tuple[Stage, ...] = ("prepare", "segment", "reconstruct", "package")


@dataclass(frozen=True)
class Capture:
    """`ids`: of the events that announce it, repeated for an event that is sent twice. `cancelled_after` so
    many seconds, unless it is None."""

    tenant: str
    id: str
    do: Deed
    at: Stage
    seconds: float
    lane: Lane
    ids: tuple[str, ...]
    cancelled_after: float | None = None

    @property
    def name(self) -> str:
        return f"{self.tenant}/{self.id}"

    def orders(self, folder: Path) -> Path:
        """The capture as it is uploaded."""
        made = folder / self.id
        made.mkdir()
        tally = str(folder / f"{self.id}.tally")
        orders = {"do": self.do, "at": self.at, "seconds": self.seconds, "tally": tally, "id": self.id}
        (made / "orders.json").write_text(json.dumps(orders))
        return made


@dataclass(frozen=True)
class Poison:
    """A message that no worker can read; `code` says why."""

    message: Message
    code: str


@dataclass(frozen=True)
class Plan:
    captures: tuple[Capture, ...]
    poison: tuple[Poison, ...] = field(default=())


def plan(count: int, seed: int) -> Plan:
    """So many captures, of which at least one breaks, one kills and one is cancelled, and some poison."""
    dice = random.Random(seed)
    rare: list[Deed] = ["break", "kill"] * max(1, count // 100)
    deeds = rare + dice.choices(list(COMMON), list(COMMON.values()), k=count - len(rare))
    dice.shuffle(deeds)
    captures = [_capture(dice, number, do) for number, do in enumerate(deeds)]
    ordinary = [capture for capture in captures if MODEL in ENDINGS[capture.do]]
    poison = [each for capture in ordinary[:: max(1, len(ordinary) // 3)] for each in _poison(dice, capture)]
    return Plan(tuple(captures), tuple(poison))


def ordinary(id: str) -> Capture:
    """One of which nothing is asked but its model."""
    return Capture("default", id, "work", "prepare", 0.05, "interactive", (f"{id}-a",))


def _capture(dice: random.Random, number: int, do: Deed) -> Capture:
    id = f"{do}-{number:04d}"
    ids: tuple[str, ...] = (f"{id}-a",)
    if do not in DEAD:  # of those each event becomes a dead letter of its own
        ids += dice.choices([(), (f"{id}-a",), (f"{id}-b",), (f"{id}-a", f"{id}-b")], (5, 2, 2, 1))[0]
    if do == "waver":
        ids = (f"{id}-a", f"{id}-b", f"{id}-a")
    unwanted = do in ("work", "last") and dice.random() < 0.08
    return Capture(
        tenant=dice.choice(TENANTS),
        id=id,
        do=do,
        at=dice.choice(STAGES),
        seconds=dice.choice((0.0, 0.01, 0.05, 0.3)),
        lane=dice.choices(LANES, (3, 1))[0],
        ids=ids,
        cancelled_after=dice.uniform(0, 3) if unwanted else None,
    )


def _poison(dice: random.Random, capture: Capture) -> list[Poison]:
    """One of each kind. Those whose sender can be made out are in the name of an ordinary capture, which must
    not suffer from it."""
    file = UploadedFile(key=f"captures/{capture.name}/upload/a.jpg", bytes=1)
    event = DatasetUploaded(tenant=capture.tenant, capture_id=capture.id, files=(file,))
    envelope = Envelope.wrap(event, id="?", source="chaos", traceparent=new_traceparent())
    body = json.loads(envelope.encode())
    unknown = body | {"type": "phototwin.dataset.imagined.v1"}
    invalid = body | {"data": body["data"] | {"files": []}}
    return [
        _message(dice, json.dumps(unknown).encode(), "event_unknown"),
        _message(dice, json.dumps(invalid).encode(), "event_invalid"),
        _message(dice, dice.randbytes(200), "event_undecodable"),
    ]


def _message(dice: random.Random, body: bytes, code: str) -> Poison:
    id = str(uuid.UUID(int=dice.getrandbits(128)))
    return Poison(Message(body.replace(b'"?"', json.dumps(id).encode()), "dataset.uploaded", id), code)


def expected_dead(plan: Plan) -> dict[str, str]:
    """Event id -> code of the dead letters that are due; those of captures by their ids, since the event that
    they break or kill at is the pipeline's own."""
    letters = {poison.message.id: poison.code for poison in plan.poison}
    return letters | {c.name: DEAD[c.do] for c in plan.captures if c.do in DEAD}


def real(count: int, seed: int) -> Plan:
    """So many captures of photos, some sent twice."""
    dice = random.Random(seed)
    found = []
    for number in range(count):
        id = f"real-{number:04d}"
        ids = (f"{id}-a",) * dice.choice((1, 2))
        found.append(Capture(dice.choice(TENANTS), id, "real", "prepare", 0.0, dice.choice(LANES), ids))
    return Plan(tuple(found))
