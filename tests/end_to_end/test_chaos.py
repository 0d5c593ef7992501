"""A sweep killed at random moments of every kind ends as one that nothing disturbs."""

from collections import Counter
from pathlib import Path

import pytest

from killing.campaign import Campaign
from killing.moments import MOMENTS

pytestmark = pytest.mark.slow


def test_a_sweep_killed_again_and_again_ends_as_undisturbed(tmp_path: Path) -> None:
    campaign = Campaign(tmp_path, moments=lambda dice: MOMENTS)
    for progress in campaign.run(kills=len(MOMENTS)):
        print(progress)
    killed = Counter(kill.moment for kill in campaign.result.kills)
    assert campaign.result.differences == []
    assert killed == dict.fromkeys(MOMENTS, 1)
