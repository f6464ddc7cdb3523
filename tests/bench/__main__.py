"""`python -m tests.bench`: how good the models are and what they cost."""

import sys

from tests.bench.quality import main

sys.exit(main())
