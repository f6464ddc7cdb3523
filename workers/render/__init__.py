"""Forward rasteriser on the CPU, with nvdiffrast's interface, and the pictures made with it."""
