"""The folders of one job after another."""

import signal
import subprocess
import sys
from pathlib import Path

from workers.runtime.temporary import MARK
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
        root = second.inputs.parent
        assert set(root.iterdir()) == {second.inputs, second.outputs, second.scratch, root / MARK}
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


HOLDS = """
import sys
from workers.runtime.workspace import Workspace
with Workspace(sys.argv[1]).folders() as folders:
    (folders.inputs / "photo.jpg").write_bytes(b"x")
    print(folders.inputs.parent, flush=True)
    sys.stdin.read()
"""


def test_what_a_killed_worker_left_the_next_removes_and_of_one_that_lives_nothing(tmp_path: Path) -> None:
    (tmp_path / "phototwin-view-1").mkdir()  # somebody else's
    workers = [
        subprocess.Popen(
            [sys.executable, "-c", HOLDS, str(tmp_path)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(2)
    ]
    killed, alive = (Path(worker.stdout.readline().strip()) for worker in workers if worker.stdout)
    workers[0].send_signal(signal.SIGKILL)
    workers[0].wait()
    assert (killed / "in" / "photo.jpg").exists()
    Workspace(str(tmp_path)).close()
    assert set(tmp_path.iterdir()) == {alive, tmp_path / "phototwin-view-1"}
    assert (alive / "in" / "photo.jpg").exists()
    workers[1].communicate("")
    assert not alive.exists()
