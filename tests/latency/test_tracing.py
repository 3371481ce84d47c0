"""Traced workloads: FLOPs as torch counts them, bytes as they are."""

import itertools
import json

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import latency
from latency import Workload, concatenate
from nas.costs import clip_inputs
from nas.testing.operators import counted_flops
from search_spaces import InputError, load
from supernet import VideoUNet


class Attention(nn.Module):
    def forward(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        return F.scaled_dot_product_attention(q, k, v)


class Products(nn.Module):
    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        return torch.baddbmm(a @ b, a, b) + torch.bmm(a, b)


class Einsum(nn.Module):
    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        return torch.einsum("bij,kj->bki", a, b)


MODULES = {
    "conv1d": (nn.Conv1d(3, 6, 3, padding=1), [(2, 3, 9)]),
    "conv2d": (nn.Conv2d(4, 6, (3, 5), stride=2), [(2, 4, 11, 13)]),
    "depthwise": (nn.Conv2d(8, 16, 3, groups=8), [(1, 8, 9, 9)]),
    "conv3d": (nn.Conv3d(2, 3, 3, padding=1), [(1, 2, 4, 5, 6)]),
    "transposed": (nn.ConvTranspose2d(4, 6, 2, stride=2), [(1, 4, 5, 5)]),
    "linear": (nn.Linear(7, 5, bias=False), [(2, 3, 7)]),
    "attention": (Attention(), [(2, 2, 9, 4), (2, 2, 5, 4), (2, 2, 5, 6)]),
    "products": (Products(), [(2, 3, 4), (2, 4, 5)]),
    "transposed3d": (nn.ConvTranspose3d(2, 3, 2, stride=2, bias=False), [(1, 2, 3, 4, 5)]),
    "einsum": (Einsum(), [(2, 3, 4), (5, 4)]),
    "norms": (nn.Sequential(nn.GroupNorm(2, 4), nn.SiLU(), nn.BatchNorm2d(4)), [(2, 4, 3, 3)]),
}


@pytest.mark.parametrize("name", MODULES)
def test_flops_and_weights_are_those_of_torch(name: str) -> None:
    module, shapes = MODULES[name]
    module.eval()
    inputs = [torch.randn(shape) for shape in shapes]
    workload = latency.trace(module, *inputs)
    assert workload.flops == counted_flops(module, *inputs)
    state = itertools.chain(module.parameters(), module.buffers())
    assert workload.weight_bytes == sum(t.numel() * 4 for t in state if t.is_floating_point())


def test_a_video_unet_counts_as_torch_counts_it() -> None:
    space = load("moving_digits")
    for option in ("none", "conv3d", "self_attention3d"):
        network = VideoUNet(space, space.uniform(space.parse_block(option))).eval()
        inputs = (torch.randn(1, 1, 8, 24, 24), torch.rand(1), torch.zeros(1, 2, 10))
        workload = latency.trace(network, *inputs)
        assert workload.flops == counted_flops(network, *inputs)
        assert workload.weight_bytes == 4 * sum(p.numel() for p in network.parameters())


def test_the_meta_device_costs_no_memory() -> None:
    with torch.device("meta"):
        large = nn.Sequential(*(nn.Linear(30_000, 30_000) for _ in range(3)))
    workload = latency.trace(large, torch.empty(1, 30_000))
    assert workload.weight_bytes == 3 * 4 * (30_000**2 + 30_000)


def test_peak_memory_comes_from_the_order() -> None:
    class Skip(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            h = x.relu()
            h = h.sigmoid()
            h = h.view(-1).view(x.shape)
            return h + x

    element = 4 * 1000
    assert latency.trace(nn.Sequential(nn.ReLU(), nn.Sigmoid()), torch.empty(1000)).peak_bytes == (
        2 * element
    )
    assert latency.trace(Skip(), torch.empty(1000)).peak_bytes == 3 * element


def test_kinds_and_bytes() -> None:
    module = nn.Sequential(nn.Conv2d(4, 8, 3, padding=1), nn.SiLU())
    first, second = latency.trace(module, torch.empty(1, 4, 6, 6)).operations
    assert (first.kind, first.shape) == ("convolution", (1, 8, 6, 6))
    assert first.bytes_moved == 4 * (4 + 8) * 36
    assert first.weight_bytes == 4 * (8 * 4 * 9 + 8)
    assert (second.kind, second.flops, second.bytes_moved) == ("elementwise", 0, 4 * 16 * 36)


def test_workloads_add() -> None:
    one = latency.trace(nn.Linear(4, 4), torch.empty(2, 4), name="a=x")
    two = latency.trace(nn.Conv2d(1, 1, 3), torch.empty(1, 1, 8, 8), name="b=y")
    both = concatenate("both", [one, two])
    assert both.flops == one.flops + two.flops
    assert both.operations == one.operations + two.operations
    assert [leaf.group for leaf in both.leaves] == ["x", "y"]


def test_what_cannot_be_traced_is_said() -> None:
    class Data(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x if x.sum() > 0 else -x

    with pytest.raises(InputError, match="torch.export cannot trace it"):
        latency.trace(Data(), torch.ones(3))


def test_a_workload_is_json_and_back() -> None:
    space = load("moving_digits")
    whole = concatenate(
        "two",
        [
            latency.trace(VideoUNet(space, space.uniform(b)).eval(), *clip_inputs(space))
            for b in space.blocks()[:2]
        ],
    )
    again = Workload.from_json(json.loads(json.dumps(whole.to_json())), "here")
    assert again == whole
    counted = whole.compact()
    assert len(counted.operations) < len(whole.operations)
    assert (counted.flops, counted.bytes_moved) == (whole.flops, whole.bytes_moved)
    assert (counted.weight_bytes, counted.peak_bytes) == (whole.weight_bytes, whole.peak_bytes)
