"""A person's decisions on masks, on their way to the segment worker."""

import hashlib
import tempfile
from pathlib import Path

from contracts.events import Decision, MasksProposed, MasksReviewed, UploadedFile
from contracts.review import DecisionsFile
from workers.runtime.storage import ObjectStore
from workers.segment.review.apply import Choice


def unpacked(decisions: DecisionsFile, folder: Path) -> dict[str, Choice]:
    """By stem; the masks are written to files in `folder`, named by their SHA-256."""
    choices = {}
    for stem, decision in decisions.images.items():
        picture, path = decision.picture, None
        if picture is not None:
            path = folder / f"{hashlib.sha256(picture).hexdigest()}.png"
            path.write_bytes(picture)
        choices[stem] = Choice(decision.keep, path)
    return choices


async def reviewed(
    store: ObjectStore, decisions: DecisionsFile, proposed: MasksProposed, generation: int | None = None
) -> MasksReviewed:
    """The event that announces the decisions, once all masks they bring are in the store; of the proposal's
    generation unless told otherwise. Raises ReviewOtherMasks, StorageUnavailable."""
    decisions.check(proposed.masks.content)
    told = {}
    with tempfile.TemporaryDirectory(prefix="phototwin-") as folder:
        for stem, choice in unpacked(decisions, Path(folder)).items():
            if choice.mask is not None:
                told[stem] = Decision(decision="replace", mask=await _put(store, proposed, choice.mask))
            else:
                told[stem] = Decision(decision="keep" if choice.keep else "discard")
    event = proposed.followed_by(
        MasksReviewed,
        dataset=proposed.dataset,
        masks=proposed.masks,
        decisions=told,
        world=proposed.world,
        options=proposed.options,
    )
    return event if generation is None else event.model_copy(update={"generation": generation})


async def _put(store: ObjectStore, proposed: MasksProposed, mask: Path) -> UploadedFile:
    key = f"{proposed.folder}upload/review/{mask.name}"
    await store.put(key, mask, "image/png")
    return UploadedFile(key=key, bytes=mask.stat().st_size, sha256=mask.stem)
