"""What a method saves on its way, and what of it can be read again."""

from __future__ import annotations

import hashlib
import io
from pathlib import Path

import numpy as np
import pytest

from tests.unit.scenes import ball, scene
from workers.reconstruct import compute
from workers.reconstruct.checkpoints import Checkpoints
from workers.reconstruct.dataset import Dataset
from workers.reconstruct.methods.model import Report, Scene, Settings, TexturedMesh

ARRAYS = {
    "grid": np.linspace(-1, 1, 60).reshape(3, 4, 5).astype(np.float32),
    "faces": np.arange(6, dtype=np.int32).reshape(2, 3),
    "iteration": np.array(17),
    "empty": np.zeros((0, 3), bool),
}


def _same(found: dict[str, np.ndarray] | None) -> bool:
    assert found is not None
    for name, array in ARRAYS.items():
        assert found[name].dtype == array.dtype
        np.testing.assert_array_equal(found[name], array)
    return set(found) == set(ARRAYS)


def test_arrays_come_back_as_they_were(tmp_path: Path) -> None:
    Checkpoints(tmp_path).save("fields", ARRAYS)
    assert _same(Checkpoints(tmp_path).load("fields"))
    assert Checkpoints(tmp_path).has("fields")
    assert Checkpoints(tmp_path).load("mesh") is None
    assert not Checkpoints(tmp_path).has("mesh")


def test_the_last_that_was_saved_counts_and_nothing_else_is_left(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path)
    checkpoints.save("fields", {"other": np.zeros(3)})
    checkpoints.save("fields", ARRAYS)
    assert _same(checkpoints.load("fields"))
    assert [path.name for path in tmp_path.iterdir()] == ["fields.npz"]


def test_without_a_folder_nothing_is_kept() -> None:
    Checkpoints().save("fields", ARRAYS)
    assert Checkpoints().load("fields") is None
    assert not Checkpoints().has("fields")


def test_a_method_is_given_the_folder_of_its_job(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Enough(Exception):
        pass

    def method(_: Scene, settings: Settings, report: Report) -> TexturedMesh:
        settings.checkpoints.save("fields", ARRAYS)
        raise Enough

    monkeypatch.setattr(compute, "_method", lambda name: method)
    data = Dataset(scene(ball, count=4), np.eye(4))
    monkeypatch.setattr(compute, "read_dataset", lambda folder: data)
    (tmp_path / "checkpoints").mkdir()
    for scratch in (None, tmp_path):
        with pytest.raises(Enough):
            compute.run(tmp_path, tmp_path, {}, lambda *_: None, scratch)
    assert _same(Checkpoints(tmp_path / "checkpoints").load("fields"))


def test_damaged_bytes_are_nothing(tmp_path: Path) -> None:
    """Each byte in turn altered, and the file cut off there."""
    checkpoints = Checkpoints(tmp_path)
    checkpoints.save("fields", ARRAYS)
    path = tmp_path / "fields.npz"
    whole = path.read_bytes()
    for place in range(len(whole)):
        for damaged in (whole[:place], whole[:place] + bytes([whole[place] ^ 0x21]) + whole[place + 1 :]):
            path.write_bytes(damaged)
            assert checkpoints.load("fields") is None, place
    path.write_bytes(whole)
    assert _same(checkpoints.load("fields"))


@pytest.mark.parametrize("kind", ["pickle", "npy", "junk"])
def test_what_is_no_checkpoint_is_nothing(tmp_path: Path, kind: str) -> None:
    """Not even under a digest that is right."""
    content = io.BytesIO()
    if kind == "pickle":
        np.savez(content, evil=np.array([{"a": 1}], dtype=object), allow_pickle=True)
    elif kind == "npy":
        np.save(content, np.arange(3))
    else:
        content.write(b"junk")
    body = content.getvalue()
    (tmp_path / "fields.npz").write_bytes(body + hashlib.sha256(body).digest())
    assert Checkpoints(tmp_path).load("fields") is None


def test_objects_are_not_saved(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="Object"):
        Checkpoints(tmp_path).save("fields", {"evil": np.array([{}], dtype=object)})
    assert Checkpoints(tmp_path).load("fields") is None
