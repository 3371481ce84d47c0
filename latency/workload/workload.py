"""Workloads: what running a network costs on any device, before any device is named."""

import hashlib
import json
import math
from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property, lru_cache
from typing import Any

from search_spaces import InputError
from search_spaces.files.document import Json


def option_of(part: str) -> str:
    """The option in a part's name: `conv1d(kernel=3)` of `down0=conv1d(kernel=3)`."""
    _, decided, option = part.partition("=")
    return option if decided else part


@dataclass(frozen=True)
class Operation:
    """One operation. Of a tabular space, `kind` is a decision's name and the sizes are zero."""

    kind: str
    shape: tuple[int, ...] = ()  # of the output
    flops: int = 0  # a multiply-add counts two
    bytes_moved: int = 0  # activations read and written
    weight_bytes: int = 0
    window: int = 1  # positions that a convolution or a pool looks at: 9 of a 3 x 3 kernel
    count: float = 1.0  # how often it runs; of a tabular number, the number


@dataclass(frozen=True)
class Workload:
    """A workload: an ordered list of operations, and the peak memory of their activations.

    A network that was put together from blocks keeps them as `parts`, so that a part which was
    measured alone is recognised by its content.
    """

    name: str
    operations: tuple[Operation, ...]
    peak_bytes: int = 0
    parts: tuple["Workload", ...] = ()
    number_bytes: int = 4  # of one activation: a device that computes in float16 moves half
    parameters: int | None = None  # how many numbers were learned, however stored; None: unknown
    dead: str = ""  # of a decision's part: why it adds nothing to what the network computes

    @property
    def leaves(self) -> tuple["Workload", ...]:
        """The parts, or the workload itself where it has none."""
        return self.parts or (self,)

    @property
    def group(self) -> str:
        """What this part is wherever it stands: `down0=conv3d` and `up0=conv3d` are `conv3d`."""
        return option_of(self.name)

    @property
    def choice(self) -> str:
        """The decision that this part comes of: `down0` of `down0=conv3d`."""
        return self.name.partition("=")[0]

    @cached_property
    def flops(self) -> int:
        """Floating-point operations; a multiply-add counts two."""
        return round(sum(o.count * o.flops for o in self.operations))

    @cached_property
    def bytes_moved(self) -> int:
        """Activation bytes read and written by all operations."""
        return round(sum(o.count * o.bytes_moved for o in self.operations))

    @cached_property
    def weight_bytes(self) -> int:
        """Bytes of parameters."""
        return round(sum(o.count * o.weight_bytes for o in self.operations))

    @cached_property
    def digest(self) -> str:
        """Names the content: two workloads of equal operations share it, whatever their names."""
        content = [list(asdict(operation).values()) for operation in self.operations]
        text = json.dumps(content, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    @property
    def measurable(self) -> bool:
        """Whether the operations have sizes; those of a tabular space have names alone."""
        return any(o.flops or o.bytes_moved or o.weight_bytes for o in self.operations)

    def compact(self) -> "Workload":
        """Merge equal operations into one with a count; order and parts are given up."""
        often: dict[Operation, float] = {}
        for operation in self.operations:
            once = replace(operation, count=1.0)
            often[once] = often.get(once, 0.0) + operation.count
        counted = tuple(replace(operation, count=count) for operation, count in often.items())
        return replace(self, operations=counted, parts=())

    def to_json(self) -> Json:
        """Numbers and names; an operation is a row of the fields of `Operation`."""
        content: Json = {
            "name": self.name,
            "number_bytes": self.number_bytes,
            "peak_bytes": self.peak_bytes,
            "operations": [
                [list(v) if isinstance(v, tuple) else v for v in asdict(o).values()]
                for o in self.operations
            ],
        }
        if self.parameters is not None:
            content["parameters"] = self.parameters
        return content | ({"parts": [p.to_json() for p in self.parts]} if self.parts else {})

    @staticmethod
    def from_json(entry: object, where: str) -> "Workload":
        """Read a workload out of a document.

        Raises:
            InputError: a missing field, or a size that is no number of at least 0.
        """
        try:
            assert isinstance(entry, dict)
            return Workload(
                str(entry["name"]),
                tuple(_operation(row) for row in entry["operations"]),
                _size(entry["peak_bytes"]),
                tuple(Workload.from_json(part, where) for part in entry.get("parts", ())),
                _size(entry["number_bytes"]),
                _size(entry["parameters"]) if "parameters" in entry else None,
            )
        except InputError:
            raise
        except (AssertionError, KeyError, TypeError, ValueError, OverflowError) as error:
            raise InputError(f"{where}: broken workload: {error!r}") from None


def _operation(row: Sequence[Any]) -> Operation:
    kind, shape, flops, bytes_moved, weight_bytes, window, count = row
    if not (math.isfinite(count) and isinstance(kind, str)):
        raise ValueError(f"operation {row!r}")
    return Operation(
        kind=kind,
        shape=tuple(_size(value) for value in shape),
        flops=_size(flops),
        bytes_moved=_size(bytes_moved),
        weight_bytes=_size(weight_bytes),
        window=_size(window),
        count=float(count),
    )


def _size(value: Any) -> int:
    if isinstance(value, bool) or value != int(value) or value < 0:
        raise ValueError(f"{value!r} is no size")
    return int(value)


def concatenate(name: str, parts: Iterable[Workload]) -> Workload:
    """Concatenate the workloads of parts that run one after another.

    Its peak is an upper bound: the first part (the image U-Net, whose skips stay alive) at its
    peak, while the most demanding of the others runs at its own.
    """
    parts = tuple(parts)
    operations = tuple(operation for part in parts for operation in part.operations)
    peaks = [part.peak_bytes for part in parts] or [0]
    peak_bytes = peaks[0] + max(peaks[1:], default=0)
    number_bytes = max((part.number_bytes for part in parts), default=4)
    counts = [part.parameters for part in parts if part.parameters is not None]
    parameters = sum(counts) if len(counts) == len(parts) else None
    return Workload(name, operations, peak_bytes, parts, number_bytes, parameters)


def from_choices(
    name: str,
    choices: Sequence[tuple[str, object]],
    numeric: Container[str] = (),
    dead: Mapping[str, str] | None = None,
) -> Workload:
    """Make the workload of a tabular architecture: a part for each decision, known by its name.

    Args:
        name: what reports call the workload.
        choices: (choice, option) pairs.
        numeric: the choices whose numbers vary freely; such a number is a count of its choice.
        dead: choices on edges of a graph that are off every path, and why
            (`SearchSpace.dead`): whether they cost what live ones cost is learned.
    """
    parts, dead = [], dead or {}
    for choice, option in choices:
        if choice in numeric:
            try:
                number = float(str(option))
            except ValueError:
                raise InputError(f"{choice}: {option!r} is not a number") from None
            parts.append(Workload(choice, (Operation(choice, count=number),)))
        else:
            whole = isinstance(option, float) and option.is_integer()  # 2.0 is the option 2
            spelled = str(int(option) if whole else option)  # type: ignore[call-overload]
            parts.append(_decision(choice, spelled, dead.get(choice, "")))
    return concatenate(name, parts)


@lru_cache(maxsize=4096)
def _decision(choice: str, option: str, dead: str) -> Workload:
    """Memoize a decision's part: what is known of it is then found once, not once a network."""
    name = f"{choice}={option}"  # an operation of its own: one option costs differently elsewhere
    return Workload(name, (Operation(name),), dead=dead)
