"""Matplotlib figures as pictures."""

import numpy as np
import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from torch import Tensor

DPI = 100


def new_figure(width: float, height: float) -> Figure:
    """A figure of a size in inches that makes room for its labels; not from pyplot, which may need a display."""
    return Figure(figsize=(width, height), dpi=DPI, layout="constrained")


def figure_picture(figure: Figure) -> Tensor:
    """The figure, (3, H, W), uint8."""
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return torch.from_numpy(np.asarray(canvas.buffer_rgba())[:, :, :3].copy()).permute(2, 0, 1)
