"""Data of independent normal pixels, whose optimal denoiser is known."""

from torch import Tensor

from ddpm_lightning.diffusion.schedule import Schedule
from ddpm_lightning.diffusion.target import Prediction
from samplers.gaussian import GaussianDenoiser


class IsotropicDenoiser(GaussianDenoiser):
    """The exact expectations of x_0 and eps given x_t, for pixels N(mean, std^2) and images of any size."""

    def __init__(self, schedule: Schedule, mean: float = 0.1, std: float = 0.5) -> None:
        super().__init__(schedule)
        self.mean, self.std = mean, std

    def __call__(
        self, x_t: Tensor, t: Tensor, label: Tensor | None = None, estimate: Tensor | None = None
    ) -> Prediction:
        alpha, sigma = self.schedule.rates(t[0].double())
        whitened = (x_t - alpha * self.mean) / (alpha**2 * self.std**2 + sigma**2)
        return Prediction(self.mean + alpha * self.std**2 * whitened, sigma * whitened)
