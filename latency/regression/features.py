"""What of a workload a fit may weigh: low-dimensional features that add over the parts.

A feature is (family, name). `base` is what a part is known to take by itself (its measurement, or
its roofline); `factor` the same, told apart by group; `group` counts the parts of a group
(`conv3d`), `name` those of one choice and option (`down0=conv3d`).
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


def of_part(part: Workload, base_ms: float) -> dict[Feature, float]:
    """The features of one part of a network."""
    if not part.measurable:
        count = occurrences(part)
        named = {("name", part.name): count}
        return named if part.name == part.choice else {("group", part.group): count, **named}
    known = {BASE: base_ms, ("factor", part.group): base_ms} if base_ms else {}
    return {**known, ("group", part.group): 1.0, ("name", part.name): 1.0}


def of_network(network: Workload, base_ms: BaseTime) -> dict[Feature, float]:
    """The features of a network: the sum over its parts."""
    total: dict[Feature, float] = {}
    for part in network.leaves:
        for feature, value in of_part(part, base_ms(part)).items():
            total[feature] = total.get(feature, 0.0) + value
    return total


def occurrences(part: Workload) -> float:
    """How often a tabular part counts; a number that varies freely is a count."""
    return sum(operation.count for operation in part.operations)


def matrix(rows: Sequence[dict[Feature, float]], features: Sequence[Feature]) -> Matrix:
    """(networks, features); what a network lacks is zero, what is not asked for is left out."""
    position = {feature: index for index, feature in enumerate(features)}
    found = np.zeros((len(rows), len(features)))
    for index, row in enumerate(rows):
        for feature, value in row.items():
            if feature in position:
                found[index, position[feature]] = value
    return found
