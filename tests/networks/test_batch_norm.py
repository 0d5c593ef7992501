import os
import subprocess
import sys

import pytest
import torch
from torch import nn

from ddpm_lightning.networks.batch_norm import GlobalBatchNorm2d
from ddpm_lightning.networks.keras_unet import KerasUNet


def batch(mean: float = 0.0, std: float = 1.0, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    """Eight images of three channels, each channel with its own mean and width; channels last."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(8, 3, 5, 4, generator=generator, dtype=torch.float64)
    x = mean + std * (x * torch.tensor([1.0, 2.0, 0.5]).view(3, 1, 1) + torch.arange(3.0).view(3, 1, 1))
    return x.to(dtype).contiguous(memory_format=torch.channels_last)


def trained(norm: nn.Module, x: torch.Tensor, weight: torch.Tensor) -> dict[str, torch.Tensor]:
    """Output, gradient of sum(weight * output) and running statistics after one batch."""
    x = x.detach().requires_grad_()
    output = norm(x)
    (output * weight).sum().backward()
    return {"output": output.detach(), "gradient": x.grad, "mean": norm.running_mean, "var": norm.running_var}


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_on_one_process_it_equals_torchs(dtype):
    ours, theirs = GlobalBatchNorm2d(3), nn.BatchNorm2d(3, eps=1e-3, momentum=0.01, affine=False)
    for mean in (0.0, -3.0):
        x = batch(mean, dtype=dtype)
        weight = torch.linspace(-1, 1, x.numel()).reshape(x.shape)
        expected = trained(theirs, x, weight)
        for name, value in trained(ours, x, weight).items():
            torch.testing.assert_close(value, expected[name])
    torch.testing.assert_close(ours.eval()(x), theirs.eval()(x))


def test_a_training_batch_gets_mean_zero_and_variance_one():
    output = GlobalBatchNorm2d(3, eps=1e-12)(batch(mean=5.0, std=3.0))
    torch.testing.assert_close(output.mean((0, 2, 3)), torch.zeros(3), rtol=0, atol=1e-5)
    torch.testing.assert_close(output.var((0, 2, 3), unbiased=False), torch.ones(3))


def test_running_statistics_keep_the_share_decay_of_the_past():
    norm, x = GlobalBatchNorm2d(3, decay=0.75), batch(mean=2.0)
    mean, var = torch.zeros(3), torch.ones(3)
    for _ in range(3):
        norm(x)
        mean = 0.75 * mean + 0.25 * x.mean((0, 2, 3))
        var = 0.75 * var + 0.25 * x.var((0, 2, 3))
    torch.testing.assert_close(norm.running_mean, mean)
    torch.testing.assert_close(norm.running_var, var)


def test_evaluation_uses_the_running_statistics():
    norm = GlobalBatchNorm2d(3, eps=0.5).eval()
    norm.running_mean.copy_(torch.tensor([1.0, 2.0, 3.0]))
    norm.running_var.copy_(torch.tensor([0.5, 3.5, 8.5]))
    x = batch()
    expected = (x - torch.tensor([1.0, 2.0, 3.0]).view(3, 1, 1)) / torch.tensor([1.0, 2.0, 3.0]).view(3, 1, 1)
    torch.testing.assert_close(norm(x), expected)
    assert norm.running_mean.tolist() == [1.0, 2.0, 3.0]


def test_under_autocast_the_statistics_are_float32():
    x = batch(mean=2.0, dtype=torch.bfloat16)
    norm = GlobalBatchNorm2d(3, decay=0.0)
    with torch.autocast("cpu", torch.bfloat16):
        assert norm(x).dtype == torch.bfloat16
    torch.testing.assert_close(norm.running_mean, x.float().mean((0, 2, 3)), rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(norm.running_var, x.float().var((0, 2, 3)), rtol=1e-5, atol=1e-6)


def test_it_has_no_parameters():
    norm = GlobalBatchNorm2d(3)
    assert list(norm.parameters()) == []
    assert norm.state_dict().keys() == {"running_mean", "running_var"}


RANK = """
import sys
import torch
from torch import distributed
from ddpm_lightning.networks.batch_norm import GlobalBatchNorm2d

rank, folder = int(sys.argv[1]), sys.argv[2]
distributed.init_process_group("gloo", init_method=f"file://{folder}/store", rank=rank, world_size=2)

results = {}
for name, (x, weight, sizes) in torch.load(f"{folder}/batches.pt").items():
    norm, x = GlobalBatchNorm2d(x.shape[1]), x.split(sizes)[rank].requires_grad_()
    norm = norm.double() if x.dtype == torch.float64 else norm
    output = norm(x)
    (output * weight.split(sizes)[rank]).sum().backward()
    results[name] = {
        "output": output.detach(), "gradient": x.grad, "mean": norm.running_mean, "var": norm.running_var
    }

network, x, level = torch.load(f"{folder}/network.pt", weights_only=False)
network(x.chunk(2)[rank], level.chunk(2)[rank]).square().mean().backward()
for parameter in network.parameters():  # as DDP does, whose import takes longer than all else here
    distributed.all_reduce(parameter.grad)
    parameter.grad /= 2
results["network"] = {f"gradient of {name}": p.grad for name, p in network.named_parameters()}
results["network"] |= dict(network.named_buffers())

network.eval()
if rank == 0:  # evaluation needs no other rank
    network(x, level)
distributed.barrier()
torch.save(results, f"{folder}/rank{rank}.pt")
"""

WEIGHT = torch.linspace(-1, 1, batch().numel()).reshape(batch().shape)
BATCHES = {
    "halves": (batch(), WEIGHT, [4, 4]),
    "unequal shares": (batch(mean=-2.0, dtype=torch.float64), WEIGHT.double(), [3, 5]),
    "bf16": (batch(mean=2.0, dtype=torch.bfloat16), WEIGHT, [4, 4]),
    "far from zero": (batch(mean=3000.0), WEIGHT, [2, 6]),
}


def network() -> tuple[KerasUNet, torch.Tensor, torch.Tensor]:
    """A small network in float64 without zero parameters, images and noise levels for it."""
    torch.manual_seed(0)
    network = KerasUNet((1, 8, 8), 1, channels=(4, 6), blocks=1, embedding_dim=4)
    nn.init.normal_(network.conv_out.weight)
    return network.double(), torch.randn(6, 1, 8, 8, dtype=torch.float64), torch.rand(6)


@pytest.fixture(scope="module")
def ranks(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, dict[str, torch.Tensor]]]:
    """The results of two processes with a share of the batch each."""
    folder = tmp_path_factory.mktemp("ranks")
    torch.save(BATCHES, folder / "batches.pt")
    torch.save(network(), folder / "network.pt")
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    processes = [
        subprocess.Popen([sys.executable, "-c", RANK, str(rank), str(folder)], env=environment) for rank in range(2)
    ]
    try:
        assert [process.wait(timeout=120) for process in processes] == [0, 0]
    finally:
        for process in processes:
            process.kill()
    return [torch.load(folder / f"rank{rank}.pt") for rank in range(2)]


@pytest.mark.parametrize("name", BATCHES)
def test_two_processes_equal_one_with_the_whole_batch(ranks, name):
    x, weight, _ = BATCHES[name]
    expected = trained(GlobalBatchNorm2d(3).double() if x.dtype == torch.float64 else GlobalBatchNorm2d(3), x, weight)
    # In float64 one process and two differ by rounding alone; near 3000 float32 itself is 1e-4 wide.
    tolerance = {"bf16": dict(rtol=0.02, atol=0.02), "far from zero": dict(rtol=1e-3, atol=1e-3)}.get(name, {})
    for part in ("output", "gradient"):
        both = torch.cat([rank[name][part] for rank in ranks])
        assert both.dtype == x.dtype
        torch.testing.assert_close(both, expected[part], **tolerance)
    for part in ("mean", "var"):
        assert torch.equal(ranks[0][name][part], ranks[1][name][part])
        torch.testing.assert_close(ranks[0][name][part], expected[part])


def test_two_processes_normalise_values_far_from_zero(ranks):
    x = BATCHES["far from zero"][0].double()
    both = torch.cat([rank["far from zero"]["output"] for rank in ranks])
    expected = (x - x.mean((0, 2, 3), keepdim=True)) / (x.var((0, 2, 3), unbiased=False, keepdim=True) + 1e-3).sqrt()
    torch.testing.assert_close(both.double(), expected, rtol=1e-3, atol=1e-3)


def test_a_network_trains_on_two_processes_as_on_one(ranks):
    alone, x, level = network()
    alone(x, level).square().mean().backward()
    expected = {f"gradient of {name}": p.grad for name, p in alone.named_parameters()} | dict(alone.named_buffers())
    for rank in ranks:
        assert rank["network"].keys() == expected.keys()
        for name, value in expected.items():
            torch.testing.assert_close(rank["network"][name], value, msg=lambda error, name=name: f"{name}: {error}")
