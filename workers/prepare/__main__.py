"""`python -m workers.prepare --in DIR --out DIR`: this stage on folders."""

from workers.runtime.offline import main

main(
    "workers.prepare.compute",
    {
        "kind": "auto",
        "largest": 512,
        "ignore_masks": False,
        "ignore_poses": False,
        "refine_poses": "auto",
        "mapper": "incremental",
        "networks": {},
        "known_length": None,
        "marker": None,
    },
)
