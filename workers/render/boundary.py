"""What a texture look-up does beyond the border."""

from typing import Literal

Boundary = Literal["clamp", "wrap", "cube"]
"""Repeat the border's texels, start over at the other side, or take directions into a cube map."""
