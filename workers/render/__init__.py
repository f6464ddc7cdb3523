"""Rasterisers with nvdiffrast's interface, light and shading, and the pictures made with them."""
