"""Kills a sweep at random moments, repeats the same command until it ends, and compares with an undisturbed sweep.

    python benchmarks/chaos.py --kills 200

A sweep of two tiny jobs is killed (SIGKILL) while it trains, writes checkpoints, builds the cache, scores, writes its
report, is between two jobs, and at any time. Compared are weights, average, optimizer, samples, features, scores,
pictures, every logged value in all files of TensorBoard and in the CSV tables, the report, and the names of all files
that are there at the end: nothing may be lost, there twice, or left over.

Most commands are forked from a process that has imported everything; one in ten starts as a user starts it.
"""

import argparse
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from killing.campaign import Campaign


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0, help="of the random moments")
    parser.add_argument("--folder", type=Path, help="a new folder, in which sweeps that differ are kept")
    options = parser.parse_args()
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as name:
        campaign = Campaign(options.folder or Path(name), options.seed)
        for progress in campaign.run(options.kills):
            print(f"{time.monotonic() - began:.0f} s: {progress}", flush=True)
    print(campaign.result.table(), campaign.result.summary(), sep="\n\n")
    sys.exit(bool(campaign.result.differences))


if __name__ == "__main__":
    main()
