import dataclasses
import json

import pytest


def test_differences_name_each_field_that_differs(card):
    other = dataclasses.replace(card, steps=50, eta=None)
    assert card.differences(other) == {"steps": (25, 50), "eta": (0.0, None)}
    assert card.differences(dataclasses.replace(card)) == {}


def test_dict_survives_json_and_makes_the_card_again(card):
    assert type(card)(**json.loads(json.dumps(card.to_dict()))) == card


def test_card_cannot_be_changed(card):
    with pytest.raises(dataclasses.FrozenInstanceError):
        card.steps = 3


def test_unknown_weights_are_refused(card):
    with pytest.raises(ValueError, match="choose from ema, raw"):
        dataclasses.replace(card, weights="EMA")
