"""Two configs have one hash exactly if they compute the same."""

import copy
import subprocess
import sys
from collections.abc import Callable, Iterator

import pytest

from ddpm_lightning.runs.config import plain, resolved
from ddpm_lightning.runs.config_hash import NOT_PART_OF_AN_EXPERIMENT, config_hash

CONFIG = {"seed": 0, "model": {"channels": [16, 16], "dropout": 0.0}, "ema": None, "name": None}


def test_eight_hexadecimal_digits() -> None:
    assert len(config_hash(CONFIG)) == 8
    int(config_hash(CONFIG), 16)


def test_the_order_of_keys_does_not_count() -> None:
    turned = {"name": None, "ema": None, "model": {"dropout": 0.0, "channels": [16, 16]}, "seed": 0}
    assert config_hash(turned) == config_hash(CONFIG)


@pytest.mark.parametrize(
    "place",
    [
        {"name": "mine"},
        {"resume": "run"},
        {"paths": {"data_dir": "elsewhere"}},
        {"hydra": {"choices": {"loss": "mse"}, "overrides": []}},
        {"optimize": {"score": "test/loss"}},
    ],
    ids=lambda place: next(iter(place)),
)
def test_where_a_run_lives_and_who_asks_for_it_does_not_count(place: dict) -> None:
    assert config_hash(CONFIG | place) == config_hash(CONFIG)


@pytest.mark.parametrize(
    "change",
    [
        {"seed": 1},
        {"ema": {}},
        {"model": {"channels": [16, 32], "dropout": 0.0}},
        {"model": {"name": "mine"}},
        {"a": 0},
    ],
)
def test_everything_else_counts(change: dict) -> None:
    assert config_hash(CONFIG | change) != config_hash(CONFIG)


def leaves(node: dict, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    for key, value in node.items():
        if isinstance(value, dict) and value:
            yield from leaves(value, (*path, key))
        else:
            yield (*path, key)


def test_every_value_of_a_real_config_counts(compose_verb: Callable) -> None:
    config = plain(resolved(compose_verb("train")))
    counted = [path for path in leaves(config) if path[0] not in NOT_PART_OF_AN_EXPERIMENT]
    assert len(counted) > 50
    for path in counted:
        changed = copy.deepcopy(config)
        node = changed
        for key in path[:-1]:
            node = node[key]
        node[path[-1]] = "another value"
        assert config_hash(changed) != config_hash(config), path


def test_another_process_finds_the_same_hash() -> None:
    program = f"from ddpm_lightning.runs.config_hash import config_hash; print(config_hash({CONFIG!r}))"
    other = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert other.stdout.strip() == config_hash(CONFIG)
