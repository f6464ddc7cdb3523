"""A phone capture of an object that does not exist: photos, poses and masks, and the truth beside them.

`capture.simulate` writes it all. The rest is numeric: `shape` (the solid), `paint` (its colours), `room` (the
light), `table` (what it stands on), `cameras` (the walk around it), `render` (one photo), `truth` (the mesh).
"""
