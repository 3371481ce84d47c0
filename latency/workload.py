"""Workloads: what running a network costs on any device, before any device is named."""

import hashlib
import json
from collections.abc import Container, Iterable, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property


@dataclass(frozen=True)
class Operation:
    """One operation. Of a tabular space, `kind` is an option's name and the sizes are zero."""

    kind: str
    shape: tuple[int, ...] = ()  # of the output
    flops: int = 0  # a multiply-add counts two
    bytes_moved: int = 0  # activations read and written
    weight_bytes: int = 0
    count: float = 1.0


@dataclass(frozen=True)
class Workload:
    """An ordered list of operations, and the most bytes of activations alive at once.

    A network that was put together from blocks keeps them as `parts`, so that a part which was
    measured alone is recognised by its content.
    """

    name: str
    operations: tuple[Operation, ...]
    peak_bytes: int = 0
    parts: tuple["Workload", ...] = ()

    @property
    def leaves(self) -> tuple["Workload", ...]:
        """The parts, or the workload itself where it has none."""
        return self.parts or (self,)

    @property
    def group(self) -> str:
        """What this part is wherever it stands: `down0=conv3d` and `up0=conv3d` are `conv3d`."""
        return self.name.rpartition("=")[2]

    @property
    def choice(self) -> str:
        """The decision that this part comes of: `down0` of `down0=conv3d`."""
        return self.name.partition("=")[0]

    @cached_property
    def flops(self) -> int:
        """Floating-point operations; a multiply-add counts two."""
        return sum(operation.flops for operation in self.operations)

    @cached_property
    def bytes_moved(self) -> int:
        """Activation bytes read and written by all operations."""
        return sum(operation.bytes_moved for operation in self.operations)

    @cached_property
    def weight_bytes(self) -> int:
        """Bytes of parameters."""
        return sum(operation.weight_bytes for operation in self.operations)

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


def concatenate(name: str, parts: Iterable[Workload]) -> Workload:
    """The workload of parts that run one after another.

    Its peak is an upper bound: the first part (the image U-Net, whose skips stay alive) at its
    peak, while the most demanding of the others runs at its own.
    """
    parts = tuple(parts)
    operations = tuple(operation for part in parts for operation in part.operations)
    peaks = [part.peak_bytes for part in parts] or [0]
    return Workload(name, operations, peaks[0] + max(peaks[1:], default=0), parts)


def from_choices(
    name: str, choices: Sequence[tuple[str, object]], numeric: Container[str] = ()
) -> Workload:
    """The workload of a tabular architecture: a part for each decision, known by its name.

    Args:
        name: what reports call the workload.
        choices: (choice, option) pairs.
        numeric: the choices whose numbers vary freely; such a number is a count of its choice.
    """
    parts = []
    for choice, option in choices:
        if choice in numeric:
            parts.append(Workload(choice, (Operation(choice, count=float(str(option))),)))
        else:
            whole = isinstance(option, float) and option.is_integer()  # 2.0 is the option 2
            spelled = str(int(option) if whole else option)  # type: ignore[call-overload]
            parts.append(Workload(f"{choice}={spelled}", (Operation(spelled),)))
    return concatenate(name, parts)
