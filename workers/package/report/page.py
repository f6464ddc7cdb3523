"""The report as one HTML file that needs nothing else."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from typing import Any

import cv2
import numpy as np
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from workers.geometry.cameras import Cameras
from workers.geometry.images import encoded
from workers.package.model import Array, Image, Model
from workers.package.report import plots, words
from workers.package.report.judged import Judged
from workers.package.report.latency import latency

_POSTER = 560
_TEMPLATES = Environment(
    loader=PackageLoader("workers.package.report", "."),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)


def page(
    views: Sequence[Judged],
    cameras: Cameras,
    model: Model,
    up: Array,
    poster: Image,
    turntable: bytes | None,
    manifests: Mapping[str, Mapping[str, Any]],
    metrics: Mapping[str, Any],
) -> str:
    """views: in the order of the cameras. cameras, model, up (3,): in the capture's world. metrics: what
    package tells of the model."""
    mesh, dataset = manifests["mesh"]["metrics"], manifests["dataset"]["metrics"]
    towards = cameras.centres - (model.vertices.min(axis=0) + model.vertices.max(axis=0)) / 2
    towards /= np.linalg.norm(towards, axis=1, keepdims=True)
    held_out = [view.held_out for view in views]
    small = cv2.resize(poster, (_POSTER, _POSTER), interpolation=cv2.INTER_AREA)
    rounds = mesh.get("losses", [])
    masks = manifests["masks"]["metrics"].get("masks", {})
    seconds = {manifest["stage"]: manifest["usage"]["wall_seconds"] for manifest in manifests.values()}
    return _TEMPLATES.get_template("page.html").render(
        title=manifests["mesh"]["capture_id"],
        grade=metrics["judged"]["grade"],
        opening=words.opening(metrics["judged"]),
        poster=picture(np.asarray(small, np.uint8)),
        turntable=turntable and f"data:image/webp;base64,{base64.b64encode(turntable).decode()}",
        weak=metrics["weak"],
        advice=metrics["advice"],
        warnings=[sentence for manifest in manifests.values() for sentence in manifest["warnings"]],
        judged=metrics["judged"],
        columns=[(view, [picture(tile) for tile in view.tiles]) for view in views if view.tiles],
        views=views,
        masks=masks,
        outlines=Markup(plots.outlines(views)),
        directions=Markup(plots.directions(towards, up, held_out)),
        losses=Markup(plots.losses(rounds)) if rounds else None,
        times=Markup(plots.times(seconds)),
        latency=latency(manifests),
        mesh=mesh,
        dataset=dataset,
        surface=metrics["surface"],
        hygiene=metrics["hygiene"],
        files=metrics["files"],
        origin=metrics["provenance"],
    )


def picture(image: Image) -> str:
    """As a data URI."""
    content = encoded(image, ".jpg", cv2.IMWRITE_JPEG_QUALITY, 88)
    return f"data:image/jpeg;base64,{base64.b64encode(content).decode()}"
