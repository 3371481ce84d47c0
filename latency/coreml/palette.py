"""Palettise weights (k-means clustering): few values a tensor, and for each number which one.

Coremltools' own k-means takes hours for a large network. Float16 has 65,536 values, so that a
count of each is all that one-dimensional k-means has to see, however large the tensor.
"""

import os
from contextlib import redirect_stderr
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from latency.coreml.mil import Call
from latency.coreml.package import Opened, open_package
from latency.coreml.quiet import import_coremltools

BITS = (8, 6, 4)
SMALLEST = 2048  # numbers; smaller tensors stay as they are, which is coremltools' own threshold
FEW_BITS = 4  # whose values are too few for a whole tensor: groups of its channels share a palette
GROUP_CHANNELS = 16  # at most
GROUPED = "per_grouped_channel"
LLOYD_ITERATIONS = 100


def palettise(model: Any, bits: int) -> Any:
    """Palettise the large weights of a Core ML model to 2^bits values; iOS 18 for 4 bits."""
    import_coremltools()
    from coremltools.optimize import coreml

    setting = partial(
        coreml.OpPalettizerConfig,
        mode="custom",
        lut_function=partial(kmeans_palette, bits=bits),
        weight_threshold=SMALLEST,
    )
    settings = coreml.OptimizationConfig(setting())
    if bits <= FEW_BITS:
        for name, (axis, size) in _groups(model).items():
            grouped = setting(granularity=GROUPED, group_size=size, channel_axis=axis)
            settings.set_op_name(name, grouped)
    with Path(os.devnull).open("w") as nowhere, redirect_stderr(nowhere):  # its bars
        return coreml.palettize_weights(model, settings)


def float16_mb(opened: Opened) -> float:
    """The weights that a package holds as plain numbers, in MB (1e6 bytes); those of palettes not.

    Tensors of fewer than 2048 numbers or of one dimension are never palettised.
    """
    plain = {
        value.name: value.constant_bytes or 0
        for call in opened.calls
        for value in call.weights()
        if not value.compressed
    }
    return sum(plain.values()) / 1e6


def _groups(model: Any) -> dict[str, tuple[int, int]]:
    """By the names of weights: the axis of their channels, and how many share a palette.

    Coremltools skips a weight whose channels are no multiple of that. One whose channels have no
    divisor in reach is left out, and has one palette.
    """
    found: dict[str, tuple[int, int]] = {}
    for call in open_package(Path(model.package_path)).calls:
        for argument, values in call.inputs.items():
            axis = _channel_axis(call, argument)
            for value in values:
                if value.constant_bytes is None or not value.shape or len(value.shape) < 2:
                    continue
                size = _largest_divisor(value.shape[axis], GROUP_CHANNELS)
                if size > 1:
                    found[value.name] = axis % len(value.shape), size
    return found


def _channel_axis(call: Call, argument: str) -> int:
    """The axis of a weight that its outputs go by."""
    if call.type == "matmul":
        turned = call.setting(f"transpose_{argument}", default=False)
        return -2 if turned == (argument == "y") else -1
    return 1 if call.type == "conv_transpose" else 0


def _largest_divisor(number: int, most: int) -> int:
    return next(size for size in range(min(number, most), 0, -1) if number % size == 0)


def kmeans_palette(weight: NDArray[Any], bits: int) -> tuple[NDArray[Any], NDArray[np.uint8]]:
    """Cluster a tensor's numbers into 2^bits values: Lloyd's k-means on a histogram.

    Args:
        weight: float16 or float32 of any shape; rounded to float16.
        bits: of an index.

    Returns:
        (values of the weight's type, indices in one row).
    """
    codes = np.ascontiguousarray(weight, np.float16).ravel().view(np.uint16)
    counts = np.bincount(codes, minlength=1 << 16)
    held = np.flatnonzero(counts).astype(np.uint16)
    values = held.view(np.float16).astype(np.float64)
    order = np.argsort(values)
    held, values = held[order], values[order]
    many = counts[held].astype(np.float64)
    number, mass = np.cumsum(many), np.cumsum(many * values)
    centroids = _initial_centroids(values, number, 1 << bits)
    for _ in range(LLOYD_ITERATIONS):
        edges = np.searchsorted(values, (centroids[1:] + centroids[:-1]) / 2)
        last = np.append(edges, len(values)) - 1
        n = np.diff(np.where(last < 0, 0.0, number[last]), prepend=0.0)
        m = np.diff(np.where(last < 0, 0.0, mass[last]), prepend=0.0)
        moved = np.where(n > 0, m / np.maximum(n, 1), centroids)
        if np.array_equal(moved, centroids):
            break
        centroids = np.sort(moved)
    table = centroids.astype(np.float16)
    nearest = np.searchsorted((table[1:].astype(np.float64) + table[:-1]) / 2, values)
    index_of = np.zeros(1 << 16, np.uint8)
    index_of[held] = nearest
    return table.astype(weight.dtype), index_of[codes]


def _initial_centroids(
    values: NDArray[np.float64], number: NDArray[np.float64], centroids: int
) -> NDArray[np.float64]:
    """Place half of the centroids at quantiles, half evenly: the tails of a weight are long."""
    quantiles = (np.arange(centroids // 2) + 0.5) / (centroids // 2) * number[-1]
    dense = values[np.minimum(np.searchsorted(number, quantiles), len(values) - 1)]
    return np.sort(np.concatenate([dense, np.linspace(values[0], values[-1], centroids // 2)]))
