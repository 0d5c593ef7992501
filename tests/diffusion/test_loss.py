import pytest
import torch
from torch.nn import functional as F

from ddpm_lightning.diffusion.loss import AbsoluteError, Huber, SquaredError

REFERENCES = {
    "mse": (SquaredError(), F.mse_loss),
    "mae": (AbsoluteError(), F.l1_loss),
    "huber": (Huber(0.3), lambda output, target: F.huber_loss(output, target, delta=0.3)),
}


@pytest.mark.parametrize(("loss", "reference"), REFERENCES.values(), ids=REFERENCES.keys())
def test_the_loss_of_each_sample_matches_torch(loss, reference, generator):
    output, target = torch.randn(2, 5, 3, 4, 4, generator=generator)
    expected = torch.stack([reference(o, t) for o, t in zip(output, target, strict=True)])
    torch.testing.assert_close(loss(output, target), expected)


def test_huber_by_hand_within_and_beyond_delta():
    losses = Huber(delta=0.5)(torch.tensor([[0.2], [3.0]]), torch.zeros(2, 1))
    torch.testing.assert_close(losses, torch.tensor([0.5 * 0.2**2, 0.5 * (3.0 - 0.25)]))


@pytest.mark.parametrize("delta", [0.0, -1.0])
def test_a_huber_width_that_is_not_positive_is_refused(delta):
    with pytest.raises(ValueError, match=r"loss.delta must be positive"):
        Huber(delta)
