"""How it looks so far, in the folder of a run in one process."""

import json
from pathlib import Path

import pytest

from contracts.events import Options
from tests.fakes.worker import Obedient
from workers import local
from workers.stages import WORKERS
from workers.upload import CaptureError


@pytest.fixture
def capture(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setitem(WORKERS, "prepare", Obedient)
    folder = tmp_path / "capture"
    folder.mkdir()
    return folder


async def _run(capture: Path, out: Path, do: str) -> dict[str, object]:
    orders = {"do": do, "diary": str(out.parent / "diary"), "seconds": 0.3}
    (capture / "orders.json").write_text(json.dumps(orders))
    local.claim(out)
    return await local.run(capture, out, Options(), lambda _: None, until="prepare")


async def test_previews_lie_beside_the_result_and_go_with_it(capture: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    result = await _run(capture, out, "show")
    assert (out / "previews" / "latest.glb").read_bytes() == b"glTF\0"
    assert (out / "previews" / "latest.png").read_bytes() == b"PNG\0"
    assert result["previews"] == ["previews/latest.glb", "previews/latest.png"]
    assert result == json.loads((out / "result.json").read_text())
    (out / "previews" / "mine.txt").write_text("mine")
    with pytest.raises(CaptureError, match="not ours"):
        local.claim(out)
    assert (out / "previews" / "mine.txt").read_text() == "mine"


async def test_a_run_without_previews_removes_those_of_an_earlier_one(capture: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    await _run(capture, out, "show")
    assert (out / "previews").exists()
    result = await _run(capture, out, "work")
    assert result["previews"] == []
    assert not (out / "previews").exists()


async def test_a_light_that_is_not_ours_is_not_touched(tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / "light.hdr").write_text("mine")
    with pytest.raises(CaptureError, match=r"light.hdr is there already and not ours"):
        local.claim(out)


async def test_a_folder_of_previews_that_is_not_ours_is_not_touched(capture: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    (out / "previews").mkdir(parents=True)
    with pytest.raises(CaptureError, match="previews is there already and not ours"):
        local.claim(out)


async def test_nothing_is_deleted_before_all_is_known_to_be_ours(capture: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    await _run(capture, out, "show")
    (out / "previews" / "mine.txt").write_text("mine")
    before = sorted(path for path in out.rglob("*"))
    with pytest.raises(CaptureError, match=r"previews/mine.txt is there already and not ours"):
        local.claim(out)
    assert sorted(path for path in out.rglob("*")) == before
