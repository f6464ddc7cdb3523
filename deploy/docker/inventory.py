"""What phototwin's dependencies are, as the Python that runs this has them:

    inventory.py sbom [EXTRA]...    a bill of materials (CycloneDX 1.6, JSON), extras' included
    inventory.py sizes [EXTRA]...   what takes up how much room

Ends with 1 where constraints.txt has another version, and says what it lacks: torch's CUDA build brings some.
"""

import json
import re
import sys
from collections import deque
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path
from typing import Any

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

LOCK = Path(__file__).parents[2] / "constraints.txt"


def installed(
    root: str = "phototwin", extras: tuple[str, ...] = ()
) -> dict[str, tuple[Distribution, list[str]]]:
    """Name -> it, and the names of what it asks for; the root and all below it."""
    found: dict[str, tuple[Distribution, list[str]]] = {}
    waiting: deque[tuple[str, frozenset[str]]] = deque([(root, frozenset(extras))])
    seen = set(waiting)
    while waiting:
        name, wanted = waiting.popleft()
        it = distribution(name)
        needs = found.setdefault(canonicalize_name(name), (it, []))[1]
        for line in it.requires or ():
            requirement = Requirement(line)
            marker = requirement.marker
            if marker and not any(marker.evaluate({"extra": extra}) for extra in ("", *wanted)):
                continue
            needs.append(canonicalize_name(requirement.name))
            below = (canonicalize_name(requirement.name), frozenset(requirement.extras))
            if below not in seen:
                seen.add(below)
                waiting.append(below)
    return found


def locked() -> dict[str, str]:
    lines = (line.split("==") for line in LOCK.read_text().splitlines() if "==" in line and line[0] != "#")
    return {canonicalize_name(name): version for name, version in lines}


def differing(parts: dict[str, tuple[Distribution, list[str]]]) -> list[str]:
    """torch's +cpu is of the build, not of the version."""
    lock = locked()
    return [
        f"{name} {it.version} is installed, and {lock[name]} locked"
        for name, (it, _) in parts.items()
        if name in lock and lock[name] != it.version.partition("+")[0]
    ]


def unlocked(parts: dict[str, tuple[Distribution, list[str]]]) -> list[str]:
    return sorted(set(parts) - set(locked()) - {"phototwin"})


def sbom(parts: dict[str, tuple[Distribution, list[str]]]) -> dict[str, Any]:
    root = parts["phototwin"][0]
    return {
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": {"component": {**_component("phototwin", root), "type": "application"}},
        "components": [
            _component(name, it) for name, (it, _) in sorted(parts.items()) if name != "phototwin"
        ],
        "dependencies": [
            {"ref": _reference(name, it), "dependsOn": sorted({_reference(n, parts[n][0]) for n in needs})}
            for name, (it, needs) in sorted(parts.items())
        ],
    }


def sizes(parts: dict[str, tuple[Distribution, list[str]]]) -> list[tuple[str, float]]:
    """In MB, the largest first. Of files, which several distributions may share blocks of."""
    found = [
        (f"{name} {it.version}", sum(_bytes(Path(str(file.locate()))) for file in it.files or ()) / 1e6)
        for name, (it, _) in parts.items()
    ]
    return sorted(found, key=lambda row: -row[1])


def _bytes(path: Path) -> int:
    return path.stat().st_size if path.is_file() else 0


def _reference(name: str, it: Distribution) -> str:
    return f"pkg:pypi/{name}@{it.version.replace('+', '%2B')}"


def _component(name: str, it: Distribution) -> dict[str, Any]:
    said: dict[str, Any] = {
        "type": "library",
        "bom-ref": _reference(name, it),
        "name": name,
        "version": it.version,
        "purl": _reference(name, it),
    }
    expressed = it.metadata.get_all("License-Expression") or it.metadata.get_all("License") or [""]
    told = expressed[0] or _classified(it)
    if told:
        said["licenses"] = [{"license": {"name": re.sub(r"\s+", " ", told)[:100].strip()}}]
    return said


def _classified(it: Distribution) -> str:
    found = [line for line in it.metadata.get_all("Classifier") or () if line.startswith("License ::")]
    return ", ".join(line.rpartition(" :: ")[2] for line in found)


def main(what: str, extras: list[str]) -> None:
    try:
        parts = installed(extras=tuple(extras))
    except PackageNotFoundError as error:
        sys.exit(f"inventory.py: {error.name} is not installed")
    if wrong := differing(parts):
        sys.exit("inventory.py: " + "; ".join(wrong))
    if more := unlocked(parts):
        print(f"inventory.py: not locked: {', '.join(more)}", file=sys.stderr)
    if what == "sbom":
        print(json.dumps(sbom(parts), indent=1))
        return
    rows = sizes(parts)
    for name, megabytes in rows[:15]:
        print(f"{megabytes:8.1f} MB  {name}")
    print(f"{sum(size for _, size in rows[15:]):8.1f} MB  {len(rows[15:])} others")
    print(f"{sum(size for _, size in rows):8.1f} MB  in all")


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:])
