"""`python -m workers.reconstruct --in DIR --out DIR`: this stage on folders."""

from workers.runtime.offline import main

main("workers.reconstruct.compute", {"profile": "standard", "method": "auto", "seed": 0, "holdout": 8})
