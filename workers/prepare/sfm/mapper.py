"""A program that maps: what it is asked comes on stdin, the answer goes to stdout.

COLMAP ends the process it runs in where an assumption of its own fails, and takes over its signals; so
`mapping` runs this file beside its own process, and nothing of ours is imported here.
"""

from __future__ import annotations

import ctypes
import os
import pickle
import signal
import sys
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pycolmap
from numpy.typing import NDArray

Array = NDArray[np.float64]
Matches = dict[tuple[int, int], NDArray[np.uint32]]

_PR_SET_PDEATHSIG = 1  # of Linux' prctl
_OPENGL = np.diag([1.0, -1.0, -1.0])  # between its camera axes and OpenCV's
_WITHIN = 3.0  # pixels of a picture of 640, from the epipolar line
_FARTHEST = 4.0  # such pixels, of a point from where it was seen
_LEAST_ANGLE = 1.5  # degrees between the rays to a point
_FEWEST = 8  # matches between two photos
_MUCH = 4
_MANY = 15  # photos by which one lens is known well enough to find its middle
_ITERATIONS = 40
_FOUND, _GIVEN = (1.0, 1.0), (16.0, 6.0, 2.0, 1.0)  # times as far off, round by round
_ABOUT_ALL = 0.95
_CLEARLY = 1.02  # better: a map that agrees with a little more may fit what it has worse


def main() -> None:
    """One question, the arguments of `answer`; one answer, what that returns or raises."""
    with suppress(AttributeError):  # elsewhere it ends when it has answered
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what libraries print
    for level in (
        "INFO",
        "WARNING",
        "ERROR",
        "FATAL",
    ):  # to no files, which would stay in the temporary folder
        pycolmap.logging.set_log_destination(getattr(pycolmap.logging.Level, level), "")
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)  # it warns of each photo that it was not given to read
    question = pickle.load(sys.stdin.buffer)
    try:
        with tempfile.TemporaryDirectory(prefix="phototwin-sfm-") as folder:
            found: object = answer(Path(folder), **question)
    except Exception as error:
        found = RuntimeError(str(error))
    pickle.dump(found, answers)
    answers.close()


def answer(
    folder: Path,
    cameras: list[dict[str, Any]],
    camera_of: list[int],
    keypoints: list[NDArray[np.float32]],
    trusted: list[Matches],
    verified: Matches,
    matches: Matches,
    method: str,
    poses: Array | None,
    pixel: float,
    threads: int,
) -> dict[str, Any]:
    """`mapping.Question` explains the arguments, `mapping.Map` the answer."""
    scene = Scene(folder, cameras, camera_of, keypoints, pixel, threads)
    others: list[int] = []
    if poses is None:
        model, others = scene.best(trusted, verified, method)
    else:
        model = scene.posed(poses)
    rounds = _FOUND if poses is None else _GIVEN
    for number, slack in enumerate(rounds, start=1):
        last = number == len(rounds)
        agreeing = scene.agreeing(model, matches, verified, slack)
        model = scene.completed(model, agreeing, slack, extend=last and poses is None)
        scene.adjusted(model, slack, last=last)
    error = model.compute_mean_reprojection_error()
    misfit = (
        None if poses is None else (scene.misfit(scene.posed(poses), agreeing), scene.misfit(model, agreeing))
    )
    strong = {pair: verified[pair] for chosen in trusted for pair in chosen} or verified
    agreement = scene.agreement(model, strong)
    return {**scene.told(model), "others": others, "error": error, "agreement": agreement, "misfit": misfit}


class View(NamedTuple):
    """rays (F,3) through the features, at unit depth; w2c (3,4), OpenCV's camera axes; focal: in pixels."""

    rays: Array
    w2c: Array
    focal: float


class Scene:
    """Photos, their features and lenses, as COLMAP wants them: photo i is its image i + 1."""

    def __init__(
        self,
        folder: Path,
        cameras: list[dict[str, Any]],
        camera_of: list[int],
        keypoints: list[NDArray[np.float32]],
        pixel: float,
        threads: int,
    ) -> None:
        self.folder = folder
        self.cameras = cameras
        self.camera_of = camera_of
        self.keypoints = keypoints
        self.pixel = pixel
        self.threads = threads
        self._databases = 0

    def best(
        self, trusted: list[Matches], verified: Matches, method: str
    ) -> tuple[pycolmap.Reconstruction, list[int]]:
        """Of the maps begun from one set of pairs or another, the one that agrees with most of what the
        photos' strongest partners share; the first that agrees with about all of it."""
        strong = {pair: verified[pair] for matches in trusted for pair in matches}
        best, chosen = -1.0, (pycolmap.Reconstruction(), [0])
        for matches in trusted:
            model, others = self.mapped(matches, method)
            agreed = self.agreement(model, strong)
            if agreed > _CLEARLY * best:
                best, chosen = agreed, (model, others)
            if agreed > _ABOUT_ALL:
                break
        return chosen

    def mapped(self, matches: Matches, method: str) -> tuple[pycolmap.Reconstruction, list[int]]:
        """The largest model, and how many photos the others have. RuntimeError where there is none."""
        database = self._database(matches)
        if method == "global":
            options = pycolmap.GlobalPipelineOptions()
            options.random_seed, options.num_threads = 0, self.threads
            adjustment = options.mapper.bundle_adjustment
            adjustment.refine_focal_length = adjustment.refine_extra_params = False
            models = pycolmap.global_mapping(database, self.folder, self._new_folder(), options)
        else:
            models = pycolmap.incremental_mapping(database, self.folder, self._new_folder(), self._pipeline())
        if not models:
            raise RuntimeError("no two photos fit together")
        ranked = sorted(models.values(), key=lambda model: -model.num_reg_images())
        return ranked[0], [model.num_reg_images() for model in ranked[1:]]

    def posed(self, poses: Array) -> pycolmap.Reconstruction:
        """A model without points: cameras where they are said to be, OpenGL camera-to-world (N,4,4)."""
        model = pycolmap.Reconstruction()
        for number in range(len(self.cameras)):
            model.add_camera_with_trivial_rig(self._camera(number))
        for index, pose in enumerate(poses):
            image = pycolmap.Image(
                name=f"{index:04}", camera_id=self.camera_of[index] + 1, image_id=index + 1
            )
            image.points2D = pycolmap.Point2DList([pycolmap.Point2D(xy) for xy in self.keypoints[index]])
            rotation = _OPENGL @ pose[:3, :3].T
            towards = np.concatenate([rotation, -(rotation @ pose[:3, 3])[:, None]], axis=1)
            model.add_image_with_trivial_frame(image, pycolmap.Rigid3d(towards))
        return model

    def agreeing(
        self, model: pycolmap.Reconstruction, matches: Matches, verified: Matches, slack: float
    ) -> Matches:
        """Matches within reach of the epipolar lines of the model's cameras; of those that fit an epipolar
        geometry of their own, where the model lacks one of two photos, or may be much off."""
        views = self._views(model)
        kept: Matches = {}
        for (one, other), pairs in matches.items():
            if one in views and other in views:
                source = verified.get((one, other), pairs[:0]) if slack > _MUCH else pairs
                fit = source[_sampson(views[one], views[other], source) < _WITHIN * self.pixel * slack]
            else:
                fit = verified.get((one, other), pairs[:0])
            if len(fit) >= _FEWEST:
                kept[one, other] = fit
        return kept

    def agreement(self, model: pycolmap.Reconstruction, matches: Matches) -> float:
        """Share of the matches that agree with the model."""
        whole = sum(len(rows) for rows in matches.values())
        return sum(len(rows) for rows in self.agreeing(model, matches, {}, 1.0).values()) / max(1, whole)

    def misfit(self, model: pycolmap.Reconstruction, matches: Matches) -> float:
        """Median distance in pixels of the matches from their epipolar lines."""
        views = self._views(model)
        errors = [_sampson(views[one], views[other], pairs) for (one, other), pairs in matches.items()]
        return float(np.median(np.concatenate(errors))) if errors else float("inf")

    def _views(self, model: pycolmap.Reconstruction) -> dict[int, View]:
        views = {}
        for number, image in model.images.items():
            if image.has_pose:
                camera = model.cameras[image.camera_id]
                rays = _rays(camera, self.keypoints[number - 1])
                views[number - 1] = View(rays, image.cam_from_world().matrix(), camera.mean_focal_length())
        return views

    def completed(
        self, model: pycolmap.Reconstruction, matches: Matches, slack: float, *, extend: bool
    ) -> pycolmap.Reconstruction:
        """The model with new points from the matches; with `extend` more photos too."""
        database = self._database(matches)
        options = self._pipeline(slack)
        model = pycolmap.triangulate_points(
            model, database, self.folder, self._new_folder(), clear_points=True, options=options
        )
        if not extend or model.num_reg_images() == len(self.keypoints):
            return model
        start = self._new_folder()
        model.write(start)
        models = pycolmap.incremental_mapping(
            database, self.folder, self._new_folder(), options, input_path=start
        )
        return max(models.values(), key=lambda each: each.num_reg_images(), default=model)

    def adjusted(self, model: pycolmap.Reconstruction, slack: float, *, last: bool) -> None:
        """Cameras, points and, where they are not known, lenses, moved to where they fit best."""
        options = pycolmap.BundleAdjustmentOptions()
        options.print_summary = False
        options.ceres.solver_options.max_num_iterations = _ITERATIONS
        options.ceres.solver_options.num_threads = self.threads
        options.ceres.solver_options.function_tolerance = 1e-5
        options.ceres.loss_function_type = pycolmap.LossFunctionType.SOFT_L1
        options.ceres.loss_function_scale = self.pixel * slack
        known = all(camera["known"] for camera in self.cameras)
        options.refine_focal_length = options.refine_extra_params = not known
        options.refine_principal_point = last and not known and self._seen_by_many(model)
        if last:
            for camera in model.cameras.values():
                _freed(camera)
        pycolmap.bundle_adjustment(model, options)
        model.update_point_3d_errors()
        if last:
            for number in list(model.points3D):
                if model.points3D[number].error > _FARTHEST * self.pixel:
                    model.delete_point3D(number)

    def told(self, model: pycolmap.Reconstruction) -> dict[str, Any]:
        count = len(self.keypoints)
        c2w = np.full((count, 4, 4), np.nan)
        for number, image in model.images.items():
            if image.has_pose:
                rotation = image.cam_from_world().rotation.matrix().T @ _OPENGL
                c2w[number - 1] = np.eye(4)
                c2w[number - 1, :3, :3] = rotation
                c2w[number - 1, :3, 3] = image.projection_center()
        points = sorted(model.points3D)
        seen = [
            (row, element.image_id - 1, element.point2D_idx)
            for row, number in enumerate(points)
            for element in model.points3D[number].track.elements
        ]
        lenses = [
            _opencv(model.cameras[number + 1]) if number + 1 in model.cameras else [np.nan] * 8
            for number in range(len(self.cameras))
        ]
        places = np.array([model.points3D[number].xyz for number in points]).reshape(-1, 3)
        # Threads add in no certain order: the last digits, which mean nothing, would differ from run to run.
        return {
            "c2w": c2w.round(10),
            "lenses": np.array(lenses).round(7),
            "points": places.round(10),
            "seen": np.array(seen, np.int64).reshape(-1, 3),
        }

    def _seen_by_many(self, model: pycolmap.Reconstruction) -> bool:
        used = [image.camera_id for image in model.images.values() if image.has_pose]
        return min(used.count(camera) for camera in set(used)) >= _MANY

    def _pipeline(self, slack: float = 1.0) -> pycolmap.IncrementalPipelineOptions:
        options = pycolmap.IncrementalPipelineOptions()
        options.extract_colors = False
        options.random_seed = options.mapper.random_seed = options.triangulation.random_seed = 0
        options.num_threads = self.threads
        options.min_model_size = 3
        # It takes ten times as long to find a place for photos that have none, and finds wrong ones.
        options.structure_less_registration_fallback = False
        options.ba_global_frames_ratio = options.ba_global_points_ratio = 1.3
        options.mapper.filter_max_reproj_error = _FARTHEST * self.pixel * slack
        for name in ("create_max_angle_error", "continue_max_angle_error"):
            setattr(options.triangulation, name, 2.0 * max(1.0, slack / 4))
        for name in ("merge_max_reproj_error", "complete_max_reproj_error"):
            setattr(options.triangulation, name, _FARTHEST * self.pixel * slack)
        options.mapper.filter_min_tri_angle = options.triangulation.min_angle = _LEAST_ANGLE
        if all(camera["known"] for camera in self.cameras):
            options.ba_refine_focal_length = options.ba_refine_extra_params = False
            options.mapper.abs_pose_refine_focal_length = False
            options.mapper.abs_pose_refine_extra_params = False
        return options

    def _camera(self, number: int) -> pycolmap.Camera:
        """SIMPLE_RADIAL where the lens is to be found: more could not be told from a few photos."""
        told = self.cameras[number]
        width, height = told["size"]
        model = "OPENCV" if told["known"] else "SIMPLE_RADIAL"
        fx, fy, cx, cy, *distortion = told["lens"]
        camera = pycolmap.Camera.create_from_model_name(number + 1, model, fx, width, height)
        camera.params = [fx, fy, cx, cy, *distortion] if told["known"] else [(fx + fy) / 2, cx, cy, 0.0]
        camera.has_prior_focal_length = told["known"] or told["guessed_well"]
        return camera

    def _database(self, matches: Matches) -> Path:
        self._databases += 1
        path = self.folder / f"{self._databases}.db"
        database = pycolmap.Database.open(path)
        for number in range(len(self.cameras)):
            camera = database.write_camera(self._camera(number), use_camera_id=True)
            rig = pycolmap.Rig(rig_id=camera)
            rig.add_ref_sensor(pycolmap.sensor_t(type=pycolmap.SensorType.CAMERA, id=camera))
            database.write_rig(rig, use_rig_id=True)
        for index, xy in enumerate(self.keypoints):
            camera = self.camera_of[index] + 1
            image = pycolmap.Image(name=f"{index:04}", camera_id=camera, image_id=index + 1)
            database.write_image(image, use_image_id=True)
            frame = pycolmap.Frame(frame_id=index + 1, rig_id=camera)
            sensor = pycolmap.sensor_t(type=pycolmap.SensorType.CAMERA, id=camera)
            frame.add_data_id(pycolmap.data_t(sensor_id=sensor, id=index + 1))
            database.write_frame(frame, use_frame_id=True)
            database.write_keypoints(index + 1, xy)
        for (one, other), pairs in matches.items():
            database.write_matches(one + 1, other + 1, pairs)
            geometry = pycolmap.TwoViewGeometry()
            geometry.config = pycolmap.TwoViewGeometryConfiguration.UNCALIBRATED.value
            geometry.inlier_matches = pairs
            database.write_two_view_geometry(one + 1, other + 1, geometry)
        database.close()
        return path

    def _new_folder(self) -> Path:
        return Path(tempfile.mkdtemp(dir=self.folder))


def _freed(camera: pycolmap.Camera) -> None:
    """RADIAL from SIMPLE_RADIAL: phones' pixels are square and their lenses centred, so more is but noise."""
    if camera.model == pycolmap.CameraModelId.SIMPLE_RADIAL:
        camera.model, camera.params = pycolmap.CameraModelId.RADIAL, [*camera.params, 0]


def _opencv(camera: pycolmap.Camera) -> list[float]:
    """fx, fy, cx, cy, k1, k2, p1, p2."""
    if camera.model == pycolmap.CameraModelId.RADIAL:
        f, cx, cy, k1, k2 = camera.params
        return [f, f, cx, cy, k1, k2, 0.0, 0.0]
    return [float(value) for value in camera.params]


def _rays(camera: pycolmap.Camera, xy: NDArray[np.float32]) -> Array:
    """(F,3) directions through the pixels, in OpenCV's camera axes, at unit depth."""
    plane = np.asarray(camera.cam_from_img(xy.astype(np.float64)), np.float64).reshape(-1, 2)
    return np.concatenate([plane, np.ones((len(plane), 1))], axis=1)


def _sampson(one: View, other: View, matches: NDArray[np.uint32]) -> Array:
    """(M,) first-order distances in pixels of matches (M,2) from their epipolar lines (Sampson 1982)."""
    rotation = other.w2c[:, :3] @ one.w2c[:, :3].T
    x, y, z = other.w2c[:, 3] - rotation @ one.w2c[:, 3]
    essential = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]]) @ rotation
    here, there = one.rays[matches[:, 0]], other.rays[matches[:, 1]]
    line, back = here @ essential.T, there @ essential
    squares = (line[:, :2] ** 2).sum(1) + (back[:, :2] ** 2).sum(1)
    distance: Array = np.abs((there * line).sum(1)) / np.sqrt(np.maximum(squares, 1e-18))
    return distance * (one.focal + other.focal) / 2


if __name__ == "__main__":
    main()
