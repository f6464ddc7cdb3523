"""`python -m workers.segment --in DIR --out DIR`: this stage on folders."""

from workers.runtime.offline import main

main("workers.segment.compute", {"threshold": 0.5, "segmenter": "auto", "weights": {}, "hints": []})
