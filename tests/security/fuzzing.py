"""Many spoilt inputs of one kind, in a process of its own that one of them may kill."""

import multiprocessing
import random
import resource
import time
from collections import Counter
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from pathlib import Path

from tests.security.targets import TARGETS, Untyped, ends

SECONDS = 10.0
PATIENCE = 60.0


@dataclass
class Tally:
    """Of one kind: ends by their code, bugs, the slowest input's seconds, and the memory the process had."""

    codes: Counter[str] = field(default_factory=Counter)
    bugs: list[str] = field(default_factory=list)
    slowest: float = 0.0
    megabytes: float = 0.0
    seconds: float = 0.0


def fuzz(kind: str, inputs: int, seed: int, kept: Path, answers: Connection | None = None) -> Tally:
    """So many spoilt inputs of a kind; those that show a bug are kept in a folder."""
    target, tally, started = TARGETS[kind], Tally(), time.monotonic()
    seeds = target.seeds()
    for number in range(inputs):
        dice = random.Random(f"{seed} {kind} {number}")
        body = dice.choice(target.mutators)(dice.choice(seeds), dice)
        path = kept / f"{kind.replace(' ', '_')}-{number}"
        path.write_bytes(body)  # before it is tried: it may be the last thing we do
        begun = time.monotonic()
        try:
            tally.codes[ends(target, body)] += 1
        except Untyped as error:
            tally.bugs.append(f"{path.name}: {error}")
        took = time.monotonic() - begun
        tally.slowest, tally.seconds = max(tally.slowest, took), time.monotonic() - started
        tally.megabytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        if took > SECONDS:
            tally.bugs.append(f"{path.name}: took {took:.1f} s")
        if not tally.bugs or not tally.bugs[-1].startswith(f"{path.name}:"):
            path.unlink()
        if answers is not None:
            answers.send(tally if number == inputs - 1 else None)
    return tally


def apart(kind: str, inputs: int, seed: int, kept: Path) -> Tally:
    """`fuzz` in a process of its own, which an input may kill."""
    mine, theirs = multiprocessing.Pipe(duplex=False)
    process = multiprocessing.get_context("spawn").Process(
        target=fuzz, args=(kind, inputs, seed, kept, theirs), daemon=True
    )
    process.start()
    theirs.close()
    try:
        while mine.poll(PATIENCE):
            tally: Tally | None = mine.recv()
            if tally is not None:
                return tally
        return Tally(bugs=[f"{kind}: an input took more than {PATIENCE} s; see {kept}"])
    except EOFError:
        process.join()
        return Tally(bugs=[f"{kind}: the process died of {process.exitcode}; see {kept}"])
    finally:
        process.kill()
