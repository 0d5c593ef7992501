"""Values that mean what another spelling of theirs means."""

from collections.abc import Callable
from pathlib import Path

from omegaconf import OmegaConf

VERSION_1_RUN = Path(__file__).parents[1] / "fixtures" / "version_1" / "run"


def test_samples_may_be_counted_in_any_spelling(shell_here: Callable, tmp_path: Path) -> None:
    words = [f"checkpoint={VERSION_1_RUN}", "num=4e0", "sampler.steps=2e0", "seed='3'", "name=2024_01_15"]
    result = shell_here("sample.py", *words, f"paths.output_dir={tmp_path}", f"hydra.run.dir={tmp_path}/images")
    assert result.returncode == 0, result.stderr
    config = OmegaConf.load(tmp_path / "images" / "config.yaml")
    assert [repr(config.sample[key]) for key in ("num", "seed")] == ["4", "3"] and repr(config.sampler.steps) == "2"
