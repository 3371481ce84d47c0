"""The protobuf of a Core ML program to a workload, operation by operation.

The classes are coremltools' (MIL.proto), the names of fields are theirs. What does not fit
together is refused, so that of a damaged program nothing is half-read.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any

from latency.coreml import mil
from latency.coreml.mil import AGAIN, Call, Value, short
from latency.workload import kinds
from latency.workload.liveness import Step, peak_bytes
from latency.workload.workload import Operation, Workload
from search_spaces import InputError

# Raises InputError where a file does not hold a constant: (file, offset, bytes).
CheckBlob = Callable[[str, int, int], None]


@dataclass
class Reader:
    """Goes through a program in order, and keeps what it found."""

    check_blob: CheckBlob
    values: dict[str, Value] = field(default_factory=dict)
    operations: list[Operation] = field(default_factory=list)
    steps: list[Step[str]] = field(default_factory=list)
    calls: list[Call] = field(default_factory=list)  # all that run, views and casts too
    learned: set[tuple[str, int]] = field(default_factory=set)  # weights, and how many numbers
    float_bytes: dict[int, int] = field(default_factory=dict)  # of activations, by a number's bits

    def read(self, name: str, function: Any, block: Any) -> Workload:
        """The workload of a whole function, of which `block` is the program.

        Raises:
            InputError: a damaged program, flexible shapes, control flow, an unknown operation.
        """
        for given in function.inputs:
            self._add(_value(given, f"input {short(given.name)}"))
        self.steps.append(Step(makes={name: v.bytes for name, v in self.values.items()}))
        for operation in block.operations:
            self._operation(operation)
        results = [self._find(result, "the program's end") for result in block.outputs]
        if not results:
            raise InputError(f"the program returns nothing; {AGAIN}")
        read = dict.fromkeys(value.name for value in results if value.constant_bytes is None)
        self.steps.append(Step(makes={}, reads=list(read)))
        # Of the float type that most activations have: inputs and outputs may differ from it.
        bits = max(self.float_bytes, key=self.float_bytes.__getitem__, default=32)
        peak = peak_bytes(self.steps)
        return Workload(
            name,
            tuple(self.operations),
            peak,
            number_bytes=bits // 8,
            parameters=sum(numbers for _, numbers in self.learned),
        )

    def _operation(self, operation: Any) -> None:
        kind = operation.type
        if operation.blocks or kind in {"cond", "while_loop"}:
            raise InputError(
                f"has control flow ({short(kind)}), so that there is no one workload; convert the "
                "part that runs, with loops written out"
            )
        call = self._call(operation)
        if kind == "const":
            self._add(self._constant(operation, call))
            return
        known = kinds.MIL_VIEWS | kinds.MIL_CONSTANTS | kinds.MIL_COMPRESSED
        if kind not in known and kind not in kinds.MIL:
            raise InputError(
                f"{call}: no operation that we know, and it may be a matrix product; convert "
                "without it, or upgrade temporal-nas"
            )
        mil.check_numbers(call)
        constants = mil.as_constant(call) if call.outputs else None
        for value in constants or call.outputs:
            self._add(value)
        if constants is not None:
            return
        self.calls.append(call)
        self.learned |= call.learned()
        self.steps.append(mil.step(call))
        for value in call.outputs:
            if value.is_float:
                self.float_bytes[value.bits] = self.float_bytes.get(value.bits, 0) + value.bytes
        if kind in kinds.MIL:
            self.operations.append(mil.cost(call))

    def _call(self, operation: Any) -> Call:
        where = f"operation {short(operation.type)}"
        outputs = tuple(_value(output, where) for output in operation.outputs)
        call = Call(operation.type, {}, outputs)
        if not outputs and operation.type != "write_state":
            raise InputError(f"{call}: makes nothing; {AGAIN}")
        inputs = {
            argument: tuple(
                self._bound(binding, f"inline {argument} {index}", call)
                for index, binding in enumerate(bindings.arguments)
            )
            for argument, bindings in operation.inputs.items()
        }
        if operation.type in kinds.MIL_COMPRESSED:  # up to iOS 17 its parts are attributes
            for argument, value in operation.attributes.items():
                if argument != "name":
                    inputs[argument] = (self._inline(value, argument, call),)
        return replace(call, inputs=inputs)

    def _constant(self, operation: Any, call: Call) -> Value:
        if "val" not in operation.attributes or len(call.outputs) != 1:
            raise InputError(f"{call}: a constant without a value; {AGAIN}")
        declared = call.outputs[0]
        value = self._inline(operation.attributes["val"], declared.name, call)
        if (value.shape, value.bits) != (declared.shape, declared.bits):
            raise InputError(f"{call}: its value is not of its type; {AGAIN}")
        return value

    def _bound(self, binding: Any, name: str, call: Call) -> Value:
        if binding.WhichOneof("binding") == "value":
            return self._inline(binding.value, name, call)
        return self._find(binding.name, str(call))

    def _find(self, name: str, where: str) -> Value:
        if name not in self.values:
            raise InputError(f"{where}: reads {short(name)}, which nothing makes; {AGAIN}")
        return self.values[name]

    def _add(self, value: Value) -> None:
        if value.name in self.values:
            raise InputError(f"{short(value.name)} is made twice; {AGAIN}")
        self.values[value.name] = value

    def _inline(self, value: Any, name: str, call: Call) -> Value:
        """A value that stands in the program or in a file of weights."""
        shape, bits, is_float = _type(value.type, str(call))
        constant = Value(name, shape, bits, is_float)
        constant = replace(constant, constant_bytes=constant.bytes)
        if shape is None:
            return constant
        if value.WhichOneof("value") == "blobFileValue":
            blob = value.blobFileValue
            self.check_blob(blob.fileName, blob.offset, constant.bytes)
            return constant
        tensor = value.immediateValue.tensor
        held = tensor.WhichOneof("value")
        values = getattr(tensor, held).values if held else ()
        wanted = constant.bytes if held == "bytes" else constant.numbers
        if len(values) != wanted:
            raise InputError(f"{call}: holds {len(values)} values of {wanted}; {AGAIN}")
        single = constant.numbers == 1 and held in {"ints", "longInts", "bools", "strings"}
        return replace(constant, scalar=next(iter(values))) if single else constant


def _value(named: Any, where: str) -> Value:
    shape, bits, is_float = _type(named.type, where)
    return Value(named.name, shape, bits, is_float)


def _type(declared: Any, where: str) -> tuple[tuple[int, ...] | None, int, bool]:
    """(shape, bits of a number, whether it is a float); the shape of what is no tensor is None."""
    kind = declared.WhichOneof("type")
    if kind == "stateType":
        return _type(declared.stateType.wrappedType, where)
    if kind is None:
        raise InputError(f"{where}: has no type; {AGAIN}")
    if kind != "tensorType":
        return None, 0, False
    tensor = declared.tensorType
    if tensor.rank != len(tensor.dimensions):
        raise InputError(f"{where}: has {len(tensor.dimensions)} sizes of {tensor.rank}; {AGAIN}")
    if tensor.dataType not in mil.TYPES:
        raise InputError(f"{where}: unknown type of number {tensor.dataType}; {AGAIN}")
    return (tuple(_sizes(tensor.dimensions, where)), *mil.TYPES[tensor.dataType])


def _sizes(dimensions: Any, where: str) -> Iterator[int]:
    numbers = 1
    for dimension in dimensions:
        if dimension.WhichOneof("dimension") != "constant":
            raise InputError(
                f"{where}: has a flexible shape, so that there is no one workload; convert with "
                "fixed shapes: coremltools.TensorType(shape=(1, 3, 224, 224))"
            )
        size = dimension.constant.size
        numbers *= size
        if numbers > mil.MOST_NUMBERS:
            raise InputError(f"{where}: has a size of {size}; {AGAIN}")
        yield size
