"""deploy/docker: the image's recipe, its bill of materials, and (long) what its steps install."""

import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

from tests.deploy.kubernetes import ROOT
from workers.gateway.settings import GatewaySettings

DOCKER = ROOT / "deploy/docker"
RECIPE = (DOCKER / "Dockerfile").read_text()
NAMES = ("pyproject.toml", "constraints.txt", "README.md", "LICENSE", "broker", "contracts", "workers")
STAGES = ("prepare", "segment", "reconstruct", "package")


def test_hadolint_has_no_complaint() -> None:
    hadolint = Path(sys.executable).with_name("hadolint")
    done = subprocess.run([hadolint, DOCKER / "Dockerfile"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


def test_bases_can_be_pinned_and_nobody_is_root() -> None:
    arguments = set(re.findall(r"^ARG (\w+)", RECIPE, re.MULTILINE))
    stages = set(re.findall(r"^FROM \S+ AS (\S+)", RECIPE, re.MULTILINE))
    for base in re.findall(r"^FROM (\S+)", RECIPE, re.MULTILINE):
        assert base in stages or base.strip("${}") in arguments, base
    assert {"cpu", "cuda"} <= stages
    assert re.findall(r"^USER (.*)", RECIPE, re.MULTILINE) == ["10001:10001"]
    settings = GatewaySettings()
    assert f"EXPOSE {settings.gateway_port} {settings.http_port}\n" in RECIPE
    assert f"'PHOTOTWIN_HTTP_PORT', {settings.http_port})" in RECIPE


def test_all_that_is_copied_is_let_in() -> None:
    let_in = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    assert let_in == {*NAMES, "deploy/docker"}
    for source in re.findall(r"^COPY (?!--from)(.+) \S+$", RECIPE, re.MULTILINE):
        for path in source.split():
            assert path == "." or any((ROOT / path).is_relative_to(ROOT / name) for name in let_in), path


def test_the_bill_of_materials_is_of_the_lock_and_valid() -> None:
    inventory = _inventory()
    parts = inventory.installed()
    assert inventory.differing(parts) == inventory.unlocked(parts) == []
    bill = inventory.sbom(parts)
    errors = JsonStrictValidator(SchemaVersion.V1_6).validate_str(json.dumps(bill))
    assert errors is None, errors
    asked = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]
    names = {part["name"] for part in bill["components"]}
    assert {re.split(r"[\[>=]", line)[0] for line in asked} <= names
    assert "pytest" not in names


def test_the_entry_point_copies_the_kernels_and_becomes_the_command(tmp_path: Path) -> None:
    (tmp_path / "numba/x").mkdir(parents=True)
    command = tmp_path / "bin/phototwin"
    command.parent.mkdir()
    command.write_text('#!/bin/sh\necho "$NUMBA_CACHE_DIR" "$@"\n')
    command.chmod(0o755)
    (tmp_path / "tmp").mkdir()
    environment = {
        "PATH": f"{command.parent}:/usr/bin:/bin",
        "TMPDIR": str(tmp_path / "tmp"),
        "PHOTOTWIN_HOME": str(tmp_path),
    }
    for _ in range(2):
        told = subprocess.check_output(
            [DOCKER / "entrypoint.sh", "worker", "a b"], env=environment, text=True
        )
        assert told == f"{tmp_path}/tmp/numba worker a b\n"
    assert (tmp_path / "tmp/numba/x").is_dir()


@pytest.mark.long
def test_the_steps_install_what_works_without_the_sources(tmp_path: Path) -> None:
    """The steps of the Dockerfile, outside a container, into an empty folder."""
    sources, target = tmp_path / "src", tmp_path / "opt"
    ignored = shutil.ignore_patterns("__pycache__", "node_modules")
    for name in (*NAMES, "deploy/docker"):
        (sources / name).parent.mkdir(parents=True, exist_ok=True)
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, sources / name, ignore=ignored)
        else:
            shutil.copy(ROOT / name, sources / name)
    for step in ("dependencies", "phototwin"):
        subprocess.run([sources / "deploy/docker/install.sh", target, step], check=True, cwd="/")
    shutil.rmtree(sources)
    (tmp_path / "tmp").mkdir()
    environment = {
        "PATH": f"{target}/app/bin:{target}/venv/bin:/usr/bin:/bin",
        "HOME": str(tmp_path / "tmp"),
        "TMPDIR": str(tmp_path / "tmp"),
        "PHOTOTWIN_HOME": str(target),
    }
    python = target / "venv/bin/python"
    for module in (*(f"workers.{stage}.compute" for stage in STAGES), "workers.gateway.serve"):
        code = f"import {module} as it; print(it.__file__)"
        where = subprocess.check_output([python, "-c", code], env=environment, cwd="/", text=True)
        assert where.startswith(f"{target}/app/")
    entry = [DOCKER / "entrypoint.sh"]
    for arguments in (
        ["--help"],
        ["simulate", str(tmp_path / "phone"), "--views", "12"],
        ["run", str(tmp_path / "phone/capture"), "--out", str(tmp_path / "model"), "--profile", "preview"],
    ):
        subprocess.run([*entry, *arguments], env=environment, cwd="/", check=True)
    assert (tmp_path / "model/model.glb").stat().st_size
    assert os.listdir(target / "numba")
    inventory = DOCKER / "inventory.py"
    print(subprocess.check_output([python, inventory, "sizes"], env=environment, cwd="/", text=True))


def _inventory() -> Any:
    spec = importlib.util.spec_from_file_location("inventory", DOCKER / "inventory.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
