"""The long form: python -m tests.security --inputs 10000 --seed 1

Spoils valid inputs of every kind, gives them to what reads them, and prints a table. Ends with 1 where one
ended in anything but an error of ours, took longer than it may, or killed the process; its bytes are then in
the folder that is named.
"""

import argparse
import sys
import tempfile
from pathlib import Path

from tests.security.fuzzing import apart
from tests.security.targets import TARGETS

MEGABYTES = 1024


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--inputs", type=int, default=10_000, help="of all kinds together")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--kinds", nargs="*", default=list(TARGETS), choices=list(TARGETS))
    asked = parser.parse_args()
    kept = Path(tempfile.mkdtemp(prefix="phototwin-security-"))
    each, bugs = -(-asked.inputs // len(asked.kinds)), list[str]()
    print(f"{'kind':24} {'inputs':>6} {'accepted':>8} {'rejected':>8} {'slowest':>8} {'peak':>8} {'all':>6}")
    for kind in asked.kinds:
        tally = apart(kind, each, asked.seed, kept)
        accepted = tally.codes.pop("accepted", 0)
        rejected = ", ".join(f"{code} {count}" for code, count in tally.codes.most_common())
        print(
            f"{kind:24} {each:6} {accepted:8} {sum(tally.codes.values()):8} {tally.slowest:6.2f} s"
            f" {tally.megabytes:5.0f} MB {tally.seconds:4.0f} s   {rejected}",
            flush=True,
        )
        if tally.megabytes > MEGABYTES:
            tally.bugs.append(f"{kind}: the process had {tally.megabytes:.0f} MB")
        bugs += tally.bugs
    print("\n".join(bugs) or f"{each * len(asked.kinds)} inputs, and each ended as it should")
    if bugs:
        sys.exit(f"{len(bugs)} did not; their bytes are in {kept}")
    kept.rmdir()


if __name__ == "__main__":
    main()
