"""Which pixels are the object, by what is known so far of its colours, its place and what is behind it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from workers.geometry.cameras import Cameras
from workers.geometry.grid import Grid
from workers.segment.multiview.carving import DECIDED, silhouettes
from workers.segment.multiview.colours import density, table, textured
from workers.segment.multiview.cut import boundary_costs, cut
from workers.segment.multiview.exposure import multiplied
from workers.segment.multiview.plane import Plane
from workers.segment.multiview.plate import Plate, footprint, in_views, plate
from workers.segment.multiview.region import within
from workers.segment.multiview.surroundings import around, nearby

Float = NDArray[np.float32]
Bool = NDArray[np.bool_]
Image = NDArray[np.uint8]

_UNIT = 256  # of a picture's longer side: lengths below are in pixels of such pictures
_SMOOTH, _STEPS = 4.0, 130  # what a pixel's length of boundary costs where no edge is, in log-likelihood
_MOST = 4.0  # that the colour of a pixel may say
_WEAK, _DOUBTED = 1.0, 1.5  # the same before colours are known well, and where the plate is in doubt
_CERTAIN = 4.0  # what a pixel says whose side is decided
_INSIDE, _OUTSIDE, _FALLOFF = 2.0, 4.0, 2.0  # what the object in space may say, and over how many pixels
_LIKE_PLATE = 0.85  # of what is behind is as the plate shows it, where it is known
_OFF = 0.4  # pixels that cameras may be off
_MISSED = 5.0  # deviations from the plate that are no noise
_LOW, _HIGH = 0.15, 0.1  # over the plane: below stands what hides the plate for good, above what may hide it
_MARGIN = 4  # texels around where it stands
_SEED = 0.8  # of the region's radius: what hides the plate there is the object, or looks like it
_LEAST_COMMON = 0.3  # overlap (IoU) with the object at which a mask that was told is not believed at all
_CORE, _CLEAR, _NEAR, _WIDE = 2, 4, 12, 40  # pixels in and out of the outline, for colours
_HOLE = 0.004  # of a picture: what is smaller and has the object all round is object
_PAD = 12  # pixels around the outline that are looked at


@dataclass(frozen=True)
class Pictures:
    """images (N,h,w,3); photo (N,h,w): where there is one, and no padding; N cameras, the region of the
    object being the unit sphere; told (N,h,w): see `multiview.segment`.
    """

    images: Image
    photo: Bool
    cameras: Cameras
    told: Float

    @property
    def unit(self) -> float:
        """What lengths in pixels of pictures of the usual size are in these."""
        return float(max(self.images.shape[1:3])) / _UNIT

    @cached_property
    def textured(self) -> Image:
        """See `colours.textured`."""
        return textured(self.images)

    @cached_property
    def costs(self) -> tuple[Float, Float]:
        """See `boundary_costs`."""
        return boundary_costs(self.images)

    def smaller(self, pixels: int) -> Pictures:
        """With so many pixels on the longer side, at most."""
        height, width = self.images.shape[1:3]
        if max(height, width) <= pixels:
            return self
        factor = pixels / max(height, width)
        size = (round(factor * width), round(factor * height))
        images = [cv2.resize(image, size, interpolation=cv2.INTER_AREA) for image in self.images]
        photo = [cv2.resize(each.astype(np.float32), size) > 0.5 for each in self.photo]
        told = [cv2.resize(each, size, interpolation=cv2.INTER_NEAREST) for each in self.told]
        return Pictures(np.stack(images), np.stack(photo), self.cameras.scaled(*size), np.stack(told))

    def multiplied(self, gain: Float) -> Pictures:
        """With each one's channels multiplied by gain (N,3)."""
        return replace(self, images=multiplied(self.images, gain))


class Judgement(NamedTuple):
    """inside (N,h,w) in [0,1], near 1 for the object; evidence (N,h,w): how sure, negative for the rest, as
    logarithm of the likelihoods' ratio.
    """

    inside: Float
    evidence: Float


class _Behind(NamedTuple):
    """What the plate says of pixels (N,h,w): the density of their colours by it, where it is known, where not
    since the object may stand there, and where they are not as it shows.
    """

    density: Float
    known: Bool
    doubted: Bool
    missed: Bool


def first(pictures: Pictures, plane: Plane | None) -> Judgement:
    """Before anything is known of the object but that it is in the region: its colours are those that hide
    the plate, or without one those in the region's middle.
    """
    photo = pictures.photo
    region = within(pictures.cameras, 1.0)
    behind = _behind(pictures, plane, None)
    if plane is None:
        own, rest = within(pictures.cameras, 0.3) & photo, ~region & photo
    else:
        kernel = np.ones((3, 3), np.uint8)
        missed = np.stack(
            [cv2.morphologyEx(m.astype(np.uint8), cv2.MORPH_OPEN, kernel) for m in behind.missed]
        )
        own = (missed > 0) & within(pictures.cameras, _SEED) & photo
        rest = (~region & photo) | (behind.known & (missed == 0))
    pixels = pictures.textured
    by_own, by_rest = (density(table(pixels[where]), pixels) for where in (own, rest))
    evidence = _by_colour(by_own, by_rest, behind)
    evidence = np.where(behind.known, evidence, np.clip(evidence, -_WEAK, _WEAK))
    evidence = _blurred(np.where(region, evidence, -_CERTAIN), 3) + pictures.told
    evidence[~photo] = 0
    return Judgement((evidence > 0).astype(np.float32), evidence)


def judge(
    pictures: Pictures, plane: Plane | None, field: Float, grid: Grid, before: Judgement | None
) -> Judgement:
    """What the object in space, negative in `field` on `grid`, makes likely. before: of the same pictures."""
    photo, unit = pictures.photo, pictures.unit
    outline = silhouettes(field, grid, pictures.cameras)
    distance = np.stack([_signed_distance(each) for each in outline]) / np.float32(unit)
    behind = _behind(pictures, plane, (field, grid))
    core = (distance > _CORE) & photo
    if before is not None:
        core &= before.inside > 0.5
    clear = (distance < -_CLEAR) & photo & ~behind.doubted
    near, wide = clear & (distance > -_NEAR), clear & (distance > -_WIDE)
    own = density(table(pictures.textured[core]), pictures.textured)
    rest = around(pictures.textured, near, wide)
    rest = nearby(pictures.images, clear & ~behind.known, rest, unit)
    by_colour = _by_colour(own, rest, behind)
    prior = np.clip(distance / np.float32(_FALLOFF), -_OUTSIDE, _INSIDE)
    told = _trusted(pictures.told, outline)
    evidence = np.where(photo, by_colour + prior + told, np.float32(-2 * _CERTAIN))
    boxes = _boxes(outline, round(_PAD * unit))
    inside = cut((evidence / unit).astype(np.float32), pictures.costs, _SMOOTH, boxes, round(_STEPS * unit))
    inside = np.maximum(inside, _holes(inside > 0.5, outline))
    evidence = np.float32(2 * _CERTAIN) * (inside - np.float32(0.5))
    doubt = _blurred(np.clip(by_colour, -_DOUBTED, _DOUBTED), 5) + told
    evidence = np.where(behind.doubted, doubt, evidence)
    evidence = np.where(np.abs(told) >= DECIDED, told, evidence)
    evidence[~photo] = 0
    return Judgement(inside, evidence)


def _behind(pictures: Pictures, plane: Plane | None, thing: tuple[Float, Grid] | None) -> _Behind:
    """thing: the object in space, where it is known already."""
    photo, cameras = pictures.photo, pictures.cameras
    shape, usable = photo.shape, photo
    if plane is None:
        nothing = np.zeros(shape, bool)
        return _Behind(np.zeros(shape, np.float32), nothing, nothing, nothing)
    stands = None
    if thing is not None:
        field, grid = thing
        points = grid.points(field < 0)
        over = points @ plane.normal - plane.height
        stands = footprint(points[over < _LOW], plane, _MARGIN)
        high = np.full(field.shape, np.float32(grid.spacing))
        high[field < 0] = np.where(over > _HIGH, field[field < 0], np.float32(grid.spacing))
        if (high < 0).any():
            hidden = silhouettes(high, grid, cameras).astype(np.uint8)
            usable = usable & ~np.stack([cv2.dilate(each, np.ones((3, 3), np.uint8)) > 0 for each in hidden])
    found = plate(pictures.images, usable, cameras, plane)
    if thing is not None:  # what hangs over the plane hides it from all but the lowest cameras
        found = found.filled(
            plate(pictures.images, photo & _low(cameras, plane)[:, None, None], cameras, plane)
        )
    known = found.known if stands is None else found.known & (~stands | found.focused)
    doubted = np.zeros_like(known) if stands is None else stands & ~found.focused
    return _compared(pictures, plane, found, known, doubted)


def _low(cameras: Cameras, plane: Plane) -> Bool:
    """(N,) the half of the cameras that look along the plane more than the others."""
    rise = (cameras.centres @ plane.normal - plane.height) / np.linalg.norm(cameras.centres, axis=1)
    return np.asarray(rise <= np.median(rise))


def _compared(pictures: Pictures, plane: Plane, found: Plate, known: Bool, doubted: Bool) -> _Behind:
    cameras, shape = pictures.cameras, pictures.photo.shape
    likely, shown, missed = np.zeros(shape, np.float32), np.zeros(shape, bool), np.zeros(shape, bool)
    for n, image in enumerate(pictures.images):  # one at a time: colours of all would take much memory
        camera = cameras.select([n])
        colour = in_views(found.colour, camera, plane)[0]
        shown[n] = in_views(known, camera, plane)[0] > 0.9
        noise = np.maximum(in_views(found.noise * known, camera, plane)[0], np.float32(1))
        slope = np.float32(_OFF * pictures.unit) * _steepness(colour)
        variance = noise**2 + slope**2 + 1
        off = ((image - colour) ** 2).sum(-1) / variance
        likely[n] = np.exp(-off / 2) / (2 * np.pi * variance) ** 1.5
        missed[n] = shown[n] & (off > _MISSED**2)
    return _Behind(likely, shown, in_views(doubted, cameras, plane) > 0.1, missed)


def _trusted(told: Float, outlines: Bool) -> Float:
    """(N,h,w) what was told, less of it in photos where it has little in common with the object in space;
    but what is decided as it is.
    """
    trusted = told.copy()
    for here, outline in zip(trusted, outlines, strict=True):
        own = here > 0
        common = (own & outline).sum() / max((own | outline).sum(), 1)
        here[np.abs(here) < DECIDED] *= np.clip((common - _LEAST_COMMON) / (1 - _LEAST_COMMON), 0, 1)
    return trusted


def _by_colour(own: Float, rest: Float, behind: _Behind) -> Float:
    """(N,h,w) logarithm of how much likelier pixels are the object, by the density of what they show among
    the object's and among the rest.
    """
    known = np.float32(_LIKE_PLATE) * behind.density + np.float32(1 - _LIKE_PLATE) * rest
    tiny = np.float32(1e-12)
    other = np.where(behind.known, known, rest)
    ratio: Float = np.clip(np.log(own + tiny) - np.log(other + tiny), -_MOST, _MOST)
    return ratio


def _signed_distance(mask: Bool) -> Float:
    """(h,w) pixels to the outline, positive inside; many where there is none."""
    inside = cv2.distanceTransform(mask.astype(np.uint8), cv2.DIST_L2, 5)
    outside = cv2.distanceTransform((~mask).astype(np.uint8), cv2.DIST_L2, 5)
    most = max(mask.shape)
    return np.asarray(np.clip(inside - outside, -most, most), np.float32)


def _steepness(picture: Float) -> Float:
    """(h,w) largest change a pixel of a channel of (h,w,3)."""
    slopes = [np.abs(cv2.Sobel(picture, cv2.CV_32F, *way, scale=1 / 8)).max(-1) for way in ((1, 0), (0, 1))]
    return np.asarray(np.hypot(*slopes), np.float32)


def _blurred(values: Float, size: int) -> Float:
    return np.stack([cv2.blur(each.astype(np.float32), (size, size)) for each in values])


def _boxes(masks: Bool, margin: int) -> NDArray[np.int64]:
    """(N,4) left, top, right, bottom around the masks; no pixel where there is none."""
    boxes = np.zeros((len(masks), 4), np.int64)
    for box, mask in zip(boxes, masks, strict=True):
        rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
        if len(rows):
            box[:2] = max(columns[0] - margin, 0), max(rows[0] - margin, 0)
            box[2:] = min(columns[-1] + margin + 1, mask.shape[1]), min(rows[-1] + margin + 1, mask.shape[0])
    return boxes


def _holes(masks: Bool, outlines: Bool) -> Bool:
    """(N,h,w) small holes of the masks within the outlines."""
    holes = np.zeros_like(masks)
    for hole, mask, outline in zip(holes, masks, outlines, strict=True):
        parts, count = ndimage.label(~mask)
        size = np.bincount(parts.ravel(), minlength=count + 1)
        covered = np.bincount(parts.ravel(), outline.ravel(), minlength=count + 1)
        small = (size < _HOLE * mask.size) & (covered > 0.9 * size)
        small[0] = False
        hole[:] = small[parts]
    return holes
