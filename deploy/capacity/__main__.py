"""`python -m deploy.capacity`: simulate the scenarios, and put table and plots into deploy/CAPACITY.md."""

import dataclasses
import re
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt

from deploy.capacity.plan import ASSUMED, SCENARIOS, Told, measured, run, table

PAGE = Path(__file__).parents[1] / "CAPACITY.md"
PLOT = Path(__file__).with_name("scaling.png")


def main() -> None:
    found = measured()
    told = [run(scenario, found) for scenario in SCENARIOS]
    page = PAGE.read_text()
    page = filled(page, "scenarios", table(told))
    page = filled(page, "measured", _measured(found))
    page = filled(page, "assumed", _assumed())
    PAGE.write_text(page)
    _plot(told, PLOT)
    print(table(told))


def filled(page: str, name: str, text: str) -> str:
    """The page with the part of that name replaced."""
    begin, end = f"<!-- {name} -->\n", f"\n<!-- end of {name} -->"
    found = re.compile(f"{re.escape(begin)}.*?{re.escape(end)}", re.DOTALL)
    if not found.search(page):
        raise ValueError(f"the page has no part {name}")
    return found.sub(lambda _: f"{begin}{text}{end}", page)


def _measured(found: dict[str, object]) -> str:
    stages = found["stages"]
    assert isinstance(stages, dict)
    lines = ["| stage | seconds of a job, mean | jobs |", "| --- | --- | --- |"]
    lines += [
        f"| {name} | {told['seconds'] / told['jobs']:.1f} | {told['jobs']:.0f} |"
        for name, told in stages.items()
    ]
    up, through, model = (float(str(found[name])) / 1e6 for name in ("upload_bytes", "bytes", "model_bytes"))
    told = (
        f"Of a capture: {float(str(found['messages'])):.0f} messages, {up:.1f} MB uploaded, {through:.0f} MB "
        f"through the store, {model:.1f} MB of model."
    )
    return "\n".join([*lines, "", told])


def _assumed() -> str:
    lines = ["| assumed | value |", "| --- | --- |"]
    lines += [
        f"| `{field.name}` | {getattr(ASSUMED, field.name):g} |" for field in dataclasses.fields(ASSUMED)
    ]
    return "\n".join(lines)


def _plot(told: list[Told], path: Path) -> None:
    """How each scenario's reconstruct follows its load, and the latencies that come of it."""
    figure, rows = plt.subplots(2, len(told), figsize=(4 * len(told), 6), layout="constrained")
    for one, (above, below) in zip(told, rows.T, strict=True):
        looks = one.outcome.usage["reconstruct"].looks
        hours = [at / 3600 for at, _, _ in looks]
        above.plot(hours, [replicas for _, _, replicas in looks], label="replicas")
        above.plot(hours, [waiting for _, waiting, _ in looks], label="waiting")
        above.set(title=one.scenario.name)
        above.set(xlabel="hours", ylabel="reconstruct", xlim=(0, min(4, hours[-1])), ylim=(0, None))
        above.legend(frameon=False)
        below.hist(one.latencies, bins=60)
        below.set(xlabel="seconds from upload to model on the phone", ylabel="captures", xlim=(0, None))
    figure.savefig(path, dpi=80)
    plt.close(figure)


if __name__ == "__main__":
    main()
