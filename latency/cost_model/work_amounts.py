"""Amounts of work: count what a workload asks of a device, by kind (GFLOPs, megabytes, launches).

Kinds are told apart by what the hardware does: weights are streamed from memory once, dense
products fill the multiply-add array, depthwise ones leave most of it idle, attention writes and
reads its score matrix, norms pass over their input several times, and so on. A network's amounts
are the sum of its operations'.
"""

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from latency.workload.workload import Operation, Workload

Vector = npt.NDArray[np.float64]

# Kind of work -> the unit that its amounts are counted in.
UNITS = {
    "call": "call",  # one a run: what the runtime does around the network
    "operation": "operation",  # that is no elementwise one, which compilers fuse into these
    "elementwise": "operation",
    "gather": "operation",  # leaves an accelerator that cannot index
    "weights": "MB",
    "dense": "GFLOP",  # of convolutions
    "depthwise": "GFLOP",
    "scores": "MB",  # of attention's score matrix, counted once
    "norm": "MB",
    "moved": "MB",
    "activations": "MB",  # of convolutions and products
    "elementwise_mb": "MB",
    "products": "GFLOP",  # of matrices with weights
    "attention": "GFLOP",  # of attention's scores, and of values by them
}
WORK_KINDS = tuple(UNITS)
INDEX = {kind: index for index, kind in enumerate(WORK_KINDS)}
# What networks of one kind share an error in: in what the multiply-add array was made for little,
# in what transformers do beside it more. Rows are (groups, WORK_KINDS); a call is in none.
_OF_TRANSFORMERS = ("products", "attention", "scores", "norm", "moved", "gather")
GROUPS = np.array(
    [
        [kind not in {"call", *_OF_TRANSFORMERS} for kind in WORK_KINDS],
        [kind in _OF_TRANSFORMERS for kind in WORK_KINDS],
    ],
    dtype=float,
)
GROUP_NAMES = ("family, of convolutions", "family, of attention")
# Per workload, after the kinds of work: FLOPs times window, for the mean window.
COLUMNS = (*WORK_KINDS, "window_gflop")


def amounts(workload: Workload, number_bytes: int | None = None) -> Vector:
    """Count a workload's amount of each of COLUMNS.

    Args:
        workload: of operations with sizes.
        number_bytes: of a device that computes in another precision than the workload was traced
            in; traffic and weights are scaled.
    """
    found = np.zeros(len(COLUMNS))
    for operation in workload.operations:
        found += operation.count * _amounts(operation, workload.number_bytes)
    scale = (number_bytes or workload.number_bytes) / workload.number_bytes
    for kind, unit in UNITS.items():
        if unit == "MB":
            found[INDEX[kind]] *= scale
    found[INDEX["call"]] = 1.0
    return found


def _amounts(operation: Operation, number_bytes: int) -> Vector:
    found = dict.fromkeys(COLUMNS, 0.0)
    gflop, moved_mb = operation.flops / 1e9, operation.bytes_moved / 1e6
    found["window_gflop"] = gflop * operation.window
    found["weights"] = operation.weight_bytes / 1e6
    if operation.kind == "gather" and _reads_nothing(operation, number_bytes):
        return np.zeros(len(COLUMNS))  # of weights at fixed places: done when a network is loaded
    if operation.kind == "gather":  # an embedding table is looked up, not streamed
        found |= {"gather": 1.0, "moved": moved_mb, "weights": 0.0}
    elif operation.kind == "elementwise" or _is_batch_norm(operation, number_bytes):
        found |= {"elementwise": 1.0, "elementwise_mb": moved_mb}
    elif operation.kind == "depthwise":
        found |= {"operation": 1.0, "depthwise": gflop, "activations": moved_mb}
    elif operation.kind == "normalisation":
        softmax = operation.weight_bytes == 0
        found |= (
            {"operation": 1.0, "scores": moved_mb / 2}
            if softmax
            else {"operation": 1.0, "norm": moved_mb}
        )
    elif operation.kind == "movement":
        found |= {"operation": 1.0, "moved": moved_mb}
    else:
        found |= {"operation": 1.0, _product(operation): gflop, "activations": moved_mb}
    if operation.kind == "attention":
        found["scores"] = _score_numbers(operation) * number_bytes / 1e6
    return np.array(list(found.values()))


def _product(operation: Operation) -> str:
    """Which kind of work a product is: a matrix without weights multiplies what was computed."""
    if operation.kind == "convolution":
        return "dense"
    return "products" if operation.kind == "matmul" and operation.weight_bytes else "attention"


def _reads_nothing(operation: Operation, number_bytes: int) -> bool:
    return operation.bytes_moved <= math.prod(operation.shape) * number_bytes


def _is_batch_norm(operation: Operation, number_bytes: int) -> bool:
    """Whether a norm has four numbers a channel: at inference it is a scale and a shift, fused."""
    if operation.kind != "normalisation" or len(operation.shape) < 4:
        return False
    return operation.weight_bytes == 4 * operation.shape[1] * number_bytes


def _score_numbers(operation: Operation) -> float:
    """Entries of the score matrix that fused attention keeps to itself.

    Its FLOPs are 2 x entries x (width of a key + width of a value); the two are taken as equal.
    """
    return operation.flops / (4 * max(1, operation.shape[-1])) if operation.shape else 0.0


def compress_weights(workload: Workload, bits: float, of_bits: float = 16.0) -> Workload:
    """Quantise the weights: palettised or quantised ones stream less from memory."""
    share = bits / of_bits
    operations = tuple(
        replace(o, weight_bytes=round(o.weight_bytes * share)) for o in workload.operations
    )
    parts = tuple(compress_weights(part, bits, of_bits) for part in workload.parts)
    return replace(workload, operations=operations, parts=parts)


def size_features(found: Vector) -> Vector:
    """Log sizes of a mean operation, and how many there are: inputs of the Gaussian process.

    Args:
        found: (workloads, COLUMNS) amounts.

    Returns:
        (workloads, 5): FLOPs, weight and activation bytes an operation, mean window, operations.
    """

    def column(*kinds: str) -> Vector:
        return np.asarray(sum(found[:, INDEX[f]] for f in kinds))

    operations = np.maximum(column("operation", "gather"), 1.0)
    gflop = column("dense", "depthwise", "products", "attention")
    traffic_mb = column("activations", "norm", "moved", "scores")
    window = found[:, len(WORK_KINDS)] / np.maximum(gflop, 1e-9)
    return np.stack(
        [
            np.log(np.maximum(gflop * 1e9 / operations, 1.0)),
            np.log(np.maximum(column("weights") * 1e6 / operations, 1.0)),
            np.log(np.maximum(traffic_mb * 1e6 / operations, 1.0)),
            np.log(np.maximum(window, 1.0)),
            np.log(operations),
        ],
        axis=1,
    )


def work_matrix(workloads: Sequence[Workload], number_bytes: int | None = None) -> Vector:
    """Stack the amounts of workloads, (workloads, COLUMNS)."""
    rows = [amounts(workload, number_bytes) for workload in workloads]
    return np.array(rows).reshape(len(rows), len(COLUMNS))
