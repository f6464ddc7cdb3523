"""A decoded frame as a picture: the right colours, upright, with square pixels."""

from __future__ import annotations

import math
from fractions import Fraction
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
from numpy.typing import NDArray

from workers.prepare.readers.video.tones import Transfer, to_srgb

if TYPE_CHECKING:
    from av.video.frame import VideoFrame

# Numbers of ISO/IEC 23091-2 (H.273), which all these codecs use.
LIMITED, FULL = 1, 2
BT709, BT601, BT2020 = 1, 5, 9
MATRICES = {1: BT709, 4: 4, 5: BT601, 6: BT601, 7: 7, 9: BT2020, 10: BT2020}
TRANSFERS: dict[int, Transfer] = {16: "pq", 18: "hlg"}
PRIMARIES_BT709 = 1
HD_SIDE, HD_HEIGHT = 1280, 720


def luma(frame: VideoFrame) -> NDArray[np.uint8]:
    """(H, W), as stored: brightness, or green where the video is RGB."""
    plane, bits = frame.planes[0], frame.format.components[0].bits
    kind = np.uint8 if bits == 8 else np.uint16
    rows = np.frombuffer(plane, kind).reshape(plane.height, -1)[:, : plane.width]  # type: ignore[call-overload]
    return np.asarray(rows if bits == 8 else cv2.convertScaleAbs(rows, alpha=2.0 ** (8 - bits)), np.uint8)


def is_hdr(frame: VideoFrame) -> bool:
    return frame.color_trc in TRANSFERS


def to_rgb(frame: VideoFrame, aspect: Fraction) -> NDArray[np.uint8]:
    """(H, W, 3) sRGB. aspect: a stored pixel's width over its height.

    What the video does not say is taken as players do: limited range, and BT.709 from 1280 x 720 on.
    The tones of a video that is not HDR are taken for sRGB's.
    """
    from av.video.reformatter import Interpolation

    exact = Interpolation.FULL_CHR_H_INT | Interpolation.FULL_CHR_H_INP | Interpolation.ACCURATE_RND
    full = frame.color_range == FULL or frame.format.name.startswith("yuvj")
    large = max(frame.width, frame.height) >= HD_SIDE or frame.height >= HD_HEIGHT
    transfer = TRANSFERS.get(frame.color_trc)
    unsaid = BT2020 if transfer else BT709 if large else BT601
    matrix = MATRICES.get(frame.colorspace, unsaid)
    converted = frame.reformat(
        format="rgb48le" if transfer else "rgb24",
        src_colorspace=matrix,
        dst_colorspace=matrix,
        src_color_range=FULL if full or frame.format.is_rgb else LIMITED,
        dst_color_range=FULL,
        interpolation=Interpolation.BICUBIC | exact,
        threads=1,
    ).to_ndarray()
    if transfer:
        rgb = to_srgb(
            converted.astype(np.uint16, copy=False), transfer, frame.color_primaries != PRIMARIES_BT709
        )
    else:
        rgb = converted.astype(np.uint8, copy=False)
    return _upright(_square(rgb, aspect), _display_matrix(frame))


def rotation(frame: VideoFrame) -> int:
    """Degrees by which the stored picture is turned clockwise to be upright: 0, 90, 180 or 270."""
    a, b, _, _ = _display_matrix(frame)
    return round(math.degrees(math.atan2(b, a)) / 90) % 4 * 90


def _display_matrix(frame: VideoFrame) -> tuple[int, int, int, int]:
    """a, b, c, d of ISO/IEC 14496-12 6.2.2: a stored (x, y), y down, is shown at (ax + cy, bx + dy)."""
    data: Any = frame.side_data.get("DISPLAYMATRIX")
    if data is None:
        return 1, 0, 0, 1
    a, b, _, c, d = np.frombuffer(data, "<i4")[:5].tolist()
    return a, b, c, d


def _upright(image: NDArray[np.uint8], matrix: tuple[int, int, int, int]) -> NDArray[np.uint8]:
    """Turned and mirrored by the quarter turn nearest to the matrix."""
    a, b, c, d = matrix
    if abs(b) + abs(c) > abs(a) + abs(d):
        image, a, d = image.transpose(1, 0, 2), c, b
    image = image[:, ::-1] if a < 0 else image
    return np.ascontiguousarray(image[::-1] if d < 0 else image)


def _square(image: NDArray[np.uint8], aspect: Fraction) -> NDArray[np.uint8]:
    if aspect == 1:
        return image
    height, width = image.shape[:2]
    stretched = (round(width * aspect), height) if aspect > 1 else (width, round(height / aspect))
    return np.asarray(cv2.resize(image, stretched, interpolation=cv2.INTER_CUBIC), np.uint8)
