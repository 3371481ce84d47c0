"""Our operators, and one of a user's own with an elastic setting, through the shipped suite."""

import pytest
import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

from nas.testing import OperatorConformance
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
    InputError,
    Operator,
    Setting,
    Slot,
)
from search_spaces.moving_digits import OPERATORS
from supernet import TemporalOperator
from supernet.operators import Settings, build
from supernet.supernet import largest


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
