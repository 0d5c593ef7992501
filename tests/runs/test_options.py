"""The table of roles covers every option there is, and says what users expect of it."""

import pytest

from choices import choices, config_of
from ddpm_lightning.runs.options import FACTORS, IDENTITY, RESUMABLE, ROLES, Role, role_of
from ddpm_lightning.runs.plain_config import leaves


@pytest.mark.parametrize(
    ("option", "role"),
    [
        ("optimizer.lr", "experiment"),
        ("schedule", "experiment"),
        ("dataset/split", "experiment"),
        ("a_users_own.option", "experiment"),
        ("trainer.gradient_clip_val", "experiment"),
        ("trainer.a_new_one", "experiment"),
        ("trainer.precision", "experiment"),
        ("seeds.init", "experiment"),
        ("checkpoint.step", "experiment"),
        ("trainer.max_steps", "length"),
        ("seed", "seed"),
        ("checkpoint", "seed"),
        ("trainer", "machine"),
        ("trainer.devices", "machine"),
        ("trainer.strategy.process_group_backend", "machine"),
        ("dataset.num_workers", "machine"),
        ("name", "place"),
        ("paths.data_dir", "place"),
        ("trainer.log_every_n_steps", "observer"),
        ("callbacks.sample_grid.num_samples", "observer"),
        ("logger", "observer"),
    ],
)
def test_an_option_has_its_role(option: str, role: str) -> None:
    assert role_of(option) == role


def test_a_name_covers_whole_words_only() -> None:
    assert role_of("names") is role_of("seedling") is Role.EXPERIMENT


def test_every_entry_of_the_table_is_an_option_that_exists(compose_verb) -> None:
    existing = {"resume", "checkpoint", "config_version", "hydra", "sample.chunk_size"}
    for verb in ("train", "sample"):
        for option, _ in leaves(
            {str(k): v for k, v in compose_verb(verb, *(["checkpoint=x"] * (verb == "sample"))).items()}
        ):
            existing |= {option.rsplit(".", n)[0] for n in range(option.count(".") + 1)}
    existing |= {f"metrics.features.{o}" for c in choices("metrics/features") for o in config_of("metrics/features", c)}
    assert {name.rstrip(".") for name in ROLES} - existing == {"checkpoint.step"}  # which a stored evaluation has


def test_of_what_identifies_a_run_only_its_length_may_change() -> None:
    assert FACTORS < IDENTITY
    assert {Role.LENGTH} == IDENTITY & RESUMABLE
    assert {*Role} == IDENTITY | RESUMABLE
