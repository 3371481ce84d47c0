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

from latency.coreml.quiet import import_coremltools

BITS = (8, 6, 4)
SMALLEST = 2048  # numbers; smaller tensors stay as they are, which is coremltools' own threshold
GROUP_CHANNELS = 16  # channels that share a palette of 16 values, too few for a whole tensor
LLOYD_ITERATIONS = 100


def palettise(model: Any, bits: int) -> Any:
    """Palettise the large weights of a Core ML model to 2^bits values; iOS 18 for 4 bits."""
    import_coremltools()
    from coremltools.optimize import coreml

    fine = {"granularity": "per_grouped_channel", "group_size": GROUP_CHANNELS} if bits <= 4 else {}
    settings = coreml.OpPalettizerConfig(
        mode="custom",
        lut_function=partial(kmeans_palette, bits=bits),
        weight_threshold=SMALLEST,
        **fine,
    )
    with Path(os.devnull).open("w") as nowhere, redirect_stderr(nowhere):  # its bars
        return coreml.palettize_weights(model, coreml.OptimizationConfig(settings))


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
