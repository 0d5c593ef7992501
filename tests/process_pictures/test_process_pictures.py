"""What each picture shows, on a model whose denoiser is known."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image

from ddpm_lightning.data.normalizer import SymmetricNormalizer
from ddpm_lightning.diffusion.denoiser import Denoiser
from ddpm_lightning.diffusion.guidance import GuidedDenoiser
from ddpm_lightning.diffusion.schedules.cosine import CosineSchedule
from ddpm_lightning.diffusion.target import Noise
from ddpm_lightning.networks.mlp import MLP
from ddpm_lightning.networks.unet import UNet
from ddpm_lightning.process_pictures.forward_and_reverse import ForwardAndReverse
from ddpm_lightning.process_pictures.image_file import read_image, read_mask
from ddpm_lightning.process_pictures.inpainted import Inpainted
from ddpm_lightning.process_pictures.latent_interpolation import LatentInterpolation
from ddpm_lightning.process_pictures.noise_embedding import NoiseEmbedding
from ddpm_lightning.process_pictures.process_picture import label_of_image
from ddpm_lightning.process_pictures.round_trip import RoundTrip
from ddpm_lightning.process_pictures.variations import Variations
from ddpm_lightning.samplers.ddim import DDIM
from ddpm_lightning.samplers.ddpm import DDPM
from ddpm_lightning.samplers.labels import one_label
from process_pictures.conftest import PIXELS

IMAGE = torch.tensor(PIXELS, dtype=torch.uint8)
NORMALIZER = SymmetricNormalizer(1)


def test_the_reverse_strip_starts_where_the_forward_strip_ends(cells_of, image_file):
    forward, reverse = cells_of(ForwardAndReverse(image_file, frames=5), 5)
    assert torch.equal(forward[0], IMAGE)
    assert torch.equal(forward[-1], reverse[-1])
    assert not torch.equal(reverse[0], IMAGE)  # the noise hardly knows it


def test_a_row_of_the_interpolation_goes_from_a_sample_to_another(cells_of, stream_of):
    stream = stream_of(DDPM(10))  # whose own noise is that of the left sample
    cells = cells_of(LatentInterpolation(rows=2, frames=3), 3, stream)
    assert torch.equal(cells[:, 0], NORMALIZER.to_uint8(stream.draw(torch.arange(2)))[:, 0])
    deterministic = stream_of()
    cells = cells_of(LatentInterpolation(rows=2, frames=3), 3, deterministic)
    samples = NORMALIZER.to_uint8(deterministic.draw(torch.arange(4)))[:, 0]
    assert torch.equal(cells[:, 0], samples[:2])
    assert torch.equal(cells[:, -1], samples[2:])


def test_inpainting_shows_the_image_what_is_known_of_it_and_results(cells_of, image_file, tmp_path):
    Image.fromarray(np.array([[0, 255], [0, 0]], np.uint8)).save(tmp_path / "mask.png")
    cells = cells_of(Inpainted(image_file, str(tmp_path / "mask.png"), count=3, resamplings=2), 5)[0]
    assert torch.equal(cells[0], IMAGE)
    assert cells[1].tolist() == [[200, 128], [90, 160]]
    known = torch.tensor([[True, False], [True, True]])
    assert torch.equal(cells[2:, known], IMAGE[known].expand(3, -1))
    assert len(cells[2:, 0, 1].unique()) > 1


def test_the_round_trip_ends_nearer_to_the_image_with_more_steps(cells_of, stream_of, image_file):
    errors = [
        RoundTrip(image_file).draw(stream_of(DDIM(steps, t_max=0.98)), NORMALIZER).numbers["mean_error"]
        for steps in (10, 200)
    ]
    assert errors[1] < errors[0] / 4
    image, _, returned = cells_of(RoundTrip(image_file), 3, stream_of(DDIM(200, t_max=0.98)))[0]
    assert torch.equal(image, IMAGE)
    assert (returned.int() - image.int()).abs().float().mean() == pytest.approx(errors[1])


def test_the_round_trip_needs_no_deterministic_sampler(stream_of, image_file):
    given = [stream_of(sampler) for sampler in (DDIM(30, t_max=0.98), DDIM(30, t_max=0.98, eta=1.0))]
    plain, noisy = (RoundTrip(image_file).draw(stream, NORMALIZER).numbers for stream in given)
    assert plain == noisy


def test_variations_keep_less_of_the_image_the_later_they_start(cells_of, image_file):
    cells = cells_of(Variations(image_file, t=(0.02, 0.4, 0.95), count=6), 7).float()
    assert torch.equal(cells[:, 0], IMAGE.float().expand(3, -1, -1))
    distance = (cells[:, 1:] - IMAGE).abs().mean((1, 2, 3))
    assert distance[0] < 10 < distance[1] < distance[2]


def test_the_embedding_is_that_of_the_network_below_all_guidance(stream_of):
    network = UNet((1, 2, 2), 1, channels=(8,), blocks=1, attention_levels=())
    denoiser = Denoiser(network, CosineSchedule(), Noise())
    pictures = [
        NoiseEmbedding().draw(stream_of(denoiser=d), NORMALIZER).picture for d in (denoiser, GuidedDenoiser(denoiser))
    ]
    assert torch.equal(*pictures)
    assert pictures[0].shape[0] == 3
    colours = pictures[0].flatten(1).unique(dim=1).shape[1]
    assert colours > 50


def test_a_network_without_sines_has_no_embedding_to_show(stream_of):
    denoiser = Denoiser(MLP((1, 2, 2), 1, 4), CosineSchedule(), Noise())
    with pytest.raises(ValueError, match="shows sines and cosines of the noise level, and MLP has none"):
        NoiseEmbedding().draw(stream_of(denoiser=denoiser), NORMALIZER)


def test_an_image_is_drawn_with_the_class_asked_for_or_without_one(stream_of):
    assert label_of_image(stream_of(), 2) is None
    of_three = SimpleNamespace(num_classes=3, knows_none=True)
    assert label_of_image(stream_of(denoiser=of_three), 2) is None
    assert label_of_image(stream_of(denoiser=of_three, labels_of=one_label(2, 3)), 2).tolist() == [2, 2]
    of_three.knows_none = False
    with pytest.raises(ValueError, match="set label="):
        label_of_image(stream_of(denoiser=of_three), 2)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: ForwardAndReverse("a.png", frames=1), "draw.frames must be at least 2, not 1"),
        (lambda: LatentInterpolation(rows=0), "draw.rows must be at least 1, not 0"),
        (lambda: LatentInterpolation(frames=1), "draw.frames must be at least 2, not 1"),
        (lambda: Inpainted("a.png", "b.png", count=0), "draw.count must be at least 1, not 0"),
        (lambda: Inpainted("a.png", "b.png", jump_length=0), "draw.jump_length must be at least 1, not 0"),
        (lambda: Variations("a.png", t=(0.5, 0.0)), r"draw.t must be times above 0 and at most 1, not \[0.5, 0.0\]"),
        (lambda: Variations("a.png", t=()), "draw.t must be times"),
        (lambda: Variations("a.png", count=0), "draw.count must be at least 1, not 0"),
    ],
)
def test_options_out_of_range_are_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_an_image_needs_a_model_of_squares(image_file):
    assert read_image(image_file, (3, 2, 2)).tolist() == [PIXELS] * 3
    with pytest.raises(ValueError, match="cut to a square, but this model's have 5 x 4 pixels"):
        read_image(image_file, (1, 4, 5))


def test_files_that_cannot_be_read_are_named(tmp_path):
    (tmp_path / "text.png").write_text("no image")
    for read in (read_image, read_mask):
        with pytest.raises(ValueError, match=r"text.png cannot be read: not an image of a known format"):
            read(str(tmp_path / "text.png"), (1, 2, 2))
        with pytest.raises(ValueError, match=r"gone.png cannot be read: the file is missing"):
            read(str(tmp_path / "gone.png"), (1, 2, 2))


def test_a_mask_has_the_models_size_and_something_white(tmp_path):
    for name, size in (("wrong", (3, 2)), ("black", (2, 2))):
        Image.new("L", size).save(tmp_path / f"{name}.png")
    with pytest.raises(ValueError, match=r"wrong.png has 3 x 2 pixels, and this model's images 2 x 2"):
        read_mask(str(tmp_path / "wrong.png"), (1, 2, 2))
    with pytest.raises(ValueError, match=r"black.png is black everywhere"):
        read_mask(str(tmp_path / "black.png"), (1, 2, 2))
