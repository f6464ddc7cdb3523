"""The short form, and that it can fail; `make chaos` is the long one."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.chaos.captures import Capture, Plan, plan
from tests.chaos.report import lines
from tests.chaos.run import Result, Wish, run, share
from tests.chaos.sabotage import BOUNDARIES
from tests.servers.ceph import ObjectStore as S3Server
from tests.servers.rabbitmq import RabbitMQ

SEED = 1
CAPTURES, KILLS = 30, 12


@pytest.fixture(scope="module")
def rabbit() -> Iterator[RabbitMQ]:
    """One of our own: it is killed."""
    with RabbitMQ() as server:
        yield server


def capture(number: int, *, do: str = "work", copies: int = 1) -> Capture:
    ids = (f"{do}-{number}",) * copies
    return Capture("default", f"{do}-{number}", do, "prepare", 0.5, "interactive", ids)  # type: ignore[arg-type]


def said(result: Result) -> set[str]:
    return {finding.rule for finding in result.findings}


async def test_nothing_is_lost_while_all_fails(rabbit: RabbitMQ, s3: S3Server, tmp_path: Path) -> None:
    fates, at_random = share(KILLS, CAPTURES, SEED)
    faults = {"kill": at_random, "restart": 1, "cut": 3, "burst": 3, "alarm": 1}
    wish = Wish(plan(CAPTURES, SEED), faults, fates, SEED)  # type: ignore[arg-type]
    result = await run(wish, rabbit, s3, tmp_path)
    print("\n".join(lines(result)))
    assert result.findings == []
    assert result.faults == faults
    killed = {entry["boundary"] for entry in result.record.diary if entry["what"] == "killed"}
    assert killed == set(BOUNDARIES)
    assert any(capture.cancelled_after is not None for capture in wish.plan.captures)
    assert {poison.code for poison in wish.plan.poison} == {
        letter.code for letter in result.record.letters
    } - {
        "compute_failed",
        "worker_died",
    }


async def test_a_dead_letter_outlives_whoever_was_to_put_it_there(
    rabbit: RabbitMQ, s3: S3Server, tmp_path: Path
) -> None:
    broken = Capture("default", "broken", "break", "package", 0.0, "interactive", ("broken",))
    wish = Wish(Plan((broken,)), {}, [("ending recorded", 1)], each=1)
    result = await run(wish, rabbit, s3, tmp_path)
    assert [entry["boundary"] for entry in result.record.diary if entry["what"] == "killed"]
    assert result.findings == []


async def test_without_the_late_acknowledgement_captures_are_lost(
    rabbit: RabbitMQ, s3: S3Server, tmp_path: Path
) -> None:
    captures = tuple(capture(number) for number in range(6))
    wish = Wish(Plan(captures), {}, [("computed", 2)], each=1, patience=15, without="acknowledge-last")
    result = await run(wish, rabbit, s3, tmp_path)
    assert said(result) == {"lost"}
    assert len(result.findings) == 1


async def test_without_the_condition_on_manifests_results_are_overwritten(
    rabbit: RabbitMQ, s3: S3Server, tmp_path: Path
) -> None:
    captures = tuple(capture(number, do="differ", copies=3) for number in range(4))
    wish = Wish(Plan(captures), {}, [], without="manifest-if-absent")
    result = await run(wish, rabbit, s3, tmp_path)
    assert "dangling event" in said(result)


async def test_without_a_record_of_endings_a_capture_ends_twice(
    rabbit: RabbitMQ, s3: S3Server, tmp_path: Path
) -> None:
    captures = tuple(capture(number, do="waver", copies=3) for number in range(6))
    wish = Wish(Plan(captures), {}, [], without="recorded-ending")
    result = await run(wish, rabbit, s3, tmp_path)
    different = {f.detail for f in result.findings if f.rule == "two endings"}
    assert "it ended as model.ready and too_few_images" in different
