"""`python -m ddpm_lightning.verbs train ...`: the form in which jobs and ranks start the command `ddpm-train ...`."""

import sys

from ddpm_lightning.verbs import commands

if __name__ == "__main__":
    verb = sys.argv.pop(1)
    sys.argv[0] = f"ddpm-{verb}"
    getattr(commands, verb)()
