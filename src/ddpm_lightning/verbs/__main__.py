"""`python -m ddpm_lightning.verbs train ...`: the form in which jobs and ranks start the command `ddpm-train ...`."""

import sys

from ddpm_lightning.verbs import commands

VERBS = {
    "train": commands.train,
    "evaluate": commands.evaluate,
    "sample": commands.sample,
    "report": commands.report,
    "export": commands.export,
}

if __name__ == "__main__":
    verb = sys.argv.pop(1) if len(sys.argv) > 1 else ""
    if verb not in VERBS:
        sys.exit(f"python -m ddpm_lightning.verbs needs one of {', '.join(VERBS)}, not {verb!r}")
    sys.argv[0] = f"ddpm-{verb}"
    VERBS[verb]()
