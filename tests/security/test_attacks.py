"""Attacks by a stranger's checkpoint, run folder, exported model or data: each by its effect, whatever is raised."""

from collections.abc import Callable
from typing import Any

import pytest

from ddpm_lightning.runs import instantiate, restore, stored_config
from ddpm_lightning.runs.trust import Trust
from ddpm_lightning.verbs import train
from security.config_attacks import CONFIGS, Planted, attack_by_config
from security.file_attacks import FILES, OTHERS, ByFile

ATTACKS = {**CONFIGS, **FILES, **OTHERS}
STOPPED_ANYWAY = {
    "open deep inside the network's options", "open as the data set", "open as a logger",
    "open as the trainer's strategy", "the same by our own name", "an alias of an optimizer's module", "a program",
    "positional arguments of one of ours", "a name under an old name of ours", "a variable, resumed",
    "a variable, reported", "a variable by texts put together", "a variable behind an escape",
}  # fmt: skip
"""Attacks by configs that Hydra or a class refuses today, though nothing promises it."""
EFFECTIVE = [name for name in CONFIGS if name not in STOPPED_ANYWAY and "multiply" not in name]
"""Attacks by configs that only this project's checks stop; references that multiply would take gigabytes."""


def act_of(name: str, scene: Any) -> Callable[[], None]:
    """Plants an attack, and returns what the user then does."""
    attack = ATTACKS[name]
    if isinstance(attack, Planted):
        attack_by_config(scene, attack)
        return lambda: scene.enter(attack.verb)
    if isinstance(attack, ByFile):
        attack.plant(scene)
        return lambda: scene.enter(attack.verb)
    return lambda: attack(scene)


@pytest.mark.parametrize("verb", ["load", "export", "sample", "evaluate", "resume", "report"])
def test_without_an_attack_every_command_works(verb: str, scene: Any, effects_of: Callable) -> None:
    ended = []

    def act() -> None:
        scene.enter(verb)
        ended.append(verb)

    assert (effects_of(act), ended) == ([], [verb])


@pytest.mark.parametrize("name", ATTACKS)
def test_an_attack_has_no_effect(name: str, scene: Any, effects_of: Callable) -> None:
    act = act_of(name, scene)
    assert effects_of(act) == []


@pytest.fixture
def unchecked(monkeypatch: pytest.MonkeyPatch) -> None:
    """No check of configs, as if this project had none."""
    for module in (stored_config, instantiate, restore, train):
        for check in ("check_plain", "check_targets", "check_places", "check_links"):
            if hasattr(module, check):
                monkeypatch.setattr(module, check, lambda *_, **__: None)
    monkeypatch.setattr(Trust, "allows", lambda *_: True)


@pytest.mark.slow
@pytest.mark.parametrize("name", EFFECTIVE)
def test_without_checks_the_attack_has_an_effect(name: str, scene: Any, effects_of: Callable, unchecked: None) -> None:
    act = act_of(name, scene)
    assert effects_of(act)
