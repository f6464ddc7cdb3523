"""`phototwin train single-view`, and what judges its networks."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
import trimesh
from typer.testing import CliRunner

from workers.cli import app
from workers.geometry.distance import signed_distance
from workers.reconstruct.methods.single_view.network import Design, Network
from workers.reconstruct.methods.single_view.weights import read_network
from workers.training import evaluation
from workers.training.evaluation import compared, means, parts, rivals
from workers.training.examples import Example, Examples
from workers.training.shapes import Kept, generated


@pytest.fixture(scope="module", autouse=True)
def alone() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def meshes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("meshes")
    rng = np.random.default_rng(0)
    for i in range(20):
        trimesh.creation.box(rng.uniform(0.4, 1, 3)).export(folder / f"{i:02d}.ply")
    return folder


def train(meshes: Path, out: Path, *more: str) -> tuple[int, str]:
    asked = ["train", "single-view", "--out", str(out), "--data", str(meshes), "--width", "0.1"]
    ran = CliRunner().invoke(app, [*asked, "--points", "160", "--batch", "6", *more])
    return ran.exit_code, ran.output


def test_a_training_leaves_a_network_and_how_it_went(meshes: Path, tmp_path: Path) -> None:
    status, said = train(meshes, tmp_path, "--epochs", "1")
    assert status == 0, said
    assert "epoch 1/1: loss" in said
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


@pytest.mark.parametrize(
    ("asked", "told"),
    [
        (["--labels", "soft"], "choose adaptive, fixed or binary"),
        (["--even", "160"], "--even must be less"),
        (["--width", "7"], "less than or equal to 1"),
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
