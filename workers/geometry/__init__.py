"""Cameras, meshes and the compiled-kernel decorators every numeric module shares."""
