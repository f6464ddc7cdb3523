"""What was found in pairs of photos, kept so that more can be added to a capture and only those are matched.

A photo is known by its features: their digest is the same for the same photo, looked at the same way. They
are found anew each time, which takes a fraction of what matching does, and the file, `matches.npz`, stays
small:

    way       (W,) uint8       how was matched, in UTF-8
    photos    (N,32) uint8     SHA-256 of each photo's features
    pairs     (P,2) uint32     photos that were matched
    counts    (P,) uint32      how many matches each pair has
    found     (M,2) uint32     the matches, pair by pair: a feature of either photo
    sure      (M,) uint8       1 for those that fit one epipolar geometry
"""

from __future__ import annotations

import hashlib
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from workers.prepare.sfm.features import Features
from workers.prepare.sfm.matching import Matches

FILE = "matches.npz"
MOST = 256 << 20
"""Bytes of one array."""
_ARRAYS = {"way": "u1", "photos": "u1", "pairs": "<u4", "counts": "<u4", "found": "<u4", "sure": "u1"}

Pair = tuple[int, int]
Both = tuple[Matches, Matches]
"""The matches of two photos (M,2), and those of them that fit one epipolar geometry."""


@dataclass(frozen=True)
class Known:
    """way: how was matched; what was matched otherwise is of no use. pairs: by the digests of two photos."""

    way: str = ""
    pairs: Mapping[tuple[bytes, bytes], Both] = field(default_factory=dict)

    def among(self, features: Sequence[Features], way: str) -> dict[Pair, Both]:
        """What is known of pairs of these photos, the smaller index first."""
        if way != self.way:
            return {}
        digests = [digest(each) for each in features]
        counts = [len(each) for each in features]
        told = {}
        for j, other in enumerate(digests):
            for i, one in enumerate(digests[:j]):
                both = self.pairs.get((one, other))
                if both is None and (both := self.pairs.get((other, one))) is not None:
                    both = both[0][:, ::-1], both[1][:, ::-1]
                if both is not None and (both[0] < (counts[i], counts[j])).all():
                    told[i, j] = both
        return told


NOTHING = Known()


def kept(way: str, features: Sequence[Features], pairs: Mapping[Pair, Both]) -> Known:
    """What was found in pairs of photos, as something to keep."""
    digests = [digest(each) for each in features]
    return Known(way, {(digests[i], digests[j]): both for (i, j), both in pairs.items()})


def digest(features: Features) -> bytes:
    """(32,)"""
    whole = hashlib.sha256(repr(features.size).encode())
    for array in (features.xy, features.descriptors, features.angles):
        whole.update(array.tobytes())
    return whole.digest()


def write(path: Path, what: Known) -> None:
    photos = sorted({photo for pair in what.pairs for photo in pair})
    number = {photo: index for index, photo in enumerate(photos)}
    both = list(what.pairs.values())
    arrays = {
        "way": np.frombuffer(what.way.encode(), np.uint8),
        "photos": np.frombuffer(b"".join(photos), np.uint8).reshape(-1, 32),
        "pairs": np.array([[number[one], number[other]] for one, other in what.pairs]).reshape(-1, 2),
        "counts": np.array([len(found) for found, _ in both]),
        "found": np.concatenate([np.zeros((0, 2), np.uint32), *(found for found, _ in both)]),
        "sure": np.concatenate([np.zeros(0, bool), *(_within(found, sure) for found, sure in both)]),
    }
    np.savez_compressed(path, **{name: arrays[name].astype(kind) for name, kind in _ARRAYS.items()})  # type: ignore[arg-type]


def read(path: Path) -> Known:
    """Raises ValueError where the file is not as `write` leaves it. Nothing in it is trusted: no more is
    allocated than it has, and nothing unpickled."""
    try:
        with zipfile.ZipFile(path) as archive:
            arrays = {name: _array(archive, name, kind) for name, kind in _ARRAYS.items()}
    except Exception as error:  # an unpacker fed with damaged bytes may raise anything
        raise ValueError(f"{path.name} is damaged: {error}") from None
    photos, pairs, found = arrays["photos"], arrays["pairs"], arrays["found"]
    counts, sure = arrays["counts"].astype(np.int64), arrays["sure"] > 0
    shapes = photos.shape[1:], pairs.shape[1:], found.shape[1:], counts.shape[1:], sure.shape
    if shapes != ((32,), (2,), (2,), (), (len(found),)) or len(pairs) != len(counts):
        raise ValueError(f"{path.name} has arrays of other shapes")
    if counts.sum() != len(found) or (pairs >= len(photos)).any():
        raise ValueError(f"{path.name} contradicts itself")
    names = [photo.tobytes() for photo in photos]
    ends = np.cumsum(counts)
    told = {}
    for (one, other), start, end in zip(pairs.tolist(), ends - counts, ends, strict=True):
        rows = found[start:end]
        told[names[one], names[other]] = rows, rows[sure[start:end]]
    return Known(bytes(arrays["way"]).decode(errors="replace"), told)


def _within(found: Matches, sure: Matches) -> NDArray[np.bool_]:
    """(M,) which of the matches are among those that are sure."""
    one, other = (rows.astype(np.uint64) @ np.array([1 << 32, 1], np.uint64) for rows in (found, sure))
    return np.isin(one, other)


def _array(archive: zipfile.ZipFile, name: str, kind: str) -> NDArray[Any]:
    with archive.open(f"{name}.npy") as file:
        if np.lib.format.read_magic(file) != (1, 0):
            raise ValueError("it is of a newer kind")
        shape, _, dtype = np.lib.format.read_array_header_1_0(file)
        if dtype != np.dtype(kind):
            raise ValueError(f"{name} holds {dtype}")
        return np.frombuffer(file.read(MOST), dtype).reshape(shape)
