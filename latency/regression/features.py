"""Additive features: what of a workload a regression may weigh; a network's are its parts' sum.

A feature is (kind, name). `base` is what a part is known to take by itself (its measurement, or
its roofline); `factor` the same, told apart by group; `group` counts the parts of a group
(`conv3d`), `name` those of one choice and option (`down0=conv3d`), and those of DEAD the parts of a
group that are off every path of a cell's graph (`search_spaces.CellGraph.dead`).
"""

from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

from latency.workload.workload import Workload

Vector = npt.NDArray[np.float64]
Matrix = npt.NDArray[np.float64]
Feature = tuple[str, str]
BaseTime = Callable[[Workload], float]

BASE: Feature = ("base", "")
DEAD = ("unread", "severed", "unfed")


def features_of_part(part: Workload, base_ms: float) -> dict[Feature, float]:
    """Extract the features of one part of a network."""
    if part.name == part.choice and not part.measurable:  # a number that varies freely
        return {("name", part.name): occurrences(part)}
    known = {BASE: base_ms, ("factor", part.group): base_ms} if base_ms else {}
    dead = {(part.dead, part.group): 1.0} if part.dead else {}
    return {**known, ("group", part.group): 1.0, ("name", part.name): 1.0, **dead}


def features_of_network(network: Workload, base_ms: BaseTime) -> dict[Feature, float]:
    """Sum the features of a network's parts."""
    total: dict[Feature, float] = {}
    for part in network.leaves:
        for feature, value in features_of_part(part, base_ms(part)).items():
            total[feature] = total.get(feature, 0.0) + value
    return total


def occurrences(part: Workload) -> float:
    """Count a tabular part; a number that varies freely is its count."""
    return sum(operation.count for operation in part.operations)


def design_matrix(rows: Sequence[dict[Feature, float]], features: Sequence[Feature]) -> Matrix:
    """Make the design matrix (networks, features): zero where a network lacks a feature."""
    position = {feature: index for index, feature in enumerate(features)}
    found = np.zeros((len(rows), len(features)))
    for index, row in enumerate(rows):
        for feature, value in row.items():
            if feature in position:
                found[index, position[feature]] = value
    return found
