"""Reconstruction methods, one folder each, found by the entry point group `phototwin.methods`."""

from workers.reconstruct.methods.model import Report, Scene, Settings, TexturedMesh

__all__ = ["Report", "Scene", "Settings", "TexturedMesh"]
