"""`phototwin train single-view`, and what judges its networks."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import pytest
import trimesh
from typer.testing import CliRunner

from workers.cli import app
from workers.geometry.distance import signed_distance
from workers.reconstruct.methods.single_view.network import Design, Network
from workers.reconstruct.methods.single_view.weights import read_network
from workers.training import evaluation
from workers.training.evaluation import compared, means, parts, rivals
from workers.training.examples import Example, Examples
from workers.training.optimisation import Plan
from workers.training.shapes import Kept, generated

pytestmark = pytest.mark.usefixtures("one_torch_thread")


@pytest.fixture(scope="module")
def meshes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("meshes")
    rng = np.random.default_rng(0)
    for i in range(20):
        trimesh.creation.box(rng.uniform(0.4, 1, 3)).export(folder / f"{i:02d}.ply")
    (folder / "damaged.ply").write_text("")
    return folder


def train(meshes: Path, out: Path, *more: str) -> tuple[int, str]:
    asked = ["train", "single-view", "--out", str(out), "--data", str(meshes), "--width", "0.1"]
    kept = ["--cache", str(meshes / ".kept")]
    ran = CliRunner().invoke(app, [*asked, *kept, "--points", "160", "--batch", "6", *more])
    return ran.exit_code, ran.output


def test_a_training_leaves_a_network_and_how_it_went(meshes: Path, tmp_path: Path) -> None:
    status, said = train(meshes, tmp_path, "--epochs", "1")
    assert status == 0, said
    assert "epoch 1/1: loss" in said
    left_out = meshes / ".kept" / "left-out.txt"
    assert f"\nphototwin: 1 of 21 shapes are left out; {left_out} says why\n" in said
    network = read_network(tmp_path / "weights.safetensors")
    assert network.design == Design(0.1)
    history = json.loads((tmp_path / "history.json").read_text())
    assert len(history["losses"]) == len(history["held_out"]) == 1
    assert history["plan"]["near"] + history["plan"]["even"] == 160
    assert (tmp_path / "progress.png").stat().st_size > 5000
    status, said = train(meshes, tmp_path, "--epochs", "1")  # once more: there is nothing left to do
    assert status == 0
    assert "epoch" not in said
    status, said = train(meshes, tmp_path, "--epochs", "2")
    assert status == 1
    assert "(epochs 2, was 1)" in said


@pytest.mark.parametrize(
    ("asked", "told"),
    [
        (["--labels", "soft"], "choose adaptive, fixed or binary"),
        (["--even", "160"], "--even must be less"),
        (["--width", "7"], "less than or equal to 1"),
        (["--seed", "4294967296"], "4294967295"),
        (["--shapes", "999"], "--shapes is of generated parts"),
    ],
)
def test_what_cannot_be_trained_is_told(meshes: Path, tmp_path: Path, asked: list[str], told: str) -> None:
    status, said = train(meshes, tmp_path, *asked)
    assert status != 0
    assert told in said


def test_a_folder_without_shapes_is_told(tmp_path: Path) -> None:
    status, said = train(tmp_path, tmp_path / "out")
    assert status == 1
    assert "phototwin:" in said


def test_a_file_that_is_no_network_is_told(tmp_path: Path) -> None:
    (tmp_path / "w.safetensors").write_bytes(b"no")
    ran = CliRunner().invoke(app, ["evaluate-single-view", str(tmp_path / "w.safetensors")])
    assert ran.exit_code == 1
    assert "no network of method single-view" in ran.output


def test_folders_that_are_files_are_told(meshes: Path, tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("")
    for status, said in (
        train(meshes, file),
        train(meshes, file / "deep"),
        train(meshes, tmp_path / "out", "--cache", str(file)),
        evaluate("--cache", str(file)),
    ):
        assert status == 1
        assert f"phototwin: {file}" in said
        assert "cannot be a folder" in said
        assert "name another by --" in said


def evaluate(*asked: str) -> tuple[int, str]:
    ran = CliRunner().invoke(app, ["evaluate-single-view", *asked])
    return ran.exit_code, ran.output


def test_kept_parts_that_are_damaged_are_told(tmp_path: Path) -> None:
    paths = [tmp_path / f"parts-{start}-64-4-8192-2048.npz" for start in range(0, 256, 64)]
    for path in paths:
        path.touch()
    status, said = evaluate("--cache", str(tmp_path))
    assert status == 1
    assert f"phototwin: {paths[0]} is damaged; remove it to have it made anew" in said


def test_how_far_the_judging_is_goes_beside_the_result(monkeypatch: pytest.MonkeyPatch) -> None:
    kept = Kept(pictures=1, near=200, even=800)
    few = Examples([generated(seed, kept) for seed in range(4)])
    monkeypatch.setattr("workers.training.shapes.generate", lambda folder, seeds, kept, tell: tell(1) or few)
    monkeypatch.setattr(evaluation, "compared", lambda rival, task: dict.fromkeys(evaluation.FIGURES, 0.5))
    ran = CliRunner().invoke(app, ["evaluate-single-view", "--parts", "2", "--json"])
    assert json.loads(ran.stdout)["means"]["network"]["iou"] == 0.5
    assert ran.stderr.splitlines() == ["parts made: 100%", "parts judged: 50%", "parts judged: 100%"]


def test_a_training_that_fails_keeps_no_network(meshes: Path, tmp_path: Path) -> None:
    status, said = train(meshes, tmp_path, "--epochs", "2", "--rate", "1")
    assert status == 1
    assert "phototwin: " in said
    assert "take a lower --rate" in said
    assert not (tmp_path / "weights.safetensors").exists()


def test_few_points_are_drawn_as_many_are(
    meshes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plans: list[Plan] = []

    def planned(plan: Plan, *_: Any) -> NoReturn:
        plans.append(plan)
        raise ValueError("enough")

    monkeypatch.setattr("workers.training.optimisation.train", planned)
    monkeypatch.setattr("workers.cli_train._shapes", lambda *_: (None, None))
    for points in ("80", "100", "10000"):
        train(meshes, tmp_path, "--points", points)
    assert [(plan.near, plan.even) for plan in plans] == [(70, 10), (88, 12), (9872, 128)]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_command_that_is_stopped_leaves_no_processes(tmp_path: Path, number: signal.Signals) -> None:
    asked = [sys.executable, "-c", "from workers.cli import app; app()", "train", "single-view"]
    command = subprocess.Popen([*asked, "--out", str(tmp_path)], stderr=subprocess.PIPE, text=True)
    made = Path(f"/proc/{command.pid}/task/{command.pid}/children")

    def workers() -> list[str]:
        ids = made.read_text().split()
        return [each for each in ids if b"spawn_main" in Path(f"/proc/{each}/cmdline").read_bytes()]

    try:
        until = time.monotonic() + 60
        while len(workers()) < (os.cpu_count() or 1) and time.monotonic() < until:
            time.sleep(0.1)
        started = workers()
        assert started
        command.send_signal(number)
        _, said = command.communicate(timeout=60)
    finally:
        command.kill()
    assert said == "phototwin: stopped; started again with the same options, it goes on\n"
    assert command.returncode == 130
    assert not [each for each in started if Path(f"/proc/{each}").exists()]


def test_the_truth_is_found_to_be_true(monkeypatch: pytest.MonkeyPatch) -> None:
    """By marching cubes of the true distance; and a shape half as large is a half."""
    monkeypatch.setattr(evaluation, "CELLS", 64)
    (task,) = parts([7])
    assert (np.ptp(task.truth[0], axis=0)[:2].max()) == pytest.approx(1, abs=1e-5)
    row = compared(lambda picture: lambda points: signed_distance(points, *task.truth), task)
    assert row["iou"] is not None
    assert row["iou"] > 0.93
    assert row["chamfer_l1"] is not None
    assert row["chamfer_l1"] < 0.08
    assert row["key_views"] is not None
    assert row["key_views"] > 0.9
    nothing = compared(lambda picture: lambda points: np.ones(len(points), np.float32), task)
    assert nothing == {"iou": 0.0, "chamfer_l1": None, "edge_chamfer": None, "key_views": None}
    assert means([row, nothing])["iou"] == pytest.approx(row["iou"] / 2)
    assert means([nothing])["chamfer_l1"] is None


def test_rivals_answer_for_any_picture() -> None:
    kept = Kept(pictures=1, near=200, even=800)
    learned: list[Example] = [generated(seed, kept) for seed in range(4)]
    (task,) = parts([9])
    found = rivals(Network(Design(0.1)).eval(), Examples(learned))
    assert set(found) == {"network", "mean shape", "inflated mask"}
    points = np.random.default_rng(0).uniform(-0.6, 0.6, (2000, 3)).astype(np.float32)
    said = {name: rival(task.picture)(points) < 0 for name, rival in found.items()}
    assert all(each.shape == (2000,) for each in said.values())
    true = signed_distance(points, *task.truth) < 0
    inflated = said["inflated mask"]
    assert (inflated & true).sum() / (inflated | true).sum() > 0.2
