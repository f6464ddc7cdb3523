"""mesh.ready -> model.ready: the files that people and programs open."""
