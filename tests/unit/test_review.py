"""A person's decisions on masks: their files, what follows from them, and the page they are made on."""

import base64
import hashlib
import io
import json
import re
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from contracts.envelope import Envelope, new_traceparent
from contracts.errors import (
    EventInvalid,
    ReviewLeavesTooFew,
    ReviewMaskInvalid,
    ReviewUnknownImage,
    ReviewUnreadable,
)
from contracts.events import Decision, MasksReviewed, UploadedFile
from contracts.fields import ManifestRef
from contracts.review import PREFIX, DecisionsFile
from tests.captures import Rig, write
from workers import local, masks
from workers.masks import CannotReview
from workers.prepare import compute as prepare
from workers.segment.review import page as page_module
from workers.segment.review.apply import Choice, apply
from workers.segment.review.page import page

DIGEST = hashlib.sha256(b"").hexdigest()
STEMS = [f"photo_{number:02d}" for number in range(8)]
HOSTILE = "</script><script>alert(1)</script><!--"


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of eight images of 512 x 512, with `alpha/`."""
    folder = tmp_path_factory.mktemp("dataset")
    write(folder / "in" / "upload", Rig())
    (folder / "out").mkdir()
    options = prepare.DEFAULTS
    prepare.run(folder / "in", folder / "out", options, lambda *_: None)
    return folder / "out"


@pytest.fixture
def out(dataset: Path, tmp_path: Path) -> Path:
    """A folder as `phototwin run --review` leaves it; there is no mask for the last image."""
    folder = tmp_path / "out"
    (folder / "masks").mkdir(parents=True)
    (folder / "dataset").symlink_to(dataset)
    judged = {stem: {"verdict": "good", "reasons": []} for stem in STEMS}
    judged[STEMS[3]] = {"verdict": "doubtful", "reasons": [f"It is odd: {HOSTILE}"]}
    judged[STEMS[7]] = {"verdict": "bad", "reasons": ["It is all wrong."]}
    for stem in STEMS[:7]:
        (folder / "masks" / f"{stem}.png").write_bytes((dataset / "alpha" / f"{stem}.png").read_bytes())
    files = [f"masks/{stem}.png" for stem in STEMS[:7]]
    segment = {"files": files, "metrics": {"segmenter": "uploaded", "masks": judged}}
    (folder / "result.json").write_text(json.dumps({"stages": {"segment": segment}, "warnings": []}))
    return folder


def painted(size: tuple[int, int] = (512, 512), mode: str = "LA") -> Image.Image:
    """A mask whose left half is the object: in its alpha, as the page saves it, or in its brightness."""
    mask = np.zeros(size[::-1], np.uint8)
    mask[:, : size[0] // 2] = 255
    grey = Image.fromarray(mask)
    return Image.merge("LA", (Image.new("L", size, 255), grey)) if mode == "LA" else grey.convert(mode)


def file_of(picture: Image.Image) -> bytes:
    content = io.BytesIO()
    picture.save(content, "PNG")
    return content.getvalue()


def decisions(**images: Mapping[str, Any]) -> DecisionsFile:
    return DecisionsFile.parse(json.dumps({"images": images}).encode())


def mended(picture: Image.Image) -> dict[str, Any]:
    return {"keep": True, "mask": PREFIX + base64.b64encode(file_of(picture)).decode()}


def read(path: Path) -> NDArray[np.uint8]:
    with Image.open(path) as image:
        return np.asarray(image)


# What crosses a boundary


def reviewed(**changes: Any) -> dict[str, Any]:
    ref = ManifestRef(key="captures/default/c1/masks/j/manifest.json", sha256=DIGEST, content=DIGEST)
    mask = UploadedFile(key="captures/default/c1/upload/review/a.png", bytes=3, sha256=DIGEST)
    event = MasksReviewed(
        capture_id="c1",
        dataset=ref,
        masks=ref,
        decisions={"a": Decision(decision="replace", mask=mask), "b": Decision(decision="discard")},
    )
    envelope = Envelope.wrap(event, id="e1", source="test", traceparent=new_traceparent())
    document: dict[str, Any] = json.loads(envelope.encode())
    document["data"]["decisions"] |= changes
    return document


def test_decisions_survive_their_journey() -> None:
    document = reviewed(c={"decision": "keep", "mood": "sure"})
    envelope = Envelope.parse(json.dumps(document).encode())
    assert json.loads(envelope.encode()) == document
    assert isinstance(envelope.data, MasksReviewed)
    assert [file.bytes for file in envelope.data.replaced] == [3]


def mask_at(key: str, **more: Any) -> dict[str, Any]:
    return {"decision": "replace", "mask": {"key": key, "bytes": 3, **more}}


@pytest.mark.parametrize(
    "broken",
    [
        {"c": {}},
        {"c": {"decision": "maybe"}},
        {"c": {"keep": True}},
        {"c": {"decision": "replace"}},
        {"c": mask_at("captures/default/c1/upload/c.png") | {"decision": "discard"}},
        {"c": mask_at("captures/default/c1/upload/c.png") | {"decision": "keep"}},
        {"c/d": {"decision": "keep"}},
        {"..": {"decision": "keep"}},
        {"": {"decision": "keep"}},
        {"c": mask_at("captures/default/c2/upload/c.png")},
        {"c": mask_at("captures/default/c1/masks/j/c.png")},
        {"c": mask_at("captures/default/c1/upload/../c.png")},
        {"c": mask_at("captures/default/c1/upload/review")},
        {"c": mask_at("captures/default/c1/upload/review/a.png", sha256=64 * "0")},
    ],
)
def test_decisions_that_break_their_contract_are_refused(broken: dict[str, Any]) -> None:
    with pytest.raises(EventInvalid) as caught:
        Envelope.parse(json.dumps(reviewed(**broken)).encode())
    assert caught.value.params["rule"]


@pytest.mark.parametrize(
    "broken",
    [
        b"",
        b"\xff",
        b"[]",
        b"{}",
        b'{"images": []}',
        b'{"images": {"a": {}}}',
        b'{"images": {"a": {"keep": 1}}}',
        b'{"images": {"a/b": {"keep": true}}}',
        b'{"images": {"a": {"keep": true, "mask": "https://example.org/a.png"}}}',
        b'{"images": {"a": {"keep": true, "mask": "data:image/png;base64,?"}}}',
        b'{"images": {"a": {"keep": false, "mask": "data:image/png;base64,AAAA"}}}',
        b'{"images": ' + 100_000 * b'{"a":' + b"}",
    ],
)
def test_a_file_of_decisions_that_breaks_its_contract_is_refused(broken: bytes) -> None:
    with pytest.raises(ReviewUnreadable) as caught:
        DecisionsFile.parse(broken)
    assert caught.value.message
    assert caught.value.sentence


@given(st.binary(max_size=200))
def test_any_bytes_are_read_or_refused(body: bytes) -> None:
    try:
        DecisionsFile.parse(body)
    except ReviewUnreadable:
        return


# What follows from decisions


def test_masks_are_kept_to_the_byte_replaced_and_left_out(out: Path, tmp_path: Path) -> None:
    made = tmp_path / "made"
    made.mkdir()
    (tmp_path / "mask.png").write_bytes(file_of(painted()))
    choices = {
        STEMS[0]: Choice(keep=True),
        STEMS[1]: Choice(keep=False),
        STEMS[2]: Choice(keep=True, mask=tmp_path / "mask.png"),
        STEMS[7]: Choice(keep=True, mask=tmp_path / "mask.png"),  # for which none was proposed
    }
    metrics = apply(out / "dataset", out / "masks", choices, made)
    expected = [STEMS[0], *STEMS[2:]]
    assert sorted(path.stem for path in made.glob("*.png")) == expected
    for stem in (STEMS[0], *STEMS[3:7]):
        assert (made / f"{stem}.png").read_bytes() == (out / "masks" / f"{stem}.png").read_bytes()
    for stem in (STEMS[2], STEMS[7]):
        assert np.array_equal(read(made / f"{stem}.png"), np.asarray(painted(mode="L")))
    with Image.open(made / "outlines.jpg") as sheet:
        assert sheet.width == 256 * len(expected)
    assert metrics["images"] == len(expected)
    assert metrics["review"] == {
        "kept": [STEMS[0], *STEMS[3:7]],
        "replaced": [STEMS[2], STEMS[7]],
        "discarded": [STEMS[1]],
    }


def test_brightness_is_a_mask_too(out: Path) -> None:
    masks.apply_decisions(out, decisions(photo_00=mended(painted(mode="RGB"))))
    assert np.array_equal(read(out / "masks" / "photo_00.png"), np.asarray(painted(mode="L")))


@pytest.mark.parametrize(
    ("decided", "error", "said"),
    [
        ({"holiday": {"keep": False}}, ReviewUnknownImage, "holiday"),
        ({"photo_07": {"keep": True}}, ReviewMaskInvalid, "none was proposed"),
        (
            {"photo_00": mended(painted((511, 512)))},
            ReviewMaskInvalid,
            "511 x 512 pixels, its photo 512",
        ),
        ({"photo_00": mended(painted((20, 20)))}, ReviewMaskInvalid, "20 x 20"),
        ({"photo_00": mended(Image.new("LA", (512, 512), (255, 0)))}, ReviewMaskInvalid, "nothing is marked"),
        ({"photo_00": {"keep": True, "mask": PREFIX + "AAAA"}}, ReviewMaskInvalid, "photo_00: it is not a"),
        ({"photo_00": {"keep": True, "mask": PREFIX + "iVBORw0KGgo="}}, ReviewMaskInvalid, "damaged"),
        ({stem: {"keep": False} for stem in STEMS[:2]}, ReviewLeavesTooFew, "5 of 8 masks are left; 6"),
        ({stem: {"keep": False} for stem in STEMS}, ReviewLeavesTooFew, "0 of 8"),
    ],
)
def test_decisions_that_cannot_be_applied_change_nothing(
    out: Path, decided: dict[str, Any], error: type[Exception], said: str
) -> None:
    before = {path: path.read_bytes() for path in (out / "masks").iterdir()}
    with pytest.raises(error, match=said) as caught:
        masks.apply_decisions(out, decisions(**decided))
    assert "{" not in getattr(caught.value, "sentence")  # noqa: B009 - an error of the tree has one
    assert {path: path.read_bytes() for path in (out / "masks").iterdir()} == before
    assert sorted(path.name for path in out.iterdir()) == ["dataset", "masks", "result.json"]


def test_a_few_images_need_no_more_masks_than_they_are(out: Path) -> None:
    cameras = json.loads((out / "dataset" / "cameras.json").read_text())
    cameras["images"] = cameras["images"][:2]
    alone = out.parent / "two"
    alone.mkdir()
    (alone / "cameras.json").write_text(json.dumps(cameras))
    (alone / "images").symlink_to(out / "dataset" / "images")
    assert apply(alone, out / "masks", {}, alone)["images"] == 2
    with pytest.raises(ReviewLeavesTooFew):
        apply(alone, out / "masks", {STEMS[0]: Choice(keep=False)}, alone)


def test_a_folder_takes_decisions_and_its_record_tells_so(out: Path) -> None:
    masks.write_page(out)
    done = masks.apply_decisions(out, decisions(photo_01={"keep": False}, photo_02=mended(painted())))
    assert done["discarded"] == ["photo_01"]
    assert not (out / "masks" / "photo_01.png").exists()
    segment = json.loads((out / "result.json").read_text())["stages"]["segment"]
    assert segment["metrics"]["segmenter"] == "uploaded"
    assert segment["metrics"]["review"] == done
    lying = sorted(f"masks/{path.name}" for path in (out / "masks").iterdir())
    assert segment["files"] == [*lying, "review.html"]


def test_a_later_run_takes_the_page_away(out: Path) -> None:
    masks.write_page(out)
    (out / "dataset").unlink()
    local.claim(out)
    assert [path.name for path in out.iterdir()] == ["result.json"]


def test_a_page_that_is_not_ours_is_not_touched(out: Path) -> None:
    (out / "review.html").write_text("mine")
    with pytest.raises(CannotReview, match="not ours"):
        masks.write_page(out)
    assert (out / "review.html").read_text() == "mine"


def test_a_folder_without_masks_says_how_to_make_some(tmp_path: Path) -> None:
    with pytest.raises(CannotReview, match="--review"):
        masks.write_page(tmp_path)


# The page


def proposal(html: str) -> dict[str, Any]:
    found = re.search(r'<script type="application/json" id="proposal">(.*?)</script>', html, re.DOTALL)
    assert found is not None
    shown: dict[str, Any] = json.loads(found[1])
    return shown


def picture(url: str) -> Image.Image:
    return Image.open(io.BytesIO(base64.b64decode(url.partition("base64,")[2])))


def test_the_page_shows_what_is_doubtful_first(out: Path) -> None:
    shown = proposal(masks.write_page(out).read_text())
    names = [image["name"] for image in shown["images"]]
    assert names == [STEMS[7], STEMS[3], *STEMS[:3], *STEMS[4:7]]
    assert (shown["width"], shown["height"], shown["needed"]) == (512, 512, 6)
    last, doubtful, first = shown["images"][:3]
    assert last["mask"] is None
    assert doubtful["reasons"] == [f"It is odd: {HOSTILE}"]
    assert np.array_equal(
        np.asarray(picture(first["mask"]).getchannel("A")), read(out / "masks" / f"{STEMS[0]}.png")
    )
    photo = np.asarray(picture(first["photo"]), float)
    assert np.abs(photo - read(out / "dataset" / "images" / f"{STEMS[0]}.png")).mean() < 2


def test_a_mask_that_the_page_gives_back_as_it_was_is_the_same(out: Path) -> None:
    before = read(out / "masks" / "photo_00.png")
    shown = {image["name"]: image for image in proposal(masks.write_page(out).read_text())["images"]}
    masks.apply_decisions(out, decisions(photo_00={"keep": True, "mask": shown["photo_00"]["mask"]}))
    assert np.array_equal(read(out / "masks" / "photo_00.png"), before)


def test_the_page_needs_nothing_else_and_runs_nothing_of_a_stranger(out: Path) -> None:
    html = masks.write_page(out).read_text()
    assert HOSTILE not in html
    assert html.count("</script>") == 2
    assert not re.search(r"/\*[A-Z]+\*/", html)
    assert not re.search(r"\b(src|href)=|@import|url\(|fetch\(|https?:", html)
    assert "default-src 'none'" in html


def test_the_page_does_without_verdicts(out: Path) -> None:
    shown = proposal(page(out / "dataset", out / "masks", {}))
    assert [image["name"] for image in shown["images"]] == STEMS
    assert {image["verdict"] for image in shown["images"]} == {""}


def test_large_photos_are_shrunk_and_masks_are_not(out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(page_module, "_LARGEST", 128)
    first = proposal(page(out / "dataset", out / "masks", {}))["images"][0]
    assert picture(first["photo"]).size == (128, 128)
    assert picture(first["mask"]).size == (512, 512)


def test_the_pages_program_is_one() -> None:
    program = Path(page_module.__file__).with_name("page.js")
    checked = subprocess.run(["node", "--check", str(program)], capture_output=True, text=True)
    assert checked.returncode == 0, checked.stderr
