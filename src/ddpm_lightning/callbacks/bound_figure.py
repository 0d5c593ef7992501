"""The figure of the variational bound's terms over time."""

import numpy as np
import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from torch import Tensor

_INCHES, _DPI = (6.4, 4.0), 150


def bound_figure(t: Tensor, terms: Tensor) -> Tensor:
    """The terms L_{i-1}, (T,), in bits per dimension, against the times t_i, (T,): (3, H, W), uint8.

    Both axes are logarithmic, because most of the bits are in the last few steps before the image.
    """
    figure = Figure(figsize=_INCHES, dpi=_DPI, layout="constrained")  # not from pyplot, which may need a display
    canvas = FigureCanvasAgg(figure)
    ax = figure.subplots()
    ax.plot(t.numpy(), terms.numpy(), ".-", markersize=3, linewidth=0.8, color="#0072B2")
    ax.set_xscale("log")
    ax.set_yscale("log")
    ax.set_xlabel("t, where the step to t - 1/T starts")
    ax.set_ylabel("bits per dimension of the step")
    ax.set_title(
        f"The {len(t)} steps of the variational bound: {float(terms.sum()):.4f} bits per dimension", fontsize=10
    )
    ax.grid(linewidth=0.4, alpha=0.5)
    ax.spines[["top", "right"]].set_visible(False)
    canvas.draw()
    pixels = np.asarray(canvas.buffer_rgba())[..., :3].copy()
    return torch.from_numpy(pixels).permute(2, 0, 1)
