"""Our operators, and one of a user's own with an elastic setting, through the shipped suite."""

import pytest
import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

from nas.testing import OperatorConformance
from nas.testing.operators import randomised
from search_spaces import (
    CONV1D,
    CONV3D,
    CROSS_ATTENTION_1D,
    CROSS_ATTENTION_3D,
    HEADS,
    KERNEL,
    REPEATS,
    SELF_ATTENTION_1D,
    SELF_ATTENTION_3D,
    SEPARABLE_CONV3D,
    WIDTH,
    Block,
    InputError,
    Operator,
    Setting,
    Slot,
)
from search_spaces.shipped.moving_digits import OPERATORS
from supernet import TemporalOperator
from supernet.networks.supernet import largest
from supernet.operators import Settings, build
from temporal_bundle.closeness import check_close

pytestmark = pytest.mark.slow


class ElasticConv(TemporalOperator):
    """A depthwise convolution over time whose smaller kernel is the middle of the larger."""

    def __init__(self, slot: Slot, settings: Settings) -> None:
        super().__init__(slot, settings)
        self.weight = nn.Parameter(torch.randn(slot.channels, 1, int(settings["kernel"]), 1))
        self.gain = nn.Parameter(torch.zeros(slot.channels, 1, 1))

    def forward(
        self,
        x_NCHW: Tensor,
        frames: int,
        context_BLC: Tensor,
        settings: Settings | None = None,
    ) -> Tensor:
        weight = self.weights(settings)["weight"]
        h = rearrange(x_NCHW, "(b t) c h w -> b c t (h w)", t=frames)
        padding = (weight.shape[2] // 2, 0)
        h = self.gain * F.conv2d(h, weight, padding=padding, groups=weight.shape[0])
        return x_NCHW + rearrange(h, "b c t (h w) -> (b t) c h w", h=x_NCHW.shape[2])

    def cuts(self, settings: Settings) -> dict[str, Tensor]:
        margin = (self.weight.shape[2] - int(settings["kernel"])) // 2
        return {"weight": self.weight.narrow(2, margin, int(settings["kernel"]))}


class TestConv1D(OperatorConformance):
    operator = CONV1D.elastic(KERNEL, WIDTH)


class TestConv3D(OperatorConformance):
    operator = CONV3D.elastic(KERNEL, WIDTH)


class TestSeparableConv3D(OperatorConformance):
    operator = SEPARABLE_CONV3D.elastic(KERNEL, WIDTH)


class TestSelfAttention1D(OperatorConformance):
    operator = SELF_ATTENTION_1D.elastic(HEADS, WIDTH)


class TestSelfAttention3D(OperatorConformance):
    operator = SELF_ATTENTION_3D.elastic(HEADS, WIDTH)


class TestSelfAttention3DInWindows(OperatorConformance):
    operator = SELF_ATTENTION_3D.elastic(Setting("window", (0.125, 0.25, 0.5)))


class TestRepeatedConvolutions(OperatorConformance):
    operator = CONV1D.elastic(KERNEL, REPEATS)


class TestCrossAttention1D(OperatorConformance):
    operator = CROSS_ATTENTION_1D.elastic(KERNEL, HEADS, WIDTH)


class TestCrossAttention3D(OperatorConformance):
    operator = CROSS_ATTENTION_3D.elastic(KERNEL, HEADS, WIDTH)


class TestAnOperatorOfAUser(OperatorConformance):
    operator = Operator("elastic_conv", f"{__name__}:ElasticConv", (Setting("kernel", (3, 5)),))


def test_every_shipped_operator_is_checked() -> None:
    suites = OperatorConformance.__subclasses__()
    checked = {suite.operator.name for suite in suites}
    assert {operator.name for operator in OPERATORS if operator.module} <= checked


def test_windows_need_sizes_with_small_factors() -> None:
    slot = Slot("mid", 0, "mid", 8, 13, 8, 4)
    with pytest.raises(InputError, match="13 pixels have no divisor"):
        build(largest(SELF_ATTENTION_3D), slot)


@pytest.mark.parametrize("module", ["no.such:Thing", "supernet.operators:Missing", "json:dumps"])
def test_operators_that_do_not_exist(module: str) -> None:
    slot = Slot("mid", 0, "mid", 8, 8, 8, 4)
    with pytest.raises(InputError, match="operator 'wrong'"):
        build(largest(Operator("wrong", module)), slot)


@pytest.mark.kernels
@pytest.mark.parametrize("kernel", [1, 3, 5])
@pytest.mark.parametrize(("operator", "side"), [(CONV1D, 1), (CONV3D, 3)])
def test_neighbours_in_the_channels_are_a_convolution_over_time(
    operator: Operator, side: int, kernel: int
) -> None:
    slot = Slot("down0", 0, "down", 8, 6, 4, 5)
    block = build(Block(operator, (("kernel", kernel),)), slot)
    assert block is not None
    block = randomised(block).double()
    x_NCHW = torch.randn(2 * 5, 8, 6, 4, dtype=torch.float64)
    w = dict(block.named_parameters())
    # (inner, kernel * channels, side, side) is (inner, channels, kernel, side, side) of a Conv3d.
    weight = w["conv.weight"].unflatten(1, (kernel, -1)).transpose(1, 2)
    h = rearrange(F.silu(block.norm(x_NCHW)), "(b t) c h w -> b c t h w", t=5)
    h = F.conv3d(h, weight, w["conv.bias"], padding=(kernel // 2, side // 2, side // 2))
    h = rearrange(F.silu(h), "b c t h w -> (b t) c h w")
    wanted = x_NCHW + F.conv2d(h, w["out.weight"], w["out.bias"])
    check_close(block(x_NCHW, 5, torch.zeros(2, 1, 1)), wanted)


@pytest.mark.parametrize(("window", "sides"), [(1.0, (8, 4)), (0.5, (4, 2)), (0.125, (2, 2))])
def test_attention_in_windows_sees_its_window_in_all_frames(
    window: float, sides: tuple[int, int]
) -> None:
    slot = Slot("down0", 0, "down", 8, 8, 4, 3)
    block = build(Block(SELF_ATTENTION_3D, (("window", window), ("heads", 2))), slot)
    assert block is not None
    block = randomised(block).double()
    x_NCHW = torch.randn(2 * 3, 8, 8, 4, dtype=torch.float64)
    context = torch.zeros(2, 1, 1)
    changed = x_NCHW.clone()
    # Groups of channels are normalised over the image, so that only what keeps their statistics
    # stays inside a window: two pixels of it change places.
    changed[0, :, 0, 0], changed[0, :, 1, 1] = x_NCHW[0, :, 1, 1], x_NCHW[0, :, 0, 0]
    moved = (block(changed, 3, context) - block(x_NCHW, 3, context)).abs().amax(1) > 1e-12
    assert moved[:3, : sides[0], : sides[1]].all(), "every frame of the clip, all of the window"
    moved[:3, : sides[0], : sides[1]] = False
    assert not moved.any(), "no other window, no other clip"


def test_windows_are_shares_and_repeats_are_counts() -> None:
    slot = Slot("down0", 0, "down", 8, 8, 4, 3)
    for window in (0, 1.5, -1):
        with pytest.raises(InputError, match="share above 0 and up to 1"):
            build(Block(SELF_ATTENTION_3D, (("window", window),)), slot)
    once = build(Block(CONV1D, (("kernel", 3),)), slot)
    twice = build(Block(CONV1D, (("kernel", 3), ("repeats", 2))), slot)
    assert once is not None
    assert twice is not None
    assert 2 * sum(p.numel() for p in once.parameters()) == sum(
        p.numel() for p in twice.parameters()
    )
