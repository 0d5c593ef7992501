"""The score of a run for a sweeper that optimises, such as Optuna."""

import math

from omegaconf import DictConfig

from ddpm_lightning.runs.run_folder import RunFolder


def optimises(config: DictConfig) -> bool:
    """Whether a verb's config names a score to optimise."""
    return config.get("optimize") is not None and config.optimize.score is not None


def optimized_score(config: DictConfig, run: RunFolder) -> float | None:
    """The score that `config.optimize` names; None where the config optimises nothing.

    The penalty stands for a run that failed and for a score that is not finite: Optuna's sweeper ends at either.

    Raises:
        ValueError: if the run has no such score.
    """
    if not optimises(config):
        return None
    score, penalty = config.optimize.score, float(config.optimize.penalty)
    status = run.read_status()
    if status["state"] != "done":
        return penalty
    scores = status["scores"]
    if score not in scores:
        raise ValueError(f"optimize.score={score} is not a score of the run: it has {', '.join(sorted(scores))}")
    return float(scores[score]) if math.isfinite(scores[score]) else penalty
