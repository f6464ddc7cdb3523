"""What a run was and what it came to, as lines to print."""

import signal
from collections import Counter
from collections.abc import Iterator

from tests.chaos.checker import endings, orphans
from tests.chaos.run import Result
from tests.chaos.sabotage import BOUNDARIES


def lines(result: Result) -> Iterator[str]:
    record, plan = result.record, result.record.plan
    deeds = Counter(capture.do for capture in plan.captures)
    cancelled = sum(capture.cancelled_after is not None for capture in plan.captures)
    yield row("captures sent", len(plan.captures), ", ".join(f"{n} {do}" for do, n in deeds.most_common()))
    yield row("of them cancelled", cancelled)
    twice = sum(len(capture.ids) - 1 for capture in plan.captures)
    yield row("events sent again", twice, f"and {result.replayed} of the stages' replayed late")
    yield row("poison", len(plan.poison))
    yield from _faults(result)
    yield row("endings", len(endings(record)))
    yield _repeats("events published", [envelope.id for envelope in record.events], "events")
    yield _repeats("deliveries", [e["id"] for e in record.diary if e["what"] == "delivered"], "events")
    yield _repeats("computations", [e["job"] for e in record.diary if e["what"] == "computing"], "jobs")
    resumed = [manifest.metrics.get("resumed", 0) for manifest in record.manifests.values()]
    yield row("went on from a state", sum(steps > 0 for steps in resumed))
    yield row(
        "manifests", len(record.manifests), f"{sum(map(len, _artefacts(result)))} artefacts, all read again"
    )
    yield row(
        "dead letters", len(record.letters), f"{len({letter.id for letter in record.letters})} different"
    )
    left = orphans(record)
    yield row("objects left behind", sum(left.values()), ", ".join(f"{n} in {f}/" for f, n in left.items()))
    yield row("FINDINGS", len(result.findings))
    for finding in result.findings:
        yield f"  {finding.rule}: {finding.about}: {finding.detail}"


def _faults(result: Result) -> Iterator[str]:
    diary = result.record.diary
    boundaries = Counter(entry["boundary"] for entry in diary if entry["what"] == "killed")
    struck = sum(entry["what"] == "struck" for entry in diary)
    died = Counter(entry["status"] for entry in diary if entry["what"] == "died")
    killed = sum(boundaries.values())
    yield row("killed between steps", killed, ", ".join(f"{b} {boundaries[b]}" for b in BOUNDARIES))
    yield row("killed at random", struck)
    yield row("killed by poison", died[-signal.SIGKILL] - killed - struck)
    yield row("ended by themselves", sum(n for status, n in died.items() if status > 0))
    for fault, named in (
        ("restart", "broker killed, restarted"),
        ("cut", "connections to it cut"),
        ("burst", "bursts of S3 faults"),
        ("alarm", "memory alarms"),
    ):
        yield row(named, result.faults[fault])
    for spared, number in result.spared.items():
        yield row(f"SPARED: {spared}", number, "the run ended before")


def _artefacts(result: Result) -> list[tuple[object, ...]]:
    return [manifest.artefacts for manifest in result.record.manifests.values()]


def _repeats(what: str, ids: list[str], of: str) -> str:
    often = Counter(ids)
    twice = sum(times > 1 for times in often.values()) / max(1, len(often))
    return row(what, len(ids), f"of {len(often)} {of}, {twice:.1%} of them more than once")


def row(what: str, number: int, more: str = "") -> str:
    return f"{what:26}{number:7d}  {more}".rstrip()
