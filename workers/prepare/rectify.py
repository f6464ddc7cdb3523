"""From a photo to a square pinhole image: undistort, crop around the principal point, resize; in one
resampling. Pixels throughout, pixel centres at +0.5."""

import cv2
import numpy as np
from numpy.typing import NDArray

Intrinsics = tuple[float, float, float, float]
Distortion = tuple[float, float, float, float, float]
Crop = tuple[float, float, float, float]

MARGIN = 1.06
"""Room left around a mask, as a factor."""
EXACT = 1e-6


def square_crop(
    intrinsics: Intrinsics, width: int, height: int, mask: NDArray[np.bool_] | None, size: int
) -> Crop:
    """The crop x, y, width, height of the undistorted photo that becomes the square image.

    It is centred on the principal point, because `poses_bounds.npy` has no place for one, and may
    leave the photo. Without a mask (H, W) it is as large as the photo's shorter side; with one, as
    small as holds the object (but never enlarged beyond one photo pixel for one of `size`) and as
    large as that needs. Where fx and fy differ, so do its sides, and the image's focal lengths agree.
    """
    fx, fy, cx, cy = intrinsics
    side = float(min(width, height))
    if mask is not None and mask.any():
        rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
        reach = [
            cx - columns[0],
            columns[-1] + 1 - cx,
            (cy - rows[0]) * fx / fy,
            (rows[-1] + 1 - cy) * fx / fy,
        ]
        side = max(2 * MARGIN * max(reach), min(side, size))
    crop_height = side * fy / fx
    return cx - side / 2, cy - crop_height / 2, side, crop_height


def whole_crop(width: int, height: int) -> Crop:
    """All of a photo, in the middle of a square."""
    side = float(max(width, height))
    return (width - side) / 2, (height - side) / 2, side, side


def cropped_intrinsics(intrinsics: Intrinsics, crop: Crop, size: int) -> Intrinsics:
    """Of the square image: fx and fy equal, the principal point in the middle."""
    fx, fy, cx, cy = intrinsics
    x, y, width, height = crop
    return fx * size / width, fy * size / height, (cx - x) * size / width, (cy - y) * size / height


def folds(intrinsics: Intrinsics, distortion: Distortion, crop: Crop) -> bool:
    """Whether the distortion, so strong as to make no sense, maps two directions within the crop to one
    place in the photo: its radius (2 tangential terms aside) must grow all the way to the crop's edge."""
    k1, k2, _, _, k3 = distortion
    radii = np.linspace(0, crop[2] / 2 / intrinsics[0], 200)
    r2 = radii * radii
    slope = 1 + r2 * (3 * k1 + r2 * (5 * k2 + r2 * 7 * k3))
    return bool((slope <= 0).any())


def rectify(
    pixels: NDArray[np.uint8],
    intrinsics: Intrinsics,
    distortion: Distortion,
    crop: Crop,
    size: int,
    border: int = cv2.BORDER_REPLICATE,
) -> NDArray[np.uint8]:
    """(H, W) or (H, W, C) -> (size, size) or (size, size, C).

    What lies outside the photo repeats its edge, or is 0 with `border` cv2.BORDER_CONSTANT. A photo
    that needs no change is returned as it is. Distortion is OpenCV's k1, k2, p1, p2, k3.
    """
    width = crop[2]
    whole = (pixels.shape[1], pixels.shape[0]) == (size, size)
    if not any(distortion) and whole and np.abs(np.array(crop) - (0, 0, size, size)).max() < EXACT:
        return pixels
    # Twice the size, then averaged, keeps fine texture from aliasing; a much larger photo is
    # averaged down beforehand for the same reason.
    fine = 2 * size
    shrink = max(1.0, width / fine)
    small = (max(1, round(pixels.shape[1] / shrink)), max(1, round(pixels.shape[0] / shrink)))
    scale = np.array(small) / (pixels.shape[1], pixels.shape[0])
    source = pixels if shrink == 1.0 else cv2.resize(pixels, small, interpolation=cv2.INTER_AREA)
    maps = _source_of(intrinsics, distortion, crop, fine)
    maps = maps * scale.astype(np.float32) - np.float32(0.5)  # OpenCV's pixel centres are at +0
    sampled = cv2.remap(source, maps[..., 0], maps[..., 1], cv2.INTER_LINEAR, borderMode=border)
    return np.asarray(cv2.resize(sampled, (size, size), interpolation=cv2.INTER_AREA), np.uint8)


def rectify_straight_alpha(
    rgb: NDArray[np.uint8],
    alpha: NDArray[np.uint8],
    intrinsics: Intrinsics,
    distortion: Distortion,
    crop: Crop,
    size: int,
) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Colour (H, W, 3) and its alpha (H, W) together: resampled premultiplied, so that the unknown
    colour of transparent pixels does not bleed into the object's edge."""
    # Plane by plane in bytes: a large photo in floats would take gigabytes.
    premultiplied = (cv2.multiply(_plane(rgb, i), alpha, scale=1 / 255) for i in range(3))
    planes = [
        rectify(np.asarray(plane, np.uint8), intrinsics, distortion, crop, size, cv2.BORDER_CONSTANT)
        for plane in (*premultiplied, alpha)
    ]
    out_alpha = planes[3].astype(np.float32)
    colour = np.dstack(planes[:3]) / np.maximum(out_alpha[..., None] / 255, 1 / 255)
    return np.clip(colour + 0.5, 0, 255).astype(np.uint8), planes[3]


def _plane(rgb: NDArray[np.uint8], index: int) -> NDArray[np.uint8]:
    return np.ascontiguousarray(rgb[..., index])


def _source_of(intrinsics: Intrinsics, distortion: Distortion, crop: Crop, size: int) -> NDArray[np.float32]:
    """(size, size, 2): where in the photo (pixels, centres at +0.5) each pixel of the crop comes from."""
    fx, fy, cx, cy = intrinsics
    x, y, width, height = crop
    k1, k2, p1, p2, k3 = distortion
    steps = (np.arange(size) + 0.5) / size
    u = ((x + steps * width) - cx) / fx  # size, on the plane at unit depth
    v = (((y + steps * height) - cy) / fy)[:, None]
    r2 = u * u + v * v
    # Brown-Conrady, as in OpenCV's calib3d documentation.
    radial = 1 + r2 * (k1 + r2 * (k2 + r2 * k3))
    u_d = u * radial + 2 * p1 * u * v + p2 * (r2 + 2 * u * u)
    v_d = v * radial + p1 * (r2 + 2 * v * v) + 2 * p2 * u * v
    return np.dstack([u_d * fx + cx, v_d * fy + cy]).astype(np.float32)
