"""A callback that notes what each rank of each job sees, and gives trouble where a test has ordered it.

Both by files in the folder that the environment variable WITNESS names, so that a job's config does not show it:
the same command with other orders is the same job.
"""

import json
import os
import signal
import time
from pathlib import Path
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer


class Witness(Callback):
    """Writes a line to `notes/JOB.RANK` at each start, and follows orders.

    An order is a file `orders/WHO.RANK.STEP`, whose first word is followed once that rank has taken that many steps;
    `orders/WHO.score` holds a number, logged as the score test/witness. WHO is `seed-N`, or `trial-N` for the sweep's
    N-th job, counted by when they first started.
    """

    def __init__(self) -> None:
        self.folder = Path(os.environ["WITNESS"])

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        note = {
            "rank": trainer.global_rank,
            "world_size": trainer.world_size,
            "config": pl_module.run_config,
            "environment": {key: os.environ.get(key) for key in ("OMP_NUM_THREADS", "CUDA_VISIBLE_DEVICES")},
        }
        job = Path(trainer.default_root_dir).name
        (self.folder / "starts").mkdir(exist_ok=True)
        if not (first := self.folder / "starts" / job).exists():  # so that its time stays that of the first start
            first.touch()
        with (self.folder / "notes" / f"{job}.{trainer.global_rank}").open("a") as file:
            file.write(json.dumps(note) + "\n")

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, *_: Any) -> None:
        for who in self._names(trainer, pl_module):
            order = self.folder / "orders" / f"{who}.{trainer.global_rank}.{trainer.global_step}"
            if order.is_file():
                _follow(order.read_text())

    def on_test_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        for who in self._names(trainer, pl_module):
            order = self.folder / "orders" / f"{who}.score"
            if order.is_file():
                pl_module.log("test/witness", float(order.read_text()), sync_dist=True)

    def _names(self, trainer: Trainer, pl_module: LightningModule) -> tuple[str, str]:
        starts = sorted((self.folder / "starts").iterdir(), key=lambda path: path.stat().st_mtime_ns)
        trial = [path.name for path in starts].index(Path(trainer.default_root_dir).name)
        return f"seed-{pl_module.run_config['seed']}", f"trial-{trial}"


def _follow(order: str) -> None:
    word, _, rest = order.partition(" ")
    if word == "raise":
        raise RuntimeError(rest)
    if word == "die":
        os.kill(os.getpid(), signal.SIGKILL)
    if word == "kill":  # the process rest; this one must end by itself
        os.kill(int(Path(rest).read_text()), signal.SIGKILL)
        time.sleep(60)
    if word == "wait":  # for the file rest
        while not Path(rest).exists():
            time.sleep(0.05)
