"""What keeps the Neural Engine from running a Core ML package, part by part.

Limits are those of public studies (COREML.md in short): none is documented by Apple.
"""

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property, reduce
from pathlib import Path
from typing import Any

from latency.coreml.convert import MARK
from latency.coreml.mil import Call
from latency.coreml.package import CHAIN, Opened, open_package
from latency.coreml.packaging import PARTS_KEY
from latency.graph_passes.layout import LONGEST_AXIS, MOST_AXES
from latency.workload.workload import Workload, concatenate

NETWORK = "network"  # the part of what belongs to no other
MOST_ENGINE_AXES = 4
LONGEST_KERNEL = 16
FEWEST_OPERATIONS = 20
RESHAPES = frozenset({"reshape", "expand_dims", "squeeze", "flatten2d", "reshape_like"})
# Whose work is not tensors of float16 by rows and columns.
ELSEWHERE = {
    "cumsum": "cumulative sums run on the CPU",
    **dict.fromkeys(("gru", "lstm", "rnn"), "recurrent layers run on the CPU"),
    **dict.fromkeys(
        (
            *("gather", "gather_along_axis", "gather_nd", "scatter", "scatter_along_axis"),
            *("scatter_nd", "one_hot", "topk", "argsort", "non_maximum_suppression"),
            *("non_zero", "resample", "band_part"),
        ),
        "reads or writes where indices say: on the CPU or the GPU",
    ),
}


@dataclass(frozen=True)
class Finding:
    """Something that keeps a part of a network off the Neural Engine, or slows it there."""

    part: str
    rule: str
    says: str
    operation: str  # the first that it was found at
    count: int = 1
    refused: bool = False  # Core ML does not load such a model at all


@dataclass(frozen=True)
class PartCount:
    """What moves numbers without computing, in one part."""

    part: str
    operations: int
    reshapes: int
    transposes: int
    casts: int
    moved_mb: float  # written by reshapes and transposes, in MB (1e6 bytes)


@dataclass(frozen=True)
class Lint:
    """The findings of a package, in the order of its parts."""

    parts: tuple[PartCount, ...]
    findings: tuple[Finding, ...]
    workload: Workload

    def to_json(self) -> dict[str, Any]:
        """For scripts."""
        return {
            "parts": [asdict(part) for part in self.parts],
            "findings": [asdict(finding) for finding in self.findings],
        }

    @cached_property
    def total(self) -> PartCount:
        """All parts together."""
        return reduce(_added, self.parts, PartCount("all", 0, 0, 0, 0, 0.0))


COUNTED = ("operations", "reshapes", "transposes", "casts", "moved_mb")


def lint(path: Path) -> Lint:
    """Look a package over, or a folder of chunks; nothing is loaded or run.

    Raises:
        InputError: as `read_package`.
    """
    if (path / CHAIN).is_file() and (chunks := sorted(path.glob("*.mlpackage"))):
        return merged([lint(chunk) for chunk in chunks])
    opened = open_package(path)
    calls = list(opened.calls)
    parts = _parts_of(calls, _known_parts(opened))
    order = list(dict.fromkeys(parts))
    counts = tuple(_counted(name, calls, parts) for name in order)
    found: dict[tuple[str, str], Finding] = {}
    times = Counter[tuple[str, str]]()
    for call, part in zip(calls, parts, strict=True):
        for rule, says, refused in _rules(call):
            key = (part, rule)
            times[key] += 1
            found.setdefault(key, Finding(part, rule, says, _name(call), refused=refused))
    findings = [replace(finding, count=times[key]) for key, finding in found.items()]
    findings.sort(key=lambda finding: (not finding.refused, order.index(finding.part)))
    if len(calls) < FEWEST_OPERATIONS:
        says = "so few operations are not worth a launch of the Neural Engine: the CPU runs them"
        findings.append(Finding(NETWORK, "small", says, _name(calls[0]) if calls else ""))
    return Lint(counts, tuple(findings), opened.workload)


def merged(found: Sequence[Lint]) -> Lint:
    """Of chunks: a part that was cut counts once."""
    parts: dict[str, PartCount] = {}
    findings: dict[tuple[str, str], Finding] = {}
    for each in found:
        for part in each.parts:
            parts[part.part] = _added(parts[part.part], part) if part.part in parts else part
        for finding in each.findings:
            key = (finding.part, finding.rule)
            before = findings.get(key)
            count = finding.count + (before.count if before else 0)
            findings[key] = replace(before or finding, count=count)
    workload = concatenate("chunks", [each.workload for each in found])
    return Lint(tuple(parts.values()), tuple(findings.values()), workload)


def _added(a: PartCount, b: PartCount) -> PartCount:
    return PartCount(a.part, *(getattr(a, name) + getattr(b, name) for name in COUNTED))


def _rules(call: Call) -> Iterator[tuple[str, str, bool]]:
    """(rule, what it says, refused) for each that an operation breaks."""
    tensors = [value.shape for value in (*call.given(), *call.outputs) if value.shape]
    rank = max(map(len, tensors), default=0)
    longest = max((size for shape in tensors for size in shape), default=0)
    if rank > MOST_AXES:
        yield f"rank {rank}", f"Core ML takes {MOST_AXES} axes at most", True
    elif rank > MOST_ENGINE_AXES:
        yield f"rank {rank}", "the Neural Engine lays out 4 axes: a fifth costs copies", False
    if longest > LONGEST_AXIS:
        yield "dimension", f"{longest} numbers in a row; the Neural Engine's most is 65,536", False
    if call.type in {"conv", "conv_transpose", "conv_quantized"}:
        yield from _convolution_rules(call.shape("weight")[2:])
    if call.type in ELSEWHERE:
        yield call.type, ELSEWHERE[call.type], False
    if call.type == "cast":
        yield "cast", "changes the type of numbers: a pass over them, and often another unit", False
    for is_float, name in ((True, "float32"), (False, "int32")):
        if any(v.shape and v.bits == 32 and v.is_float == is_float for v in call.outputs):
            yield name, "the Neural Engine computes in float16: this runs elsewhere", False


def _convolution_rules(sides: Sequence[int]) -> Iterator[tuple[str, str, bool]]:
    if max(sides, default=0) > LONGEST_KERNEL:
        yield "kernel", f"{sides}; the Neural Engine's longest side is {LONGEST_KERNEL}", False
    if len(sides) == 3:
        yield "3-D convolution", "the Neural Engine's convolutions are 2-D", False


def _counted(part: str, calls: Sequence[Call], parts: Sequence[str]) -> PartCount:
    own = [call for call, home in zip(calls, parts, strict=True) if home == part]
    reshapes = [call for call in own if call.type in RESHAPES]
    transposes = [call for call in own if call.type == "transpose"]
    moved = sum(value.bytes for call in (*reshapes, *transposes) for value in call.outputs)
    casts = sum(call.type == "cast" for call in own)
    return PartCount(part, len(own), len(reshapes), len(transposes), casts, moved / 1e6)


def _known_parts(opened: Opened) -> frozenset[str]:
    """What names of operations begin with, as the package says; nothing in others' packages."""
    try:
        listed = json.loads(opened.metadata.get(PARTS_KEY, "[]"))
    except (ValueError, RecursionError):
        return frozenset()
    names = listed if isinstance(listed, list) else []
    return frozenset(name for name in names if isinstance(name, str) and name)


def _parts_of(calls: Sequence[Call], known: frozenset[str]) -> list[str]:
    """The part of each operation: as its name says it, else that of the first that reads it.

    Coremltools names some operations anew (linear layers, transposes that it moved).
    """
    if not known:
        return [NETWORK] * len(calls)
    named: list[str | None] = [_own_part(call, known) for call in calls]
    reader: dict[str, int] = {}
    for index, call in enumerate(calls):
        for value in call.given():
            reader.setdefault(value.name, index)
    for index in reversed(range(len(calls))):
        if named[index] is None:
            readers = [reader[v.name] for v in calls[index].outputs if v.name in reader]
            named[index] = named[min(readers)] if readers else None
    found: list[str] = []
    for name in named:  # what nothing reads is the end of the part before it
        found.append(name or (found[-1] if found else NETWORK))
    return found


def _own_part(call: Call, known: frozenset[str]) -> str | None:
    part, mark, _ = _name(call).partition(MARK)
    return part if mark and part in known else None


def _name(call: Call) -> str:
    return call.outputs[0].name if call.outputs else call.type
