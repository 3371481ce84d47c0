"""Traced workloads: FLOPs as torch counts them, bytes as they are."""

import copy
import itertools
import json
from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import latency
from latency import Workload, concatenate
from latency.tracing.flops import plain_paths
from nas.costs.modules import clip_inputs
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


class Function(nn.Module):
    """A function of two weights, a square one of 4 and a column, and of its inputs."""

    def __init__(self, function: Callable[..., Tensor]) -> None:
        super().__init__()
        self.function = function
        self.weight = nn.Parameter(torch.randn(4, 4))
        self.scale = nn.Parameter(torch.ones(4, 1))

    def forward(self, *inputs: Tensor) -> Tensor:
        return self.function(self, *inputs)


def in_contexts(self: Function, x: Tensor) -> Tensor:
    with torch.enable_grad():
        doubled = x * 2
    with torch.autocast("cpu", dtype=torch.bfloat16):
        product = F.linear(doubled, self.weight)
    return product.float() @ self.weight


LAYER = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)
ENCODER = nn.TransformerEncoder(LAYER, 2, enable_nested_tensor=False)
STEM = (nn.Conv2d(3, 8, 3, bias=False), nn.BatchNorm2d(8), nn.Hardswish(), nn.MaxPool2d(2))
HEAD = (nn.AvgPool2d(2), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 3))
COMMON: dict[str, tuple[nn.Module, list[tuple[int, ...]]]] = {
    "multihead": (nn.MultiheadAttention(8, 2, batch_first=True), [(2, 5, 8)] * 3),
    "cross": (nn.MultiheadAttention(8, 2, batch_first=True), [(2, 5, 8), (2, 7, 8), (2, 7, 8)]),
    "widths": (nn.MultiheadAttention(8, 2, kdim=6, vdim=4), [(5, 2, 8), (7, 2, 6), (7, 2, 4)]),
    "encoder": (ENCODER, [(2, 5, 8)]),
    "decoder": (nn.TransformerDecoderLayer(8, 2, 16), [(5, 2, 8), (7, 2, 8)]),
    "lstm": (nn.LSTM(4, 8, 2, bidirectional=True, batch_first=True), [(2, 5, 4)]),
    "gru": (nn.GRU(4, 8), [(5, 2, 4)]),
    "cell": (nn.LSTMCell(4, 8), [(2, 4)]),
    "classifier": (nn.Sequential(*STEM, *HEAD), [(1, 3, 20, 20)]),
    "shuffle": (nn.Sequential(nn.Conv2d(4, 16, 1), nn.PixelShuffle(2)), [(1, 4, 4, 4)]),
    "rms": (nn.Sequential(nn.Linear(4, 8), nn.RMSNorm(8), nn.LayerNorm(8)), [(2, 4)]),
    "circular": (nn.Conv2d(4, 8, 3, padding="same", padding_mode="circular"), [(1, 4, 7, 7)]),
    "unbatched": (nn.Conv2d(4, 8, 3, groups=2), [(4, 7, 7)]),
    "groups": (nn.ConvTranspose2d(8, 8, 3, groups=4, output_padding=1, stride=2), [(1, 8, 5, 5)]),
    "computed": (Function(lambda m, x: F.linear(x, m.weight * m.scale)), [(2, 3, 4)]),
    "transposed": (Function(lambda m, x: x @ m.weight.t()), [(2, 3, 4)]),
    "merged": (Function(lambda m, x: x @ (m.weight @ m.weight)), [(2, 3, 4)]),
    "ellipsis": (
        Function(lambda m, x: torch.einsum("...i,ij,jk->...k", x, m.weight, m.weight)),
        [(2, 3, 4)],
    ),
    "tensordot": (Function(lambda m, x: torch.tensordot(x, m.weight, 1)), [(2, 3, 4)]),
    "multi_dot": (Function(lambda m, x: torch.linalg.multi_dot((x, m.weight, x))), [(4, 4)]),
    "grouped queries": (
        Function(lambda _, q, k: F.scaled_dot_product_attention(q, k, k, enable_gqa=True)),
        [(2, 4, 3, 4), (2, 2, 3, 4)],
    ),
    "sampling": (
        Function(lambda _, x: F.grid_sample(x, x[:, :2].permute(0, 2, 3, 1)).roll(1, 2)),
        [(1, 4, 6, 6)],
    ),
    "contexts": (Function(in_contexts), [(2, 3, 4)]),
    "made on the way": (Function(lambda _, x: x * torch.tensor([1.0, 2, 3, 4])), [(2, 4)]),
}


@pytest.mark.parametrize("name", COMMON)
def test_common_networks_count_as_torch_counts_them(name: str) -> None:
    module, shapes = COMMON[name]
    module.eval()
    inputs = [torch.randn(shape) for shape in shapes]
    with plain_paths(), torch.enable_grad():  # torch counts nothing of its fused kernels
        wanted = counted_flops(module, *inputs)
    assert latency.trace(module, *inputs).flops == wanted
    on_meta = copy.deepcopy(module).to("meta")
    assert latency.trace(on_meta, *inputs).flops == wanted


def test_weights_are_counted_through_views_of_them() -> None:
    attention, shapes = COMMON["cross"]  # its packed weight is cut into three
    workload = latency.trace(attention, *map(torch.empty, shapes))
    assert workload.weight_bytes == 4 * sum(p.numel() for p in attention.parameters())
    turned, shapes = COMMON["transposed"]
    [operation] = latency.trace(turned, *map(torch.empty, shapes)).operations
    assert (operation.kind, operation.weight_bytes) == ("matmul", 4 * 16)


def test_products_that_torch_takes_for_free_are_counted() -> None:
    module = Function(lambda m, x: torch.dot(x @ m.weight[0], x[:, 0]))
    assert latency.trace(module, torch.empty(3, 4)).flops == 2 * 3 * 4 + 2 * 3


@pytest.mark.parametrize(
    ("function", "says"),
    [
        (lambda m, x: F.bilinear(x, x, m.weight[None]), "_trilinear.*register_flop_formula"),
        (lambda _, x: torch.ops.test_tracing.secret(x), "secret.*register_flop_formula"),
        (lambda _, x: x[x > 0], "depends on the data"),
        (lambda _, x: torch.cond(x.sum() > 0, lambda y: y @ y, lambda y: y + 1, (x,)), "a branch"),
    ],
)
def test_what_has_no_one_count_is_refused(function: Callable[..., Tensor], says: str) -> None:
    with pytest.raises(InputError, match=says) as caught:
        latency.trace(Function(function), torch.ones(4, 4), name="mine")
    assert str(caught.value).startswith("mine: ")
    assert "\n" not in str(caught.value)


@torch.library.custom_op("test_tracing::secret", mutates_args=())
def secret(x: Tensor) -> Tensor:
    return x @ x


@secret.register_fake
def secret_fake(x: Tensor) -> Tensor:
    return torch.empty_like(x)


def test_a_module_is_left_as_it_was() -> None:
    module = nn.Sequential(nn.LSTM(4, 4), nn.Dropout()).train()
    module[1].eval()
    fastpath = torch.backends.mha.get_fastpath_enabled()
    latency.trace(module[0], torch.empty(2, 1, 4))
    latency.trace(nn.Sequential(module[1]), torch.empty(2, 4))
    assert [part.training for part in module] == [True, False]
    assert torch.backends.mha.get_fastpath_enabled() is fastpath
    module[0](torch.randn(2, 1, 4))[0].sum().backward()


@pytest.mark.long
def test_a_video_unet_counts_as_torch_counts_it() -> None:
    space = load("moving_digits")
    for block in space.blocks()[::4]:
        network = VideoUNet(space, space.uniform(block)).eval()
        inputs = (torch.randn(1, 1, 8, 16, 16), torch.rand(1), torch.zeros(1, 2, 10))
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


@pytest.mark.slow
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
