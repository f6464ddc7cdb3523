"""Removes what nobody needs any more: uploads, intermediate results and checkpoints, each after its time.

The model stays, and so do the events captures ended with and the marks of those that were cancelled. A
capture with a job at work is left alone: its mark in `running/` is younger than a job may last.
"""

import math
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from contracts.dataset import FOLDERS
from workers.runtime.settings import Settings, SettingsError
from workers.runtime.storage import Listed, ObjectStore, captures

DAY = 86400.0


@dataclass
class Swept:
    """Objects and bytes by folder; `spared`: captures left alone because a job of theirs is at work."""

    objects: dict[str, int] = field(default_factory=dict)
    bytes: dict[str, int] = field(default_factory=dict)
    spared: list[str] = field(default_factory=list)


def lifetimes(settings: Settings) -> Mapping[str, float]:
    """Folder of a capture -> seconds that its objects are kept. Raises SettingsError where a job could
    outlive what it reads."""
    days = {"upload": settings.keep_uploads_days, "checkpoints": settings.keep_checkpoints_days}
    intermediates = [folder for stage, folder in FOLDERS.items() if stage != "package"]
    days |= dict.fromkeys(intermediates, settings.keep_intermediates_days)
    days["previews"] = settings.keep_checkpoints_days
    found = {folder: number * DAY for folder, number in days.items()}
    if min(found.values()) < 2 * settings.time_limit:
        raise SettingsError(
            "PHOTOTWIN_KEEP_..._DAYS: nothing may be kept for less than twice PHOTOTWIN_TIME_LIMIT"
        )
    return found


async def sweep(store: ObjectStore, settings: Settings, *, dry_run: bool, now: float | None = None) -> Swept:
    """now: in Unix seconds, as the store has it. Raises StorageUnavailable, SettingsError."""
    kept, now = lifetimes(settings), time.time() if now is None else now
    swept = Swept()
    async for capture, objects in captures(store):
        running = capture + "running/"
        if any(o.key.startswith(running) and now - o.modified < 2 * settings.time_limit for o in objects):
            swept.spared.append(capture)
            continue
        for folder, together in _groups(capture, objects):
            if now - max(each.modified for each in together) <= kept.get(folder, math.inf):
                continue
            swept.objects[folder] = swept.objects.get(folder, 0) + len(together)
            swept.bytes[folder] = swept.bytes.get(folder, 0) + sum(each.bytes for each in together)
            for each in [] if dry_run else together:
                await store.delete(each.key)
    return swept


def _groups(capture: str, objects: list[Listed]) -> Iterator[tuple[str, list[Listed]]]:
    """What goes together or not at all, with its folder: an upload, or all of one job. Its manifest goes
    first, so that none is ever left that names what is gone."""
    found: dict[tuple[str, str], list[Listed]] = {}
    for each in objects:
        folder, job, *_ = (*each.key.removeprefix(capture).split("/"), "")
        found.setdefault((folder, "" if folder == "upload" else job), []).append(each)
    for (folder, _), together in found.items():
        yield folder, sorted(together, key=lambda each: not each.key.endswith("/manifest.json"))
