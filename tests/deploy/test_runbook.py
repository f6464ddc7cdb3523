"""The runbook: each alert has its section, and what it says to type exists."""

import re
import shlex
from pathlib import Path

import pytest
import yaml

from tests.deploy.commands import BESIDE_SETTINGS, SETTINGS, exists

DEPLOY = Path(__file__).parents[2] / "deploy"
TEXT = (DEPLOY / "RUNBOOK.md").read_text()
HEADINGS = re.findall(r"^(#+) (.+)$", TEXT, re.MULTILINE)
BLOCK = re.findall(r"^ {4,}((?:PHOTOTWIN_\w+=\S+ )*phototwin .+)$", TEXT, re.MULTILINE)
INLINE = re.findall(r"`((?:PHOTOTWIN_\w+=\S+ )*phototwin [^`]+)`", TEXT)


def anchor(heading: str) -> str:
    """As GitHub makes it."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


def test_each_alert_has_a_section_and_each_section_its_alert() -> None:
    told = yaml.safe_load((DEPLOY / "prometheus/rules/alerts.yaml").read_text())
    alerts = {rule["alert"]: rule for group in told["groups"] for rule in group["rules"]}
    assert {heading for level, heading in HEADINGS if heading.startswith("Phototwin")} == set(alerts)
    for name, rule in alerts.items():
        page, _, place = rule["annotations"]["runbook_url"].partition("#")
        assert page.endswith("/deploy/RUNBOOK.md")
        assert place == anchor(name)


def test_links_lead_somewhere() -> None:
    anchors = {anchor(heading) for _, heading in HEADINGS}
    for target in re.findall(r"\]\(([^)]+)\)", TEXT):
        if target.startswith("#"):
            assert target[1:] in anchors, target
        else:
            assert (DEPLOY / target).exists(), target


def test_alerts_that_are_spoken_of_exist() -> None:
    assert set(re.findall(r"\bPhototwin\w+", TEXT)) <= {heading for _, heading in HEADINGS}


@pytest.mark.parametrize("line", sorted({*BLOCK, *INLINE}))
def test_commands_exist(line: str) -> None:
    words = shlex.split(line, comments=True)
    exists(words[words.index("phototwin") + 1 :])


def test_commands_were_found() -> None:
    assert len(BLOCK) > 20
    assert len(INLINE) > 5


def test_settings_exist() -> None:
    assert set(re.findall(r"\bPHOTOTWIN_[A-Z0-9_]+", TEXT)) <= SETTINGS | BESIDE_SETTINGS
