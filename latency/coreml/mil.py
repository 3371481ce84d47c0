"""Programs in Core ML's intermediate language (MIL) to operations and their costs.

What is read is coremltools' protobuf (its MIL.proto); an operation's arguments and their shapes
are those that `coremltools.converters.mil.mil.ops.defs` documents. Of damaged programs nothing is
read: everything that is used was checked to fit together.
"""

import math
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from latency.workload import kinds
from latency.workload.liveness import Step, score_numbers
from latency.workload.workload import Operation
from search_spaces import InputError

AGAIN = "save the model again, or copy the whole package"
MOST_NUMBERS = 2**48  # of a tensor; more is no tensor but a damaged size
# Numbers that are no floats are weights only where data is expected: tables, indices, masks.
# Elsewhere they are settings (strides, axes), which belong to the operation.
DATA = frozenset(
    ("x", "y", "values", "data", "indices", "updates", "cond", "a", "b", "attn_mask", "weight")
)
# What was not learned: statistics, masks, and what coremltools made itself and named so. That is
# the bias of zeros of a linear layer that has none, and tables that were computed (`mul_1`) or
# that torch.export found to be buffers (`b_`) or constants (`c_`), where they are no one's weight.
NOT_LEARNED = {"batch_norm": ("mean", "variance"), "scaled_dot_product_attention": ("attn_mask",)}
ADDED_BIAS = re.compile(r"linear_\d+_bias_\d+(_to_fp16)?")
COMPUTED = re.compile(rf"([bc]_\w+|(const|{'|'.join(kinds.MIL)})(_\d+)+)(_to_fp16)?")
# What a compressed weight is unpacked by; known at loading.
UNPACKING = frozenset({"shape", "axis", "vector_axis", "output_dtype", "name"})
# (bits, is a float) of MIL.proto's DataType.
TYPES: Mapping[int, tuple[int, bool]] = {
    1: (8, False),  # BOOL
    2: (0, False),  # STRING
    **{10 + index: (bits, True) for index, bits in enumerate((16, 32, 64, 16))},  # FLOAT, BFLOAT16
    **{21 + index: (bits, False) for index, bits in enumerate((8, 16, 32, 64, 4))},  # INT8-64, 4
    **{31 + index: (bits, False) for index, bits in enumerate((8, 16, 32, 64, 4, 2, 1, 6, 3))},
    40: (8, True),  # FLOAT8E4M3FN
    41: (8, True),  # FLOAT8E5M2
}


@dataclass(frozen=True)
class Value:
    """A tensor of a program, or (with shape None) something that is none, as a text."""

    name: str
    shape: tuple[int, ...] | None
    bits: int = 0  # of one number
    is_float: bool = False
    constant_bytes: int | None = None  # of a constant, as stored; None: an activation
    compressed: bool = False
    scalar: int | bool | str | None = None  # a constant's only number, where it has one
    views: frozenset[tuple[str, int]] = frozenset()  # of a view of constants: those, see `learned`

    @property
    def learned(self) -> frozenset[tuple[str, int]]:
        """Of a constant: the weights that it shows, each by its name, and how many numbers each."""
        return self.views or frozenset({(self.name, self.numbers)})

    @property
    def numbers(self) -> int:
        """How many."""
        return 0 if self.shape is None else math.prod(self.shape)

    @property
    def bytes(self) -> int:
        """Of all its numbers."""
        return -(-self.numbers * self.bits // 8)


@dataclass(frozen=True)
class Call:
    """An operation with its arguments looked up."""

    type: str
    inputs: Mapping[str, tuple[Value, ...]]
    outputs: tuple[Value, ...]

    def __str__(self) -> str:
        name = short(self.outputs[0].name if self.outputs else "")
        # A damaged file may call its operations anything.
        kind = self.type if self.type.isidentifier() else short(self.type)
        return f"operation {name} ({kind})"

    def shape(self, argument: str) -> tuple[int, ...]:
        """Of a tensor that the operation cannot do without."""
        found = self.inputs.get(argument, ())
        if len(found) != 1 or found[0].shape is None:
            raise InputError(f"{self}: argument {argument!r} is missing or no tensor; {AGAIN}")
        return found[0].shape

    def setting(self, argument: str, default: int | bool | str) -> Any:
        """A constant's only number, or the default where it is not given."""
        found = self.inputs.get(argument)
        if not found:
            return default
        scalar = found[0].scalar
        if not isinstance(scalar, type(default)):
            wanted = type(default).__name__
            raise InputError(f"{self}: argument {argument!r} is no constant {wanted}; {AGAIN}")
        return scalar

    @property
    def output(self) -> tuple[int, ...]:
        """The shape of what comes out first."""
        shape = self.outputs[0].shape if self.outputs else None
        if shape is None:
            raise InputError(f"{self}: makes no tensor; {AGAIN}")
        return shape

    def require(self, fits: object, what: str) -> None:
        """Refuse an operation whose shapes contradict one another."""
        if not fits:
            raise InputError(f"{self}: {what} do not fit together; {AGAIN}")

    def given(self) -> Iterator[Value]:
        """Every argument once."""
        yield from {v.name: v for values in self.inputs.values() for v in values}.values()

    def weights(self) -> Iterator[Value]:
        """Arguments that are weights of the network, each once."""
        yield from {value.name: value for _, value in self._weights()}.values()

    def learned(self) -> frozenset[tuple[str, int]]:
        """The parameters that it reads: each by its name, and how many numbers it holds."""
        found = frozenset[tuple[str, int]]()
        made = COMPUTED if kinds.MIL.get(self.type) == "elementwise" else ADDED_BIAS
        for argument, value in self._weights():
            number = value.is_float or value.compressed or argument == "weight"
            other = argument in NOT_LEARNED.get(self.type, ()) or made.fullmatch(value.name)
            if number and not other:
                found |= value.learned
        return found

    def _weights(self) -> Iterator[tuple[str, Value]]:
        for argument, values in self.inputs.items():
            for value in values:
                data = value.is_float or value.compressed or argument in DATA
                if value.constant_bytes is not None and value.shape and data:
                    yield argument, value


def short(text: str) -> str:
    """A name out of a file, fit for one line."""
    return repr(text if len(text) <= 80 else text[:77] + "...")


def cost(call: Call) -> Operation:
    """What one run of an operation costs.

    Raises:
        InputError: shapes that contradict one another.
    """
    count = FLOPS.get(call.type)
    flops = count(call) if count else 0
    kind, window = kinds.MIL[call.type], 1
    if kind == "convolution":
        window = math.prod(call.shape("weight")[2:])
        if call.type != "conv_transpose" and call.setting("groups", 1) > 1:
            kind = "depthwise"
    read = sum(value.bytes for value in call.given() if value.constant_bytes is None)
    made = call.outputs or call.inputs.get("data", ())  # a state is written and nothing returned
    return Operation(
        kind=kind,
        shape=(made[0].shape or ()) if made else (),
        flops=flops,
        bytes_moved=read + sum(value.bytes for value in made),
        weight_bytes=sum(value.constant_bytes or 0 for value in call.weights()),
        window=window,
    )


def check_numbers(call: Call) -> None:
    """Operations that only move numbers lose none; what says so otherwise is damaged."""
    made = sum(value.numbers for value in call.outputs)
    if call.type in KEEP:
        call.require(made == math.prod(call.shape("x")), "the shapes")
    elif call.type in {"concat", "stack"}:
        taken = sum(value.numbers for value in call.inputs.get("values", ()))
        call.require(made == taken, "the shapes")


def as_constant(call: Call) -> tuple[Value, ...] | None:
    """What an operation on weights alone makes: a weight, known at loading; None for others."""
    compressed = call.type in kinds.MIL_COMPRESSED
    arguments = {k: v for k, v in call.inputs.items() if not compressed or k not in UNPACKING}
    values = [value for values in arguments.values() for value in values]
    if not values or any(value.constant_bytes is None for value in values):
        if compressed:
            raise InputError(f"{call}: a weight that is made of no constants; {AGAIN}")
        return None
    if call.type in FLOPS:
        return None
    weights = values if compressed else list(call.weights())
    stored = sum(value.constant_bytes or 0 for value in weights)
    packed = compressed or any(value.compressed for value in weights)
    # What was unpacked is a weight of its own size; whatever else is made of weights shows them.
    shown = [] if compressed else [value.learned for value in weights]
    views = frozenset[tuple[str, int]]().union(*shown)
    first, *others = call.outputs
    return (
        replace(first, constant_bytes=stored, compressed=packed, views=views),
        *(replace(other, constant_bytes=0, compressed=packed, views=views) for other in others),
    )


def step(call: Call) -> Step[str]:
    """What an operation makes and reads, to find the peak of activations."""
    scratch_bits = 0
    if call.type == "scaled_dot_product_attention":
        scratch_bits = score_numbers(call.shape("query"), call.shape("key")) * call.outputs[0].bits
    return Step(
        makes={value.name: value.bytes for value in call.outputs},
        reads=[value.name for value in call.given() if value.constant_bytes is None],
        is_view=call.type in kinds.MIL_VIEWS,
        scratch_bytes=scratch_bits // 8,
    )


def _convolution(call: Call) -> int:
    x, weight, output = call.shape("x"), call.shape("weight"), call.output
    groups = call.setting("groups", 1)
    call.require(len(x) == len(weight) == len(output) > 2, "the ranks")
    call.require(weight[1] * groups == x[1] and output[:2] == (x[0], weight[0]), "the channels")
    return 2 * math.prod(output) * math.prod(weight[1:])


def _transposed(call: Call) -> int:
    x, weight, output = call.shape("x"), call.shape("weight"), call.output
    groups = call.setting("groups", 1)
    call.require(len(x) == len(weight) == len(output) > 2, "the ranks")
    fits = x[1] == weight[0] and output[:2] == (x[0], weight[1] * groups)
    call.require(fits, "the channels")
    return 2 * math.prod(x) * math.prod(weight[1:])


def _linear(call: Call) -> int:
    x, weight, output = call.shape("x"), call.shape("weight"), call.output
    call.require(len(weight) == 2 and len(x) > 0, "the ranks")
    call.require(output == (*x[:-1], weight[0]) and x[-1] == weight[1], "the channels")
    return 2 * math.prod(output) * weight[1]


def _matmul(call: Call) -> int:
    x, y = call.shape("x"), call.shape("y")
    call.require(len(x) > 0 and len(y) > 0, "the ranks")
    turned_x, turned_y = (call.setting(f"transpose_{name}", default=False) for name in "xy")
    summed = x[-2] if turned_x and len(x) > 1 else x[-1]
    call.require(summed == (y[-1] if turned_y or len(y) == 1 else y[-2]), "the shapes")
    if len(x) > 1 and len(y) > 1:
        sides = (x[-1] if turned_x else x[-2], y[-2] if turned_y else y[-1])
        call.require(call.output[-2:] == sides, "the shapes")
    return 2 * math.prod(call.output) * summed


def _attention(call: Call) -> int:
    query, key, value = (call.shape(name) for name in ("query", "key", "value"))
    call.require(min(map(len, (query, key, value))) > 1, "the ranks")
    call.require(query[-1] == key[-1] and key[-2] == value[-2], "the shapes")
    call.require(call.output == (*query[:-1], value[-1]), "the shapes")
    return 2 * math.prod(query[:-1]) * key[-2] * (query[-1] + value[-1])


def _einsum(call: Call) -> int:
    """Of a product of two: every combination of indices is a multiply-add."""
    operands = call.inputs.get("values", ())
    terms = call.setting("equation", "").replace(" ", "").partition("->")[0].split(",")
    call.require(len(terms) == len(operands) == 2, "the equation and the arguments")
    sizes: dict[str, int] = {}
    for term, operand in zip(terms, operands, strict=True):
        call.require(operand.shape and len(term) == len(operand.shape), "the equation and shapes")
        for letter, size in zip(term, operand.shape or (), strict=True):
            sizes[letter] = max(size, sizes.get(letter, 1))  # 1 is broadcast
    return 2 * math.prod(sizes.values())


def _recurrent(call: Call) -> int:
    """Each step of each sequence multiplies all weights once."""
    x = call.shape("x")
    call.require(len(x) == 3, "the ranks")
    numbers = math.prod(call.shape("weight_ih")) + math.prod(call.shape("weight_hh"))
    if call.inputs.get("weight_ih_back"):
        numbers += math.prod(call.shape("weight_ih_back"))
        numbers += math.prod(call.shape("weight_hh_back"))
    return 2 * x[0] * x[1] * numbers


FLOPS: Mapping[str, Callable[[Call], int]] = {
    "conv": _convolution,
    "conv_quantized": _convolution,
    "conv_transpose": _transposed,
    "linear": _linear,
    "matmul": _matmul,
    "einsum": _einsum,
    "scaled_dot_product_attention": _attention,
    "gru": _recurrent,
    "lstm": _recurrent,
    "rnn": _recurrent,
}
# As many numbers come out as went in.
KEEP = frozenset(
    (
        *("reshape", "reshape_like", "expand_dims", "squeeze", "identity", "cast", "transpose"),
        *("flatten2d", "depth_to_space", "space_to_depth", "pixel_shuffle", "pixel_unshuffle"),
        *("reverse", "reverse_sequence", "split", "softmax", "layer_norm", "relu", "silu"),
    )
)
