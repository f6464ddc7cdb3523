"""Segmentation by neural networks, whose weights lie in a folder and are never downloaded by a job.

Each module has `segment(images, folder, files, report) -> masks`:

    images  (N,h,w,3) uint8 sRGB
    folder  of the weights
    files   digests ("sha512:…", "sha256:…") by file name: the weights to use, which alone decide the masks
    report  called with the part done and what it was
    masks   (N,h,w) float32 in [0,1], near 1 on the object

Raises NumericError: "segmenter_unavailable", "weights_missing", "weights_damaged", "weights_unusable".
"""
