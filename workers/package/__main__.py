"""`python -m workers.package --in DIR --out DIR`: this stage on folders."""

from workers.runtime.offline import main

main("workers.package.compute", {"up": None, "scale": None, "origin": "world", "turntable": True})
