"""dataset.uploaded -> poses.ready: any supported capture, as square undistorted images with poses."""
