"""The figure of the variational bound's terms over time."""

from torch import Tensor

from ddpm_lightning.process_pictures.figure import figure_picture, new_figure


def bound_figure(t: Tensor, terms: Tensor) -> Tensor:
    """The terms L_{i-1}, (T,), in bits per dimension, against the times t_i, (T,): (3, H, W), uint8.

    Both axes are logarithmic, because most of the bits are in the last few steps before the image.
    """
    figure = new_figure(6.4, 4.0)
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
    return figure_picture(figure)
