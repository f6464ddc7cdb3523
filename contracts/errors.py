"""Everything that can go wrong, as one tree.

    PhototwinError
    ├── ContractError              dead-letter: an event that no retry can make readable
    │   ├── EventUndecodable       event_undecodable
    │   ├── EventUnknown           event_unknown
    │   └── EventInvalid           event_invalid
    ├── InputError                 abort: the capture fails with a sentence its user can act on
    │   ├── UploadMissing          upload_missing
    │   ├── UploadChanged          upload_changed
    │   ├── UploadTooLarge         upload_too_large
    │   ├── ArchiveUnsafe          archive_unsafe
    │   ├── FormatUnsupported      format_unsupported
    │   ├── ImageUnreadable        image_unreadable
    │   ├── ImageTooLarge          image_too_large
    │   ├── ImageTooSmall          image_too_small
    │   ├── VideoUnreadable        video_unreadable
    │   ├── VideoTooLong           video_too_long
    │   ├── TooFewImages           too_few_images
    │   ├── TooManyImages          too_many_images
    │   ├── ImageMissing           image_missing
    │   ├── SizeMismatch           size_mismatch
    │   ├── CountMismatch          count_mismatch
    │   ├── PosesMissing           poses_missing
    │   ├── PosesNotFound          poses_not_found
    │   ├── PosesUnreadable        poses_unreadable
    │   ├── PoseInvalid            pose_invalid
    │   ├── PosesDegenerate        poses_degenerate
    │   ├── CameraUnsupported      camera_unsupported
    │   ├── MasksMissing           masks_missing
    │   ├── ObjectNotFound         object_not_found
    │   ├── MasksIncomplete        masks_incomplete
    │   ├── MaskEmpty              mask_empty
    │   ├── MasksInconsistent      masks_inconsistent
    │   ├── MasksBad               masks_bad
    │   ├── HintUnknownImage       hint_unknown_image
    │   ├── HintMissesObject       hint_misses_object
    │   ├── LengthUnknownImage     length_unknown_image
    │   ├── LengthUnusable         length_unusable
    │   ├── ReviewUnreadable       review_unreadable
    │   ├── ReviewOtherMasks       review_other_masks
    │   ├── ReviewUnknownImage     review_unknown_image
    │   ├── ReviewMaskInvalid      review_mask_invalid
    │   ├── ReviewLeavesTooFew     review_leaves_too_few
    │   ├── SegmenterUnavailable   segmenter_unavailable
    │   ├── WeightsMissing         weights_missing
    │   ├── MethodUnavailable      method_unavailable
    │   └── TooMuchMemory          too_much_memory
    ├── TransientError             retry: the world may be better in a moment
    │   ├── Outage                 for as long as it lasts: no fault of the job's
    │   │   ├── StorageUnavailable storage_unavailable
    │   │   ├── BrokerUnavailable  broker_unavailable
    │   │   ├── DeliveryLost       delivery_lost (its connection is gone: the message comes again)
    │   │   └── EventReturned      event_returned (no queue is bound: the topology was not applied)
    │   ├── DiskFull               disk_full (the worker's own)
    │   ├── ObjectDamaged          object_damaged (an artefact of ours is missing or altered)
    │   ├── WeightsDamaged         weights_damaged (a network's, on the worker)
    │   ├── WeightsUnusable        weights_unusable
    │   ├── ComputeDied            compute_died
    │   └── ComputeFailed          compute_failed (nobody foresaw it: a bug as a rule)
    ├── TimeLimitExceeded          dead-letter: time_limit_exceeded
    ├── WorkerDied                 dead-letter: worker_died (killed over it again and again)
    └── CaptureCancelled           abort: capture_cancelled, in silence

A leaf's `code` is its name in `errors.json`, the language-neutral table that holds, for each code,
the sentence a phone user reads and what that person can do. `{names}` in a sentence are filled from
the error's `params`, which travel beside the code, so that an app can translate the table.
"""

import json
from collections.abc import Iterator
from enum import StrEnum
from functools import cache
from importlib.resources import files
from typing import Any, ClassVar


class Disposition(StrEnum):
    """What the worker shell does with the message whose handling raised the error."""

    RETRY = "retry"
    DEAD_LETTER = "dead_letter"
    ABORT = "abort"


class PhototwinError(Exception):
    """Root of the tree. `message` is one plain sentence for a developer, `params` its facts."""

    code: ClassVar[str]
    disposition: ClassVar[Disposition]

    def __init__(self, message: str, **params: Any) -> None:
        super().__init__(message)
        self.message = message
        self.params = params

    @property
    def sentence(self) -> str:
        """What a phone user reads, in English."""
        return _fill(table()[self.code]["sentence"], self.params)

    @property
    def action(self) -> str:
        """What a phone user can do about it, in English."""
        return _fill(table()[self.code]["action"], self.params)


class ContractError(PhototwinError):
    """An event that breaks its contract; settled to the dead-letter queue at once."""

    disposition = Disposition.DEAD_LETTER


class EventUndecodable(ContractError):
    code = "event_undecodable"


class EventUnknown(ContractError):
    code = "event_unknown"


class EventInvalid(ContractError):
    """`params`: field (dotted path) and rule (what it must be)."""

    code = "event_invalid"


class InputError(PhototwinError):
    """The capture cannot be worked on as it was sent; ends in `capture.failed`."""

    disposition = Disposition.ABORT


class UploadMissing(InputError):
    code = "upload_missing"


class UploadChanged(InputError):
    code = "upload_changed"


class UploadTooLarge(InputError):
    code = "upload_too_large"


class ArchiveUnsafe(InputError):
    code = "archive_unsafe"


class FormatUnsupported(InputError):
    code = "format_unsupported"


class ImageUnreadable(InputError):
    code = "image_unreadable"


class ImageTooLarge(InputError):
    code = "image_too_large"


class ImageTooSmall(InputError):
    code = "image_too_small"


class VideoUnreadable(InputError):
    """`params`: file."""

    code = "video_unreadable"


class VideoTooLong(InputError):
    """`params`: file and limit, a phrase."""

    code = "video_too_long"


class TooFewImages(InputError):
    code = "too_few_images"


class TooManyImages(InputError):
    code = "too_many_images"


class ImageMissing(InputError):
    code = "image_missing"


class SizeMismatch(InputError):
    code = "size_mismatch"


class CountMismatch(InputError):
    code = "count_mismatch"


class PosesMissing(InputError):
    code = "poses_missing"


class PosesNotFound(InputError):
    """Too few of the photos fit together for their cameras to be told from them."""

    code = "poses_not_found"


class PosesUnreadable(InputError):
    code = "poses_unreadable"


class PoseInvalid(InputError):
    code = "pose_invalid"


class PosesDegenerate(InputError):
    """Cameras all at one place or on one line, so that what was asked of them cannot be told."""

    code = "poses_degenerate"


class CameraUnsupported(InputError):
    code = "camera_unsupported"


class MasksMissing(InputError):
    code = "masks_missing"


class ObjectNotFound(InputError):
    code = "object_not_found"


class MasksIncomplete(InputError):
    code = "masks_incomplete"


class MaskEmpty(InputError):
    code = "mask_empty"


class MasksInconsistent(InputError):
    code = "masks_inconsistent"


class MasksBad(InputError):
    code = "masks_bad"


class HintUnknownImage(InputError):
    """A hint for a photo that the capture does not have, or has several of."""

    code = "hint_unknown_image"


class HintMissesObject(InputError):
    """With what the sender marked no object is left."""

    code = "hint_misses_object"


class LengthUnknownImage(InputError):
    """A known length is marked in a photo that the capture does not have, or has several of."""

    code = "length_unknown_image"


class LengthUnusable(InputError):
    """The ends of a known length, as they are marked, have no two places in space."""

    code = "length_unusable"


class ReviewUnreadable(InputError):
    """A file of decisions that breaks its contract (see `contracts.review`)."""

    code = "review_unreadable"


class ReviewOtherMasks(InputError):
    """Decisions on masks that are not those proposed: of other options, say."""

    code = "review_other_masks"


class ReviewUnknownImage(InputError):
    """A decision on an image that the dataset does not have."""

    code = "review_unknown_image"


class ReviewMaskInvalid(InputError):
    """A mask that a person gave, or one to be kept that never was, cannot be used."""

    code = "review_mask_invalid"


class ReviewLeavesTooFew(InputError):
    code = "review_leaves_too_few"


class SegmenterUnavailable(InputError):
    """The sender asked for a segmenter that this worker has not."""

    code = "segmenter_unavailable"


class WeightsMissing(InputError):
    """The sender asked for a network whose weights were not given to this worker."""

    code = "weights_missing"


class MethodUnavailable(InputError):
    code = "method_unavailable"


class TooMuchMemory(InputError):
    code = "too_much_memory"


class TransientError(PhototwinError):
    disposition = Disposition.RETRY


class Outage(TransientError):
    """Something we stand on is not there; tried again for as long as that lasts."""


class StorageUnavailable(Outage):
    code = "storage_unavailable"


class BrokerUnavailable(Outage):
    code = "broker_unavailable"


class DeliveryLost(Outage):
    """The connection that a delivery came over is gone, and the message comes again by itself."""

    code = "delivery_lost"


class EventReturned(Outage):
    """A mandatory publish that no queue is bound for."""

    code = "event_returned"


class DiskFull(TransientError):
    """The worker's folder cannot hold the job's files."""

    code = "disk_full"


class ObjectDamaged(TransientError):
    """An object that an earlier stage wrote is missing, or its bytes are not what it wrote."""

    code = "object_damaged"


class WeightsDamaged(TransientError):
    """The worker's weights of a network are not those that its settings, or ours, name."""

    code = "weights_damaged"


class WeightsUnusable(TransientError):
    """The worker's weights are as named, and not of the network that was expected."""

    code = "weights_unusable"


class ComputeDied(TransientError):
    """The child process ended without an answer (killed, out of memory, crashed)."""

    code = "compute_died"


class ComputeFailed(TransientError):
    """The computation raised something nobody foresaw; `params["stack"]` says where."""

    code = "compute_failed"


class WorkerDied(PhototwinError):
    """The event was given to workers as often as the broker allows, and none of them settled it."""

    code = "worker_died"
    disposition = Disposition.DEAD_LETTER


class TimeLimitExceeded(PhototwinError):
    code = "time_limit_exceeded"
    disposition = Disposition.DEAD_LETTER


class CaptureCancelled(PhototwinError):
    code = "capture_cancelled"
    disposition = Disposition.ABORT


def leaves(root: type[PhototwinError] = PhototwinError) -> Iterator[type[PhototwinError]]:
    """Every class of the tree that has a code of its own."""
    if "code" in vars(root):
        yield root
    for child in root.__subclasses__():
        yield from leaves(child)


def from_code(code: str, message: str, **params: Any) -> PhototwinError:
    """The error of the tree with this code; an unknown code is a `ComputeFailed` that names it."""
    for leaf in leaves():
        if leaf.code == code:
            return leaf(message, **params)
    return ComputeFailed(f"{message} (unknown error code {code})", **params)


@cache
def table() -> dict[str, dict[str, str]]:
    """`errors.json`: code -> {"sentence", "action"}."""
    loaded: dict[str, dict[str, str]] = json.loads(files("contracts").joinpath("errors.json").read_text())
    return loaded


def _fill(template: str, params: dict[str, Any]) -> str:
    for name, value in params.items():
        template = template.replace("{" + name + "}", str(value))
    return template
