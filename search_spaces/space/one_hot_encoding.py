"""One-hot encoding of architectures, and counts of options: features for models that learn."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from search_spaces.space.architecture import Architecture
from search_spaces.space.choice import Choice, NumericChoice
from search_spaces.space.space import SearchSpace

Matrix = npt.NDArray[np.float32]


def feature_names(space: SearchSpace) -> list[str]:
    """Name the columns of `encode`: `choice=option`, or a numeric choice's name."""
    names: list[str] = []
    for choice in space.choices:
        if isinstance(choice, NumericChoice):
            names.append(choice.name)
        else:
            names.extend(f"{choice.name}={option}" for option in choice.options)
    return names


def encode(space: SearchSpace, architectures: Sequence[Architecture]) -> Matrix:
    """One-hot encode architectures, (n, features); numbers are scaled to [0, 1].

    The columns of a choice that doesn't matter are all zero.
    """
    columns = {name: index for index, name in enumerate(feature_names(space))}
    matrix = np.zeros((len(architectures), len(columns)), dtype=np.float32)
    ranges = {c.name: c for c in space.choices if isinstance(c, NumericChoice)}
    for row, architecture in enumerate(architectures):
        for name, option in architecture.items():
            if name in ranges:
                low, high = ranges[name].low, ranges[name].high
                scaled = (float(option) - low) / (high - low) if high > low else 0.0
                matrix[row, columns[name]] = scaled
            else:
                matrix[row, columns[f"{name}={option}"]] = 1.0
    return matrix


def count_names(space: SearchSpace) -> list[str]:
    """Name the columns of `counts`: each option that any choice offers, once."""
    options = (str(o) for c in space.choices if isinstance(c, Choice) for o in c.options)
    return list(dict.fromkeys(options))


def counts(space: SearchSpace, architectures: Sequence[Architecture]) -> Matrix:
    """Count how often each option occurs in an architecture, whichever choice made it."""
    columns = {name: index for index, name in enumerate(count_names(space))}
    matrix = np.zeros((len(architectures), len(columns)), dtype=np.float32)
    for row, architecture in enumerate(architectures):
        for option in architecture.values():
            if str(option) in columns:
                matrix[row, columns[str(option)]] += 1.0
    return matrix
