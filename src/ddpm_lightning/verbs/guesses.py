"""The option that a user may have meant by one that does not exist."""

import difflib
from collections.abc import Sequence

from omegaconf import DictConfig

from ddpm_lightning.runs.plain_config import leaves, plain

ELSEWHERE = {
    "batch": "dataset.batch_size",
    "cache": "paths.cache_dir",
    "ckpt": "checkpoint",
    "ckpt_path": "resume",
    "data": "dataset",
    "data_dir": "paths.data_dir",
    "epochs": "trainer.max_epochs",
    "gpus": "trainer.devices",
    "learning_rate": "optimizer.lr",
    "logdir": "paths.output_dir",
    "num_epochs": "trainer.max_epochs",
    "num_steps": "trainer.max_steps",
    "num_train_epochs": "trainer.max_epochs",
    "output": "paths.output_dir",
    "output_dir": "paths.output_dir",
    "resume_from_checkpoint": "resume",
    "sampling_timesteps": "sampler.steps",
    "steps": "trainer.max_steps",
    "train_batch_size": "dataset.batch_size",
    "train_lr": "optimizer.lr",
    "train_num_steps": "trainer.max_steps",
    "workers": "dataset.num_workers",
}
"""Names in other programs for training diffusion models -> the option here."""
OF_VERBS = {
    "train": ("resume", "schedule", "loss", "loss_on", "optimizer", "model", "dataset", "experiment", "logger", "ema"),
    "evaluate": ("checkpoint", "metrics"),
    "sample": ("checkpoint", "num", "label", "format", "trajectory", "chunk_size"),
    "report": ("by", "metric", "out"),
    "export": ("checkpoint", "out", "format", "weights"),
}
"""Verb -> options that distinguish it."""


def guess_option(key: str, parents: Sequence[str], options: Sequence[str], config: DictConfig, verb: str) -> str:
    """A question, with a space before it, that names the option that was meant; empty if there is no idea.

    Args:
        key: the option that does not exist.
        parents: the sections above its misspelt word.
        options: what exists there.
        config: the verb's composed config.
        verb: the name of the verb.
    """
    last = key.replace("/", ".").split(".")[len(parents)]
    if same := [option for option in options if option.lower() == last.lower() and option != last]:
        return f" Did you mean {'.'.join([*parents, same[0]])}?"
    if not parents and "." not in key:
        paths = [path for path, _ in leaves(plain(config)) if not path.startswith("hydra.")]
        below = [path for path in paths if path.rpartition(".")[2] == key and "." in path]
        known = ELSEWHERE.get(key, "")
        if known and (known in options or known in paths):
            return f" Did you mean {known}?"
        if others := [name for name, own in OF_VERBS.items() if key in own and name != verb]:
            return f" It is an option of {', '.join(f'{name}.py' for name in others)}."
        if below:
            return f" Did you mean {min(below, key=lambda path: path.count('.'))}?"
    if close := difflib.get_close_matches(last, options, n=1, cutoff=0.5):
        return f" Did you mean {'.'.join([*parents, *close])}?"
    return ""
