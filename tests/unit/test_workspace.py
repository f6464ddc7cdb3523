"""The folders of one job after another."""

from pathlib import Path

from workers.runtime.workspace import Workspace


def test_each_job_finds_them_empty_whatever_the_one_before_has_left(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "kept").write_bytes(b"x")
    workspace = Workspace(str(tmp_path))
    with workspace.folders() as first:
        for folder in first:
            (folder / "file").write_bytes(b"x")
            (folder / "folder").mkdir()
            (folder / "folder" / "file").write_bytes(b"x")
            (folder / "link").symlink_to(outside)
        (first.inputs.parent / "temporary").mkdir()
    with workspace.folders() as second:
        assert second == first
        left = {path for folder in second for path in folder.iterdir()}
        assert left == {second.saved, second.previews}
        assert set(second.inputs.parent.iterdir()) == {second.inputs, second.outputs, second.scratch}
    assert (outside / "kept").exists()
    workspace.close()
    assert list(tmp_path.iterdir()) == [outside]


def test_folders_that_a_job_removed_are_made_anew(tmp_path: Path) -> None:
    workspace = Workspace(str(tmp_path))
    with workspace.folders() as first:
        first.outputs.rmdir()
    with workspace.folders() as second:
        assert all(folder.is_dir() for folder in second)
    workspace.close()
    assert not list(tmp_path.iterdir())
