"""`python -m workers.prepare --in DIR --out DIR`: this stage on folders."""

from workers.prepare.compute import DEFAULTS
from workers.runtime.offline import main

main("workers.prepare.compute", DEFAULTS)
