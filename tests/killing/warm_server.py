"""The program of `WarmServer`: for each line, a command to run, prints the number of its process and its exit code."""

import json
import os
import sys
import traceback
from typing import Any


def serve() -> None:
    """Forks a process for each line until the input ends."""
    import torch.utils.tensorboard  # noqa: F401

    for line in sys.stdin:
        if (child := os.fork()) == 0:
            _run(json.loads(line))
        print(child, flush=True)
        _, status = os.waitpid(child, 0)
        print(os.waitstatus_to_exitcode(status), flush=True)


def _run(request: dict[str, Any]) -> None:
    """Becomes the command, and ends."""
    log = os.open(request["log"], os.O_CREAT | os.O_APPEND | os.O_WRONLY)
    for stream in (1, 2):
        os.dup2(log, stream)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.chdir(request["folder"])
    os.environ.clear()
    os.environ.update(request["environment"])
    sys.argv = request["words"]
    code: object = 1
    try:
        from ddpm_lightning.verbs.commands import train

        train()
    except SystemExit as end:
        code = end.code
        if isinstance(code, str):
            print(code, file=sys.stderr)
            code = 1
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code if isinstance(code, int) else 0)


if __name__ == "__main__":
    serve()
