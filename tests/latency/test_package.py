"""Packages read from their protobuf count as the traced modules that they were converted from."""

import collections
import importlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import latency
from latency import Workload
from latency.coreml.convert import convert, save
from latency.coreml.package import read_package
from latency.coreml.quiet import import_coremltools
from nas.costs.modules import clip_inputs
from nas.testing.operators import randomised
from search_spaces import InputError, load
from supernet import VideoUNet, parameter_count

PRODUCTS = {"convolution", "depthwise", "matmul", "attention"}


class Function(nn.Module):
    """A function of a square weight of 16, of a convolution that keeps 8 channels, of inputs."""

    def __init__(self, function: Callable[..., Tensor]) -> None:
        super().__init__()
        self.function = function
        self.weight = nn.Parameter(torch.randn(16, 16))
        self.conv = nn.Conv2d(8, 8, 3, padding=1)

    def forward(self, *inputs: Tensor) -> Tensor:
        return self.function(self, *inputs)


class MultiHead(nn.MultiheadAttention):
    def forward(self, x: Tensor, context: Tensor) -> Tensor:  # type: ignore[override]
        return super().forward(x, context, context, need_weights=False)[0]


def attend(_: nn.Module, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    return F.scaled_dot_product_attention(query, key, value)


NORMS = (nn.LayerNorm(16), nn.GELU(), nn.Softmax(-1), nn.Linear(16, 10))
GROUPS = (nn.Conv2d(8, 16, 1), nn.GroupNorm(4, 16), nn.SiLU())
ACTIVATIONS = (nn.Conv2d(8, 8, 1), nn.Hardswish(), nn.ELU(), nn.Mish(), nn.ReLU6(), nn.Tanh())
POOLS = (nn.Conv2d(8, 8, 3), nn.MaxPool2d(2), nn.AvgPool2d(2), nn.AdaptiveAvgPool2d(1))
ATTENTION = [(2, 2, 9, 4), (2, 2, 5, 4), (2, 2, 5, 6)]
Case = tuple[nn.Module, list[tuple[int, ...]]]
# Equal in every respect: FLOPs and weights of each kind.
SAME: dict[str, Case] = {
    "conv1d": (nn.Conv1d(8, 16, 3, padding=1), [(2, 8, 12)]),
    "conv2d": (nn.Conv2d(8, 16, (3, 5), stride=2), [(2, 8, 12, 13)]),
    "conv3d": (nn.Conv3d(4, 8, 3, padding=1), [(1, 4, 4, 5, 6)]),
    "depthwise": (nn.Conv2d(16, 32, 3, groups=16), [(1, 16, 9, 9)]),
    "dilated": (nn.Conv2d(8, 16, 3, dilation=2, groups=2), [(1, 8, 9, 9)]),
    "transposed": (nn.ConvTranspose2d(8, 6, 2, stride=2), [(1, 8, 5, 5)]),
    "linear": (nn.Linear(12, 16), [(2, 3, 12)]),
    "attention": (Function(attend), ATTENTION),
    "multihead": (MultiHead(16, 4, batch_first=True), [(2, 5, 16), (2, 7, 16)]),
    "encoder": (nn.TransformerEncoderLayer(16, 4, 32, batch_first=True), [(2, 5, 16)]),
    "products": (Function(lambda _, x, y: x @ y.transpose(1, 2)), [(2, 3, 16), (2, 5, 16)]),
    "einsum": (
        Function(lambda _, a, b: torch.einsum("bhid,bhjd->bhij", a, b)),
        [(2, 3, 4, 6), (2, 3, 5, 6)],
    ),
    "norms": (nn.Sequential(*NORMS), [(2, 8, 16)]),
    "activations": (nn.Sequential(*ACTIVATIONS), [(1, 8, 4, 4)]),
    "pools": (nn.Sequential(*POOLS), [(1, 8, 20, 20)]),
    "concat": (Function(lambda m, x: torch.cat((m.conv(x), x), 1)), [(1, 8, 6, 6)]),
    "upsample": (Function(lambda m, x: F.interpolate(m.conv(x), scale_factor=2.0)), [(1, 8, 6, 6)]),
    "shuffle": (nn.Sequential(nn.Conv2d(8, 16, 1), nn.PixelShuffle(2)), [(1, 8, 4, 4)]),
}


def packaged(module: nn.Module, inputs: Any, folder: Path, target: str = "iOS18") -> Workload:
    save(module, inputs, folder / "a.mlpackage", target)
    return read_package(folder / "a.mlpackage")


def traced(module: nn.Module, inputs: Any) -> Workload:
    """In float16, as packages are."""
    return latency.trace(module.half(), *(x.half() for x in inputs))


def by_kind(workload: Workload, field: str) -> dict[str, int]:
    sums = collections.Counter[str]()
    for operation in workload.operations:
        sums[operation.kind] += getattr(operation, field)
    return {kind: value for kind, value in sums.items() if value}


@pytest.mark.slow
@pytest.mark.parametrize("name", SAME)
def test_both_routes_agree(name: str, tmp_path: Path) -> None:
    module, shapes = SAME[name]
    module = randomised(module.eval())  # what is 0 or 1 would be folded away
    inputs = [torch.randn(shape) for shape in shapes]
    found, wanted = packaged(module, inputs, tmp_path), traced(module, inputs)
    assert found.flops == wanted.flops
    for field in ("flops", "weight_bytes"):
        assert by_kind(found, field) == by_kind(wanted, field)
    windows = [o.window for o in wanted.operations if o.kind in {"convolution", "depthwise"}]
    assert [o.window for o in found.operations if o.window > 1] == [w for w in windows if w > 1]
    assert found.number_bytes == wanted.number_bytes == 2
    # An activation that Core ML has no operation of is several, with what lies between them; a
    # transpose before a product is part of the product.
    assert 0.6 * wanted.peak_bytes <= found.peak_bytes <= 1.5 * wanted.peak_bytes


def test_attention_is_made_of_products_before_ios18(tmp_path: Path) -> None:
    inputs = [torch.randn(shape) for shape in ATTENTION]
    found, wanted = packaged(Function(attend), inputs, tmp_path, "iOS17"), Function(attend)
    assert by_kind(found, "flops") == {"matmul": traced(wanted, inputs).flops}


def test_norms_over_channels_are_made_of_parts(tmp_path: Path) -> None:
    """Core ML has no group norm: its scale and shift are a batch norm's of mean 0, variance 1."""
    module, inputs = randomised(nn.Sequential(*GROUPS)).eval(), [torch.randn(1, 8, 6, 6)]
    found, wanted = packaged(module, inputs, tmp_path), traced(module, inputs)
    assert found.flops == wanted.flops
    scale_and_shift = by_kind(wanted, "weight_bytes")["normalisation"]
    assert found.weight_bytes - wanted.weight_bytes == scale_and_shift
    assert wanted.peak_bytes <= found.peak_bytes <= 2 * wanted.peak_bytes


def test_a_weight_without_a_bias_gets_one_of_zeros(tmp_path: Path) -> None:
    module, inputs = Function(lambda m, x: x @ m.weight.t()), [torch.randn(2, 3, 16)]
    found, wanted = packaged(module, inputs, tmp_path), traced(module, inputs)
    assert found.flops == wanted.flops
    assert found.weight_bytes == wanted.weight_bytes + 2 * 16


@pytest.mark.long
def test_a_whole_video_unet(tmp_path: Path) -> None:
    space = load("moving_digits")
    one_of_each = {block.operator: block for block in space.blocks()}.values()
    architecture = space.arranged(list(one_of_each)[-len(space.slots) :])
    network = randomised(VideoUNet(space, architecture)).eval()
    found = packaged(network, clip_inputs(space), tmp_path)
    wanted = traced(network, clip_inputs(space))
    assert by_kind(found, "flops") == by_kind(wanted, "flops")
    # What is multiplied is stored as it is; norms as above; positions are stored as often as
    # they are added, so that elementwise weights are more.
    ours, theirs = by_kind(wanted, "weight_bytes"), by_kind(found, "weight_bytes")
    assert {k: v for k, v in theirs.items() if k in PRODUCTS} == {
        k: v for k, v in ours.items() if k in PRODUCTS
    }
    # A product and a sum of each channel may become a batch norm as well.
    assert 2 * ours["normalisation"] <= theirs["normalisation"] < 3 * ours["normalisation"]
    assert ours["elementwise"] <= theirs["elementwise"] < 0.05 * wanted.weight_bytes
    assert wanted.peak_bytes <= found.peak_bytes <= 1.05 * wanted.peak_bytes
    # Positions that were laid out look like weights of their own.
    assert wanted.parameters == parameter_count(network) <= found.parameters
    assert found.parameters < 1.005 * wanted.parameters


class Tokens(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.table, self.linear = nn.Embedding(40, 16), nn.Linear(16, 16)

    def forward(self, tokens: Tensor) -> Tensor:
        return self.linear(self.table(tokens))


def test_tables_are_gathered_from(tmp_path: Path) -> None:
    ct, tokens = import_coremltools(), torch.zeros(2, 7, dtype=torch.int32)
    program = torch.export.export(Tokens(), (tokens,)).run_decompositions({})
    inputs = [ct.TensorType("tokens", tokens.shape, dtype=np.int32)]
    convert_as(ct, program, tmp_path / "a.mlpackage", inputs=inputs)
    found, wanted = read_package(tmp_path / "a.mlpackage"), latency.trace(Tokens().half(), tokens)
    assert by_kind(found, "weight_bytes") == by_kind(wanted, "weight_bytes")
    assert by_kind(found, "weight_bytes")["gather"] == 2 * 40 * 16
    assert found.flops == wanted.flops


@pytest.mark.slow
def test_compressed_weights_are_counted_as_stored(tmp_path: Path) -> None:
    class Wide(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv, self.linear = nn.Conv2d(8, 64, 3), nn.Linear(64, 256)

        def forward(self, x: Tensor) -> Tensor:
            return self.linear(self.conv(x).mean((2, 3)))

    optimize = importlib.import_module("coremltools.optimize.coreml")
    inputs = [torch.randn(1, 8, 8, 8)]
    for target in ("iOS17", "iOS18"):  # which store it differently
        model = convert(Wide().eval(), inputs, target)
        plain = _saved(model, tmp_path / f"{target}.mlpackage")
        palette = optimize.OpPalettizerConfig(mode="uniform", nbits=4, weight_threshold=500)
        config = optimize.OptimizationConfig(palette)
        small = _saved(optimize.palettize_weights(model, config), tmp_path / f"{target}4.mlpackage")
        numbers, biases, tables = 64 * 8 * 9 + 256 * 64, 64 + 256, 2 * 16
        assert plain.weight_bytes == 2 * (numbers + biases)
        assert small.weight_bytes == numbers // 2 + 2 * (biases + tables)
        assert small.flops == plain.flops
    linear = optimize.OpLinearQuantizerConfig(mode="linear_symmetric", weight_threshold=500)
    config = optimize.OptimizationConfig(linear)
    bytes_ = _saved(optimize.linear_quantize_weights(model, config), tmp_path / "8.mlpackage")
    assert bytes_.weight_bytes == numbers + 2 * (biases + 64 + 256)  # a scale for each channel


def _saved(model: Any, path: Path) -> Workload:
    model.save(str(path))
    return read_package(path)


def convert_as(ct: Any, program: Any, path: Path, **settings: Any) -> None:
    settings.setdefault("minimum_deployment_target", ct.target.iOS18)
    ct.convert(program, skip_model_load=True, **settings).save(str(path))


def test_what_the_builder_makes(tmp_path: Path) -> None:
    """Recurrent layers and states, which no conversion of ours emits, and several functions."""
    ct = import_coremltools()
    mil = importlib.import_module("coremltools.converters.mil")
    types = mil.mil.types
    ih, hh = (np.ones((48, width), np.float16) for width in (8, 16))
    inputs = [mil.Builder.TensorSpec((5, 2, 8), types.fp16)]

    @mil.Builder.program(
        input_specs=[*inputs, mil.Builder.TensorSpec((2, 16), types.fp16)],
        opset_version=ct.target.iOS18,
    )
    def recurrent(x: Any, h: Any) -> Any:
        return mil.Builder.gru(x=x, initial_h=h, weight_ih=ih, weight_hh=hh)

    convert_as(ct, recurrent, tmp_path / "gru.mlpackage")
    [gru] = read_package(tmp_path / "gru.mlpackage").operations
    assert (gru.kind, gru.flops) == ("matmul", 2 * 5 * 2 * 48 * (8 + 16))
    assert gru.weight_bytes == 2 * 48 * (8 + 16)

    @mil.Builder.program(
        input_specs=[
            mil.Builder.TensorSpec((4, 4), types.fp16),
            mil.Builder.StateTensorSpec((4, 4), types.fp16),
        ],
        opset_version=ct.target.iOS18,
    )
    def stateful(x: Any, s: Any) -> Any:
        y = mil.Builder.matmul(x=mil.Builder.read_state(input=s), y=x)
        mil.Builder.coreml_update_state(state=s, value=y)
        return mil.Builder.add(x=y, y=x)

    convert_as(ct, stateful, tmp_path / "state.mlpackage")
    kinds = [o.kind for o in read_package(tmp_path / "state.mlpackage").operations]
    assert kinds == ["matmul", "movement", "elementwise"]

    functions = ct.utils.MultiFunctionDescriptor()
    for name in ("first", "second"):
        functions.add_function(str(tmp_path / "gru.mlpackage"), "main", name)
    functions.default_function_name = "second"
    ct.utils.save_multifunction(functions, str(tmp_path / "two.mlpackage"))
    assert read_package(tmp_path / "two.mlpackage").flops == gru.flops
    assert read_package(tmp_path / "two.mlpackage", "first").flops == gru.flops
    with pytest.raises(InputError, match=r"no function 'third'; its functions: 'first', 'second'"):
        read_package(tmp_path / "two.mlpackage", "third")


def test_what_has_no_one_workload_is_refused(tmp_path: Path) -> None:
    ct = import_coremltools()
    mil = importlib.import_module("coremltools.converters.mil")
    types = mil.mil.types

    @mil.Builder.program(
        input_specs=[mil.Builder.TensorSpec((4, 4), types.fp16)], opset_version=ct.target.iOS18
    )
    def branch(x: Any) -> Any:
        positive = mil.Builder.greater(x=mil.Builder.reduce_sum(x=x), y=np.float16(0))
        return mil.Builder.cond(
            pred=positive,
            _true_fn=lambda: mil.Builder.matmul(x=x, y=x),
            _false_fn=lambda: mil.Builder.add(x=x, y=x),
        )

    @mil.Builder.program(input_specs=[mil.Builder.TensorSpec((4, 4))])
    def plain(x: Any) -> Any:
        return mil.Builder.relu(x=x)

    script = torch.jit.trace(nn.ReLU(), torch.ones(4, 4))
    flexible = ct.Shape((ct.RangeDim(2, 8), 4))
    cases: dict[str, tuple[Any, dict[str, Any]]] = {
        "control flow": (branch, {}),
        "input 'x': has a flexible shape.*TensorType": (
            script,
            {"inputs": [ct.TensorType("x", shape=flexible)]},
        ),
        "holds neuralNetwork .*convert_to='mlprogram'": (
            plain,
            {"convert_to": "neuralnetwork", "minimum_deployment_target": None},
        ),
    }
    for index, (says, (program, settings)) in enumerate(cases.items()):
        package = tmp_path / f"{index}.mlpackage"
        convert_as(ct, program, package, **settings)
        with pytest.raises(InputError, match=says) as caught:
            read_package(package)
        assert str(caught.value).startswith(f"{package}: ")
        assert "\n" not in str(caught.value)
