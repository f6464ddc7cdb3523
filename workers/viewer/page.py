"""A model and the viewer as one HTML file."""

from __future__ import annotations

import base64
import html
from importlib.resources import files


def page(glb: bytes, title: str) -> str:
    """Shows the model in any browser with WebGL 2, from a disk too. glb: glTF 2.0 without compressed
    buffers."""
    here = files("workers.viewer")
    text = {
        name: (here / name).read_text(encoding="utf-8") for name in ("page.html", "viewer.css", "viewer.js")
    }
    return (
        text["page.html"]
        .replace("/* viewer.css */", text["viewer.css"])
        .replace("/* viewer.js */", text["viewer.js"])
        .replace("{{ title }}", html.escape(title))
        .replace("{{ model }}", base64.b64encode(glb).decode())  # last: nothing is looked for in it
    )
