"""The Job that a site wants."""

from datetime import timedelta
from pathlib import Path

import kubernetes_validate
import pytest
import yaml

from tests.deploy.kubernetes import built, of_kind
from tests.deploy.schedule.site import manifest
from tests.servers import kubernetes
from workers.runtime.settings import SettingsError
from workers.schedule import template as templates


@pytest.mark.parametrize("overlay", ["cpu", "gpu"])
def test_the_scaled_job_of_an_overlay_will_do(overlay: str, tmp_path: Path) -> None:
    path = tmp_path / "all.yaml"
    path.write_text(yaml.dump_all(built(overlay), Dumper=yaml.CSafeDumper))
    made = templates.read(path)
    (scaled,) = of_kind(overlay, "ScaledJob")
    job = made.job(3)
    for version in kubernetes.VERSIONS:
        kubernetes_validate.validate(job, version, strict=True)
    assert job["spec"] == {
        **scaled["spec"]["jobTargetRef"],
        "ttlSecondsAfterFinished": templates.KEEP_SECONDS,
    }
    assert (job["metadata"]["name"], made.namespace) == ("reconstruct-3", "phototwin")


def test_a_sites_own_job_is_kept_as_it_is(path: Path) -> None:
    made = templates.read(path)
    labels = {"team": "twins", "app.kubernetes.io/managed-by": "phototwin-schedule"}
    assert made.job(0)["metadata"] == {
        "name": "ours-0",
        "labels": labels | {"app.kubernetes.io/instance": "ours"},
    }
    assert [made.slot_of(name) for name in ("ours-7", "ours-07", "ours-x", "ours", "other-1")] == [
        7,
        None,
        None,
        None,
        None,
    ]
    path.write_text(yaml.dump({**manifest(), "spec": {**manifest()["spec"], "ttlSecondsAfterFinished": 5}}))
    assert templates.read(path).keep == timedelta(seconds=5)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{", "cannot be read"),
        ("kind: Job\napiVersion: v1", "has 0 Jobs"),
        (yaml.dump_all([manifest(), manifest()]), "has 2 Jobs"),
        (yaml.dump({**manifest(), "spec": None}), "a name and a spec"),
        (yaml.dump({**manifest(), "spec": {**manifest()["spec"], "backofLimit": 1}}), "spec.backofLimit"),
        (yaml.dump({**manifest(), "metadata": {}}), "a name and a spec"),
        (yaml.dump(manifest(args=["worker", "reconstruct"])), "--once` or `"),
        (yaml.dump(manifest(args=["worker", "package", "--drain"])), "no container that runs"),
        (yaml.dump(manifest(startupProbe=None)), "startupProbe"),
    ],
)
def test_manifests_that_cannot_work_are_refused(text: str, said: str, path: Path) -> None:
    path.write_text(text)
    with pytest.raises(SettingsError, match="--template") as refused:
        templates.read(path)
    assert said in str(refused.value)
