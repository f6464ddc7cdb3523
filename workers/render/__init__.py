"""Rasterisers with nvdiffrast's interface, plain and differentiable; light, shading, and the pictures made with them."""
