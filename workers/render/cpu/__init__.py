"""The differentiable rasteriser on the CPU: numba kernels with backward passes written out."""
