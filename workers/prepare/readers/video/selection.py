"""Which frames of a video to keep: the sharpest of each window, the windows even in motion and not in time.

Numeric: frames come in as luma, answers go out as places in the order that they came in.
"""

from dataclasses import dataclass, field

import cv2
import numpy as np
from numpy.typing import NDArray

MEASURED_SIDE = 960
"""Pixels of the longer side that sharpness is measured at; half the frame's where that is less."""
FLOW_SIDE = 160
LEAST = 0.004
"""All motion is in longer sides of the frame. Frames nearer to each other are the same picture."""
NOISE = 0.001
TREMBLE = 0.02
"""How far a hand that holds still may sway."""
MOST = 0.15
"""Frames farther apart have too little in common to be matched well."""
BLURRED, BLURRED_SECONDS, BLURRED_FRAMES = 0.6, 0.3, 3
STANDING_SECONDS = 5.0

Image = NDArray[np.uint8]
Stretch = tuple[float, float]


@dataclass
class Meter:
    """Measures frames one after the other.

    sharpness: Tenengrad over squared mean. detail: that over the same at a quarter of the size, which
    depends less on what is in view. path: the sum of what the view moved from frame to frame. position:
    the same less a hand's tremble, which would add up: how far the view has come.
    """

    sharpness: list[float] = field(default_factory=list)
    detail: list[float] = field(default_factory=list)
    path: list[float] = field(default_factory=list)
    position: list[float] = field(default_factory=list)
    _last: Image | None = None
    _anchor: tuple[Image, float] | None = None

    def __post_init__(self) -> None:
        self._flow = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_ULTRAFAST)

    def add(self, luma: Image) -> None:
        """The next frame, (H, W)."""
        measured = _smaller(luma, max(2, round(max(luma.shape) / MEASURED_SIDE)))
        sharpness = _tenengrad(measured)
        self.sharpness.append(sharpness)
        self.detail.append(sharpness / max(_tenengrad(_smaller(measured, 4)), 1e-9))
        small = _smaller(measured, max(1.0, max(measured.shape) / FLOW_SIDE))
        moved = self._between(self._last, small)
        self.path.append((self.path[-1] if self.path else 0.0) + (moved if moved > NOISE else 0.0))
        self._last = small
        anchor, anchored = self._anchor or (small, 0.0)
        position = anchored + self._between(anchor, small)
        if self._anchor is None or position - anchored > TREMBLE:
            self._anchor = small, position
        self.position.append(max([position, *self.position[-1:]]))

    def choose(self, count: int) -> list[int]:
        """Which frames to keep, about `count`: all that differ where they are fewer, and up to twice as many
        where windows would otherwise span more than MOST."""
        different = self._sharpest(self.path, LEAST)
        if len(different) <= count:
            return different
        total = self.position[-1] * (1 + 1e-9)  # so that the last frame of all opens no window of its own
        width = max(min(total / count, MOST), total / (2 * count), LEAST)
        return self._sharpest(self.position, width)

    def blurred(self, times: list[float]) -> list[Stretch]:
        """From when to when frames have far less detail than the video's sharp ones; times in s, of each."""
        lost = np.array(self.detail) < BLURRED * np.percentile(self.detail, 80)
        runs = np.flatnonzero(np.diff(np.concatenate([[False], lost, [False]]))).reshape(-1, 2)
        long = [(times[first], times[end - 1]) for first, end in runs if end - first >= BLURRED_FRAMES]
        return [(start, end) for start, end in long if end - start >= BLURRED_SECONDS]

    def standing(self, times: list[float]) -> list[Stretch]:
        """From when to when the camera stood still, for long."""
        stretches = []
        first = 0
        while first < len(times):
            last = int(np.searchsorted(self.position, self.position[first] + TREMBLE, side="right")) - 1
            if times[last] - times[first] >= STANDING_SECONDS:
                stretches.append((times[first], times[last]))
                first = last
            first += 1
        return stretches

    def _between(self, before: Image | None, after: Image) -> float:
        """How far the view moved. The fastest twentieth of the picture counts: on a turntable, or before a
        plain wall, most of it shows no motion at all."""
        if before is None or before is after or before.shape != after.shape:
            return 0.0
        flow = np.asarray(self._flow.calc(before, after, None), np.float32)  # type: ignore[call-overload]
        squares = np.square(flow).sum(axis=2).ravel()
        fastest = len(squares) * 19 // 20
        return float(np.sqrt(np.partition(squares, fastest)[fastest]) / max(after.shape))

    def _sharpest(self, moved: list[float], width: float) -> list[int]:
        """The sharpest frame of each window of that width; of two that are the same picture, the sharper."""
        best: dict[int, int] = {}
        for frame, way in enumerate(moved):
            window = int(way / width)
            if window not in best or self.sharpness[frame] > self.sharpness[best[window]]:
                best[window] = frame
        kept: list[int] = []
        for frame in best.values():
            if not kept or moved[frame] - moved[kept[-1]] >= LEAST:
                kept.append(frame)
            elif self.sharpness[frame] > self.sharpness[kept[-1]]:
                kept[-1] = frame
        return kept


def _smaller(image: Image, factor: float) -> Image:
    height, width = (max(8, round(side / factor)) for side in image.shape)
    return np.asarray(cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA), np.uint8)


def _tenengrad(image: Image) -> float:
    """Mean squared gradient over squared mean brightness."""
    squares: float = sum(cv2.norm(cv2.Sobel(image, cv2.CV_16S, *order)) ** 2 for order in ((1, 0), (0, 1)))
    return float(squares / image.size / max(float(image.mean()), 1.0) ** 2)
