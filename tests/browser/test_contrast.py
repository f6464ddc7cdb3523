"""The colours of the page, all of them tokens of app.css: whatever is read has AA contrast by WCAG 2.2."""

import re
from pathlib import Path

import pytest

STYLE = (Path(__file__).parents[2] / "workers/gateway/page/app.css").read_text()
TEXT, SHAPE = 4.5, 3.0
ON_EACH_GROUND = ("text", "quiet", "accent", "bad", "warn")
PAIRS = [
    *((ink, ground, TEXT) for ink in ON_EACH_GROUND for ground in ("back", "card", "sunk")),
    *((f"curve{number}", "sunk", SHAPE) for number in range(6)),
    *((ink, "bad-back", TEXT) for ink in ("text", "bad")),
    *((ink, "warn-back", TEXT) for ink in ("text", "warn")),
    ("on-accent", "accent", TEXT),
    ("card", "text", TEXT),  # buttons that are pressed
    *((edge, ground, SHAPE) for edge in ("edge", "focus") for ground in ("back", "card")),
]


def tokens(scheme: str) -> dict[str, str]:
    light, dark = re.findall(r":root \{(.*?)\}", STYLE, re.S)
    chosen = light if scheme == "light" else light + dark
    return dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6});", chosen))


def luminance(colour: str) -> float:
    parts = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    red, green, blue = (
        part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts
    )
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one: str, other: str) -> float:
    dark, light = sorted((luminance(one), luminance(other)))
    return (light + 0.05) / (dark + 0.05)


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize(("ink", "ground", "least"), PAIRS)
def test_contrast(scheme: str, ink: str, ground: str, least: float) -> None:
    colours = tokens(scheme)
    assert contrast(colours[ink], colours[ground]) >= least


def test_the_formula() -> None:
    assert contrast("#000000", "#ffffff") == pytest.approx(21)
    assert contrast("#777777", "#ffffff") == pytest.approx(4.48, abs=0.005)  # WCAG's own example


def test_colours_are_tokens_or_are_on_what_is_drawn_by_us() -> None:
    """Else the checks above would not see them."""
    rules = re.sub(r":root \{.*?\}|/\*.*?\*/", "", STYLE, flags=re.S)
    elsewhere = set(re.findall(r"#[0-9a-f]{3,8}\b(?![^{]*\{)", rules))
    assert elsewhere <= {"#000", "#fff", "#17201b", "#dbdbdb"}  # on photos, and the ground of models
