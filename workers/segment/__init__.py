"""poses.ready -> masks.ready: which pixels of each image are the object."""
