"""Fewer reshapes and transposes, and the same numbers: layouts, programs, real conversions."""

import math
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from latency.coreml.convert import export_program, save
from latency.coreml.package import open_package, read_package
from latency.graph_passes.fx_tools import RESHAPES, TRANSPOSES
from latency.graph_passes.layout import LONGEST_AXIS, MOST_AXES, Layout, Step
from latency.graph_passes.simplify_reshapes import simplify_reshapes
from nas.testing.operators import randomised
from temporal_bundle.closeness import check_close

Chain = tuple[tuple[int, ...], list[tuple[bool, tuple[int, ...]]]]
MANY = settings(max_examples=300, deadline=None, derandomize=True)


@st.composite
def shapes(draw: st.DrawFn, numbers: int) -> tuple[int, ...]:
    """A shape of so many numbers, of at most five axes, some of them of 1."""
    sizes = []
    while numbers > 1 and len(sizes) < 3:
        divisors = [n for n in range(2, numbers + 1) if numbers % n == 0]
        sizes.append(draw(st.sampled_from(divisors)))
        numbers //= sizes[-1]
    sizes += [numbers] if numbers > 1 or not sizes else []
    for _ in range(draw(st.integers(0, MOST_AXES - len(sizes)))):
        sizes.insert(draw(st.integers(0, len(sizes))), 1)
    return tuple(sizes)


@st.composite
def chains(draw: st.DrawFn) -> Chain:
    """A shape, and reshapes (to a shape) and transposes (in an order) that follow."""
    numbers = draw(st.sampled_from([12, 24, 30, 60, 72]))
    first = shape = draw(shapes(numbers))
    steps = []
    for _ in range(draw(st.integers(1, 6))):
        turns = draw(st.booleans())
        if turns:
            order = tuple(draw(st.permutations(range(len(shape)))))
            shape = tuple(shape[axis] for axis in order)
            steps.append((True, order))
        else:
            shape = draw(shapes(numbers))
            steps.append((False, shape))
    return first, steps


def run(x: np.ndarray, steps: tuple[Step, ...]) -> np.ndarray:
    for step in steps:
        x = x.transpose(step.sizes) if step.transposes else x.reshape(step.sizes)
    return x


@MANY
@given(chains())
def test_layouts_say_where_every_number_stands(chain: Chain) -> None:
    shape, steps = chain
    wanted = np.arange(math.prod(shape)).reshape(shape)
    first, layout, done = wanted, Layout.of(shape), 0
    for turns, sizes in steps:
        following = layout.transposed(sizes) if turns else layout.reshaped(sizes)
        if following is None:  # cuts through a transposed axis: the chain ends before it
            break
        layout, done = following, done + 1
        wanted = wanted.transpose(sizes) if turns else wanted.reshape(sizes)
    found = layout.steps()
    if found is None:
        return
    assert len(found) <= done
    assert sum(step.transposes for step in found) <= 1
    for index in range(1, len(found) + 1):
        assert run(first, found[:index]).ndim <= MOST_AXES
    np.testing.assert_array_equal(run(first, found), wanted)
    assert layout.shape == wanted.shape


class Chained(nn.Module):
    """A chain whose values in between are read too."""

    def __init__(self, steps: list[tuple[bool, tuple[int, ...]]], read: list[int]) -> None:
        super().__init__()
        self.steps, self.read = steps, read

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        h, found = x, []
        for index, (turns, sizes) in enumerate(self.steps):
            h = h.permute(sizes) if turns else h.reshape(sizes)
            found += [h * 2] if index in self.read else []
        return (h + 1, *found)


def moves(program: torch.export.ExportedProgram) -> int:
    """Reshapes and transposes that change something."""
    plain = {"clone", "contiguous", "alias"}
    return sum(
        (node.target in RESHAPES or node.target in TRANSPOSES)
        and not any(name in str(node.target) for name in plain)
        for node in program.graph.nodes
    )


@pytest.mark.long
@settings(max_examples=60, deadline=None, derandomize=True)
@given(chains(), st.lists(st.integers(0, 5), max_size=2))
def test_programs_give_equal_outputs_with_no_more_moves(chain: Chain, read: list[int]) -> None:
    shape, steps = chain
    x = torch.randn(shape)
    program = torch.export.export(Chained(steps, read), (x,)).run_decompositions({})
    wanted, before = program.module()(x), moves(program)
    simplify_reshapes(program)
    for one, other in zip(program.module()(x), wanted, strict=True):
        assert torch.equal(one, other)
    assert moves(program) <= before


def view_of(x: Tensor) -> Tensor:
    """Clips in a batch, as einops writes them: at one clip, two of four operations."""
    h = x.view(1, 4, 6, 5, 3).permute(0, 2, 1, 3, 4).reshape(1, 6, 4, 15)
    return h * 2


def norm_of(x: Tensor) -> Tensor:
    return F.group_norm(x, 3, eps=1e-3)


def repeated(x: Tensor) -> Tensor:
    return x[None].expand(2, 4, 6, 5, 3).reshape(8, 6, 5, 3) + 1


def heads_of(x: Tensor) -> Tensor:
    """Moved there and back with nothing between, and a copy that is read twice."""
    h = x.flatten(2).transpose(1, 2).contiguous()
    return h.sum(1) + h.transpose(1, 2).reshape(4, 6, 5, 3).sum((2, 3))


def over_time(x: Tensor) -> Tensor:
    """Neighbouring frames side by side, as a convolution over time sees them, with a weight."""
    h = F.pad(x.reshape(1, 4, 6, 15), (0, 0, 0, 0, 1, 1)) + torch.arange(6.0)[:, None]
    h = torch.cat([h[:, 0:4], F.silu(h[:, 1:5]), h[:, 2:6]], dim=2)
    return h.reshape(4, 18, 5, 3) * 2


def over_pixels(x: Tensor) -> Tensor:
    """A slice of joined axes, which has no like in the shape before."""
    return F.silu(x.reshape(4, 6, 15)[:, :, 2:14]).reshape(4, 6, 4, 3)


def and_elsewhere(x: Tensor) -> Tensor:
    """A sum between, which asks for the shape that it is in."""
    h = F.silu(x.reshape(4, 6, 15))
    return h.reshape(4, 6, 5, 3) * h.sum()


CASES: dict[Callable[[Tensor], Tensor], dict[str, int]] = {
    view_of: {"reshape": 1, "transpose": 1, "mul": 1},
    norm_of: {"reshape": 2, "instance_norm": 1},
    repeated: {"reshape": 2, "tile": 1, "add": 1},
    over_time: {"pad": 1, "add": 1, "slice_by_index": 3, "silu": 1, "concat": 1, "mul": 1},
    over_pixels: {"reshape": 2, "slice_by_index": 1, "silu": 1},
    and_elsewhere: {"reshape": 2, "silu": 1, "reduce_sum": 1, "mul": 1},
    heads_of: {"reshape": 1, "transpose": 1, "reduce_sum": 2, "add": 1},
}


class Function(nn.Module):
    def __init__(self, function: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.function = function

    def forward(self, x: Tensor) -> Tensor:
        return self.function(x)


@pytest.mark.slow
@pytest.mark.kernels
@pytest.mark.parametrize("function", CASES, ids=lambda f: f.__name__)
def test_what_is_left_after_conversion(
    function: Callable[[Tensor], Tensor], tmp_path: Path
) -> None:
    x = torch.randn(4, 6, 5, 3)
    found = export_program(Function(function), (x,)).program.module()(x)
    check_close(found, function(x))
    save(Function(function), (x,), tmp_path / "a.mlpackage")
    calls = open_package(tmp_path / "a.mlpackage").calls
    assert Counter(call.type for call in calls) == CASES[function]


@pytest.mark.slow
@pytest.mark.kernels
@pytest.mark.parametrize("shape", [(2, 12), (2, 12, 5), (2, 12, 5, 7), (2, 12, 3, 5, 7)])
@pytest.mark.parametrize("affine", [True, False])
def test_group_norms_of_any_rank(shape: tuple[int, ...], affine: bool, tmp_path: Path) -> None:
    norm = randomised(nn.GroupNorm(3, 12, affine=affine))
    x = torch.randn(shape) * 3 + 1
    found = export_program(norm, (x,))
    check_close(found.program.module()(x), norm(x))
    save(norm, (x,), tmp_path / "a.mlpackage")
    opened = open_package(tmp_path / "a.mlpackage")
    assert all(len(v.shape or ()) <= 5 for call in opened.calls for v in call.outputs)


def test_no_axis_gets_too_long() -> None:
    """Axes of a group that would be too long as one stay apart."""
    x = torch.empty(1, 2, 300, 300, device="meta")
    with torch.device("meta"):
        program = export_program(nn.GroupNorm(1, 2), (x,)).program
    made = [node.meta["val"].shape for node in program.graph.nodes if node.op == "call_function"]
    sizes = [size for shape in made for size in shape]
    assert max(sizes) <= LONGEST_AXIS


def test_windows_of_wide_layers_keep_their_axes_short() -> None:
    """Rows of windows beside frames and channels would be one axis of 87,040."""
    layout = Layout.of((17, 1280, 16, 16)).reshaped((87_040, 4, 4, 4))
    assert layout is not None
    layout = layout.transposed((0, 2, 1, 3)).reshaped((17, 1280, 16, 16))
    assert layout is not None
    found = layout.steps()
    assert found is not None
    assert [step.transposes for step in found] == [False, True, False]
    assert found[0].sizes == (17 * 1280, 4, 4, 4, 4)


@pytest.mark.kernels
def test_six_axes_become_two_transposes_of_five() -> None:
    """Coremltools takes six apart in many steps, one of them with all numbers in a row."""

    class Windows(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            h = x.reshape(2, 2, 3, 5, 4, 4, 6).permute(3, 2, 6, 0, 4, 1, 5)
            return h.reshape(5, 18, 8, 8) * 2

    class Known(Windows):
        def forward(self, x: Tensor) -> Tensor:
            h = x.reshape(4, 3, 5, 16, 6).permute(2, 1, 4, 0, 3).reshape(5, 18, 4, 16)
            h = h.reshape(5 * 18 * 2, 2, 4, 4).transpose(1, 2)
            return h.reshape(5, 18, 8, 8) * 2

    x = torch.randn(4, 3, 80, 6)
    check_close(Known()(x), Windows()(x))
    program = export_program(Known(), (x,)).program
    check_close(program.module()(x), Known()(x))
    assert moves(program) <= 5
    assert max(len(n.meta["val"].shape) for n in program.graph.nodes if n.op != "output") <= 5


class SixAxes(nn.Module):
    """Windows of a Swin transformer: a turn that does not join to five axes."""

    def forward(self, x: Tensor) -> Tensor:
        x = x.view(4, 8, 2, 4, 2, 4).permute(0, 2, 4, 3, 5, 1)
        return x.reshape(-1, 16, 8) * 2


def test_a_turn_of_six_axes_is_left_to_coremltools(tmp_path: Path) -> None:
    x = torch.randn(4, 8, 8, 8)
    module = SixAxes()
    assert torch.equal(export_program(module, (x,)).program.module()(x), module(x))
    save(module, (x,), tmp_path / "six.mlpackage")
    assert read_package(tmp_path / "six.mlpackage").operations
