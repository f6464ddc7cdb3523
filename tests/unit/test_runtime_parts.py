"""Settings, health page, embedded details, the command's manners."""

import json
import subprocess
import sys
import urllib.error
import urllib.request
from asyncio import to_thread
from pathlib import Path
from subprocess import PIPE

import pytest
from typer.testing import CliRunner

from tests import captures
from tests.captures import Rig
from workers.cli import app
from workers.gateway.settings import GatewaySettings
from workers.runtime import http
from workers.runtime.metrics import Metrics
from workers.runtime.settings import SettingsError, from_environment, read_settings

runner = CliRunner()


def test_settings_come_from_the_environment_and_from_secret_files(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "phototwin_s3_secret_key").write_text("from a file\n")
    monkeypatch.setenv("PHOTOTWIN_SECRETS_DIR", str(tmp_path))
    monkeypatch.setenv("PHOTOTWIN_S3_BUCKET", "twins")
    settings = from_environment()
    assert settings.s3_bucket == "twins"
    assert settings.s3_secret_key
    assert settings.s3_secret_key.get_secret_value().strip() == "from a file"
    assert "from a file" not in repr(settings)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("TIME_LIMIT", "-1"),
        ("HTTP_PORT", "many"),
        ("RETRY_DELAYS", "5,30"),
        ("WORK_DIR", "/no/such/folder"),
    ],
)
def test_a_bad_setting_is_named(name: str, value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(f"PHOTOTWIN_{name}", value)
    with pytest.raises(SettingsError, match=f"PHOTOTWIN_{name}"):
        from_environment()


def test_a_setting_that_is_no_json_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PHOTOTWIN_WEBHOOK_NETWORKS", "127.0.0.0/8")
    with pytest.raises(SettingsError, match=r"PHOTOTWIN_WEBHOOK_NETWORKS: must be in JSON"):
        read_settings(GatewaySettings)
    monkeypatch.setenv("PHOTOTWIN_WEBHOOK_NETWORKS", '["127.0.0.0/8"]')
    assert read_settings(GatewaySettings).webhook_networks


async def test_metrics_and_health_are_served() -> None:
    def get(path: str) -> tuple[int, str]:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}") as response:
                return response.status, response.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()

    metrics, fault, lacks = Metrics(), None, None
    metrics.consumed.labels("prepare").inc()
    async with http.serve("127.0.0.1", 0, metrics.registry, lambda: fault, lambda: lacks) as port:
        assert await to_thread(get, "/readyz") == (200, "ok")
        lacks = "RabbitMQ is away"
        assert await to_thread(get, "/readyz") == (200, "ok, but RabbitMQ is away")
        fault = "the broker is away"
        assert await to_thread(get, "/readyz") == (503, "the broker is away")
        assert await to_thread(get, "/healthz") == (200, "ok")
        with pytest.raises(SettingsError, match="PHOTOTWIN_HTTP_PORT"):
            async with http.serve("127.0.0.1", port, metrics.registry, lambda: None):
                pass
        status, body = await to_thread(get, "/metrics")
    assert status == 200
    assert 'phototwin_events_consumed_total{stage="prepare"} 1.0' in body


@pytest.mark.parametrize(
    "command",
    [
        "run",
        "worker",
        "publish",
        "simulate",
        "topology apply",
        "topology show",
        "cancel",
        "sweep",
        "deadletter list",
        "deadletter replay",
    ],
)
def test_every_command_has_help_with_an_example(command: str) -> None:
    result = runner.invoke(app, [*command.split(), "--help"])
    assert result.exit_code == 0
    assert "Example:" in result.output


def test_topology_show_needs_no_broker() -> None:
    result = runner.invoke(app, ["topology", "show", "--json"])
    shown = json.loads(result.output)
    queues = {queue["name"]: queue["arguments"] for queue in shown["queues"]}
    assert queues["phototwin.prepare"]["x-queue-type"] == "quorum"
    assert queues["phototwin.prepare.bulk.3"]["x-overflow"] == "reject-publish"
    assert {policy["name"]: policy["definition"] for policy in shown["policies"]}["phototwin-work"][
        "delivery-limit"
    ] == 5
    assert queues["phototwin.outcomes"]["x-queue-type"] == "stream"


def phototwin(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "workers.cli", *arguments], capture_output=True, text=True, timeout=600
    )


def test_run_stops_at_the_stage_asked_for(tmp_path: Path) -> None:
    capture = captures.write(tmp_path / "capture", Rig(), masks="alpha")
    ran = phototwin("run", str(capture), "--out", str(tmp_path / "out"), "--until", "segment", "--json")
    assert ran.returncode == 0, ran.stderr
    result = json.loads(ran.stdout)
    assert list(result["stages"]) == ["prepare", "segment"]
    assert {"wall_seconds", "cpu_seconds", "peak_rss_mb", "metrics"} <= set(result["stages"]["prepare"])
    assert result == json.loads((tmp_path / "out" / "result.json").read_text())
    images = sorted(path.name for path in (tmp_path / "out" / "dataset" / "images").iterdir())
    masks = sorted(path.name for path in (tmp_path / "out" / "masks").glob("*.png"))
    assert (tmp_path / "out" / "masks" / "outlines.jpg").exists()
    assert images == masks == [f"photo_{i:02d}.png" for i in range(8)]
    assert (tmp_path / "out" / "dataset" / "poses_bounds.npy").exists()


def test_run_of_one_transforms_file_takes_only_its_frames(tmp_path: Path) -> None:
    capture = captures.write(tmp_path / "capture", Rig())
    document = json.loads((capture / "transforms.json").read_text())
    document["frames"] = document["frames"][:6]
    (capture / "transforms_train.json").write_text(json.dumps(document))
    part = str(capture / "transforms_train.json")
    ran = phototwin("run", part, "--out", str(tmp_path / "out"), "--until", "prepare")
    assert ran.returncode == 0, ran.stderr
    assert len(list((tmp_path / "out" / "dataset" / "images").iterdir())) == 6


def test_a_failing_run_says_one_sentence(tmp_path: Path) -> None:
    capture = captures.write(tmp_path / "capture", Rig())
    ran = phototwin("run", str(capture), "--out", str(tmp_path / "out"), "--ignore-poses", "--json")
    assert ran.returncode == 1
    assert json.loads(ran.stdout)["error"]["code"] == "poses_not_found"
    last = ran.stderr.strip().splitlines()[-1]
    assert last.startswith("phototwin: ")
    assert "Traceback" not in ran.stderr


@pytest.mark.parametrize("what", ["nothing-here", "an-empty-folder"])
def test_a_path_that_is_no_capture_is_named(what: str, tmp_path: Path) -> None:
    (tmp_path / "an-empty-folder").mkdir()
    ran = phototwin("run", str(tmp_path / what), "--out", str(tmp_path / "out"))
    assert ran.returncode == 1
    assert what in ran.stderr
    assert "Traceback" not in ran.stderr


def test_a_stage_runs_on_folders(tmp_path: Path) -> None:
    captures.write(tmp_path / "in" / "upload", Rig())
    ran = subprocess.run(
        [sys.executable, "-m", "workers.prepare", "--in", tmp_path / "in", "--out", tmp_path / "out"],
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert ran.returncode == 0, ran.stderr
    assert json.loads(ran.stdout)["metrics"]["images"] == 8
    assert (tmp_path / "out" / "cameras.json").exists()


def test_what_others_put_into_the_output_folder_is_never_touched(tmp_path: Path) -> None:
    capture = captures.write(tmp_path / "capture", Rig())
    before = {path: path.read_bytes() for path in capture.rglob("*") if path.is_file()}
    for out in (capture, tmp_path / "theirs"):
        (out / "masks").mkdir(parents=True, exist_ok=True)
        (out / "masks" / "keep.txt").write_text("mine")
        ran = phototwin("run", str(capture), "--out", str(out), "--until", "segment")
        assert ran.returncode == 1
        assert "not ours" in ran.stderr
        assert (out / "masks" / "keep.txt").read_text() == "mine"
    assert all(path.read_bytes() == content for path, content in before.items())


def test_a_second_run_leaves_nothing_of_the_first(tmp_path: Path) -> None:
    out = tmp_path / "out"
    for views, stage in ((8, "segment"), (6, "prepare")):
        capture = captures.write(tmp_path / f"capture{views}", Rig(views=views))
        ran = phototwin("run", str(capture), "--out", str(out), "--until", stage)
        assert ran.returncode == 0, ran.stderr
        (out / "notes.txt").write_text("mine")
    assert len(list((out / "dataset" / "images").iterdir())) == 6
    assert not (out / "masks").exists()
    assert (out / "notes.txt").exists()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--method", "X!"], "--method"),
        (["--holdout", "1"], "--holdout"),
        (["--out", "{file}"], "is a file"),
    ],
)
def test_nonsense_is_named_without_a_traceback(arguments: list[str], said: str, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    capture = captures.write(tmp_path / "capture", Rig())
    ran = phototwin("run", str(capture), *(a.format(file=tmp_path / "file") for a in arguments))
    assert ran.returncode == 1
    assert said in ran.stderr
    assert "Traceback" not in ran.stderr


def test_masks_are_found_by_convention(tmp_path: Path) -> None:
    capture = captures.write(tmp_path / "capture", Rig())
    document = json.loads((capture / "transforms.json").read_text())
    for frame in document["frames"]:
        del frame["mask_path"]
    (capture / "transforms.json").write_text(json.dumps(document))
    one = str(capture / "transforms.json")
    ran = phototwin("run", one, "--out", str(tmp_path / "out"), "--until", "segment")
    assert ran.returncode == 0, ran.stderr


@pytest.mark.parametrize("text", ["[" * 100_000, '{"frames": [{"file_path": "a\\u0000"}]}', "{}"])
def test_a_broken_transforms_file_is_named(text: str, tmp_path: Path) -> None:
    (tmp_path / "transforms.json").write_text(text)
    ran = phototwin("run", str(tmp_path / "transforms.json"), "--out", str(tmp_path / "out"))
    assert ran.returncode == 1
    assert "transforms.json" in ran.stderr
    assert "Traceback" not in ran.stderr


def test_a_child_whose_worker_is_gone_ends_without_a_word() -> None:
    command = [sys.executable, "-m", "workers.runtime.child", "json"]
    with subprocess.Popen(command, stdin=PIPE, stdout=PIPE, stderr=PIPE) as child:
        assert child.stdout
        assert child.stderr
        child.stdout.close()  # before it can have said that it is ready
        assert child.stderr.read() == b""
        assert child.wait(120) == 0


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("{", "holds no hints"),
        ("[" * 100_000, "holds no hints"),
        ("3", "--hints"),
        ('[{"image": "a.jpg", "box": [0.9, 0, 0.1, 1]}]', "--hints-0: Value error, box must be"),
    ],
)
def test_hints_that_cannot_be_read_are_one_sentence(content: str, said: str, tmp_path: Path) -> None:
    (tmp_path / "hints.json").write_text(content)
    capture = captures.write(tmp_path / "capture", Rig())
    done = runner.invoke(app, ["run", str(capture), "--hints", str(tmp_path / "hints.json")])
    assert done.exit_code == 1
    assert said in done.stderr
    assert done.stderr.count("\n") == 1
