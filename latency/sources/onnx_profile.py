"""ONNX Runtime's profiles: one JSON file a session, with the time of every run and every node.

A session writes one where it is asked to (`SessionOptions.enable_profiling`, or
`onnxruntime_perf_test -p PREFIX`). It is a list of events as Chrome's tracing has them, times in
microseconds (https://onnxruntime.ai/docs/performance/tune-performance/profiling-tools.html, and
onnxruntime/core/common/profiler.cc): `model_run` of category Session is a call, those of category
Node, `NAME_kernel_time`, hold its nodes with their operator and their execution provider.

Looking at every node takes time, too: onnxruntime_perf_test without -p measures calls alone.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from latency.measurement.measurement import CONTRADICTION, Timing
from latency.sources.fields import Field
from latency.sources.placement import KIND, Placement
from latency.sources.report_files import name_of
from search_spaces import InputError

SOURCE = "ONNX Runtime profile"
MEND = "profile again, and end the session (`end_profiling`) before the file is taken"
PROVIDER = "ExecutionProvider"
HOUR_US = 3600e6
LONGEST_US = 1e15  # since the session began: thirty years
FLOATS = {"float": "float32", "float16": "float16", "bfloat16": "bfloat16", "double": "float64"}


@dataclass(frozen=True)
class Node:
    """A node of the graph in one call."""

    provider: str
    kind: str
    taken_us: float
    types: frozenset[str]  # of its outputs, where they are floats


@dataclass(frozen=True)
class Profile:
    """The calls of a session, the first of them cold, and the nodes of all of them."""

    runs_us: list[float]
    nodes: list[Node]

    @property
    def placement(self) -> Placement:
        """The share of each provider in the time of the nodes; and a call's operations."""
        costs = [(short(node.provider), node.taken_us) for node in self.nodes]
        if not any(cost for _, cost in costs):  # all of them quicker than a microsecond
            costs = [(name, 1.0) for name, _ in costs]
        placed = Placement.of(costs, [node.kind for node in self.nodes])
        calls = max(1, len(self.runs_us))
        return Placement(
            placed.shares, {kind: -(-n // calls) for kind, n in placed.operations.items()}
        )


def is_profile(document: Any) -> bool:
    """Whether a JSON document is meant to be one."""
    return isinstance(document, list)


def profile_rows(document: Field) -> list[dict[str, Any]]:
    """The row of a profile: one network in one session. Its name is that of the file.

    Raises:
        InputError: names the file, the field, and the mend; nothing is half-read.
    """
    found = read_profile(document)
    warm_ms = [taken_us / 1e3 for taken_us in found.runs_us[1:]]
    if not warm_ms or min(warm_ms) <= 0:
        raise InputError(
            f"{document.file}: has no times of warm calls (the first `model_run` is cold); call "
            "the session twice or more, and profile again"
        )
    providers = sorted({node.provider for node in found.nodes})
    return [
        {
            "id": name_of(document.file.name),
            **Timing.of(warm_ms).columns(),
            "compute_unit": ", ".join(providers),
            "precision": ", ".join(sorted({each for node in found.nodes for each in node.types})),
            "source": SOURCE,
            "notes": found.placement.text,
        }
    ]


def read_profile(document: Field) -> Profile:
    """The calls and the nodes of a profile.

    Raises:
        InputError: it is something else, calls ran at once, or their times contradict the nodes'.
    """
    runs: list[tuple[float, float]] = []
    nodes: list[Node] = []
    for event in document.entries():
        category, name = event["cat"].text(), event["name"]
        if category == "Session" and name.value == "model_run":
            begun_us = event["ts"].number(0, LONGEST_US)
            runs.append((begun_us, event["dur"].number(0, HOUR_US)))
        elif category == "Node" and name.text().endswith("_kernel_time"):
            nodes.append(_node(event))
    if not runs:
        raise InputError(
            f"{document.file}: holds no event `model_run` of category Session, so no call of a "
            f"network by ONNX Runtime; {MEND}"
        )
    runs.sort()
    _check_times(document, runs, nodes)
    return Profile([taken for _, taken in runs], nodes)


def short(provider: str) -> str:
    """A provider's name as notes have it: `cpu` for CPUExecutionProvider."""
    return provider.removesuffix(PROVIDER).lower() or provider


def _node(event: Field) -> Node:
    args = event["args"]
    provider, kind = args["provider"], args["op_name"]
    if not provider.text().isidentifier():
        raise provider.wrong("the name of an execution provider")
    if not KIND.fullmatch(kind.text()):  # a provider's own, as OpenVINO-EP-subgraph_1
        raise kind.wrong("the name of an operator")
    types = frozenset(_floats(args.get("output_type_shape")))
    return Node(provider.text(), kind.text(), event["dur"].number(0, HOUR_US), types)


def _floats(outputs: Field | None) -> Iterator[str]:
    """The floating types of a node's outputs; versions that do not list them say nothing."""
    for output in outputs.entries() if outputs is not None else ():
        yield from (FLOATS[name] for name in FLOATS if output.get(name) is not None)


def _check_times(document: Field, runs: list[tuple[float, float]], nodes: list[Node]) -> None:
    for (begun, taken), (later, _) in pairwise(runs):
        if begun + taken > later + 1:  # each is rounded to a microsecond
            raise InputError(
                f"{document.file}: calls of the network overlap; profile with one at a time "
                "(onnxruntime_perf_test -c 1)"
            )
    called, worked = sum(taken for _, taken in runs), sum(node.taken_us for node in nodes)
    if worked > CONTRADICTION * max(1.0, called):
        raise InputError(
            f"{document.file}: the nodes take {worked / max(1.0, called):,.0f} times as long as "
            f"the calls that they are of, so their units differ; {MEND}"
        )
