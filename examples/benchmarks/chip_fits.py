"""Costs of all chips from all published rows, and what they foresee of families left out.

What build_devices.py ships and families_left_out.py judges, made in one place.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from statistics import geometric_mean

from latency import Measurement, Prediction
from latency.cost_model.analytical import AnalyticalModel, fit
from latency.cost_model.multilevel import ChipRow, Chips, fit_chips
from latency.cost_model.work_amounts import amounts
from latency.predictor.chips import chips
from latency.predictor.published import NUMBER_BYTES, Published, published

FIRST = "A14"  # most was published of it: the chip whose data sheet is the prior
COREML = "coreml"  # rows past Core ML are of another compiler, and fitted nowhere
COVERAGE = 0.9


@dataclass(frozen=True)
class Network:
    """A network on a chip: what was published of it, averaged."""

    row: ChipRow
    name: str
    measurement: Measurement


@dataclass(frozen=True)
class LeftOut:
    """A network that a chip's model has not seen, nor any of its family on any chip."""

    network: Network
    model: AnalyticalModel

    def prediction(self, width: float = 1.0) -> Prediction:
        """As a shipped device predicts it, its bounds by a factor on the deviation."""
        return replace(self.model, width=width).predict(self.network.measurement.workload)

    @property
    def width_needed(self) -> float:
        """The least factor on the deviation whose bounds hold the measurement."""
        found = self.prediction()
        low, high = math.log(found.low_ms), math.log(found.high_ms)
        away = math.log(self.network.row.latency_ms) - (low + high) / 2
        return abs(away) / ((high - low) / 2)


def networks() -> list[Network]:
    """All that ran through Core ML, one a chip, network, lowering and precision."""
    same: dict[tuple[str, ...], list[Published]] = {}
    for each in published():
        if each.lowering.startswith(COREML):
            key = (each.soc, each.model, each.lowering, each.precision)
            same.setdefault(key, []).append(each)
    return [_network(rows) for rows in same.values()]


def _network(rows: Sequence[Published]) -> Network:
    first, latency_ms = rows[0], geometric_mean(row.latency_ms for row in rows)
    workload = first.measurement.workload
    lowering = first.lowering.removeprefix(COREML)
    work = amounts(workload, NUMBER_BYTES)
    return Network(
        ChipRow(work, latency_ms, first.soc, first.family, lowering),
        first.model,
        Measurement(workload, latency_ms),
    )


def data_sheets() -> Chips:
    """What data sheets say of all chips."""
    known = chips()
    return Chips(
        known[FIRST].data_sheet,
        {soc: chip.speedups(known[FIRST]) for soc, chip in known.items()},
    )


def deviations(among: Sequence[Network]) -> tuple[float, ...]:
    """Of a family in each group of work, and of a measurement, by all chips together."""
    return fit_chips([each.row for each in among], data_sheets()).deviations


def model_of(
    among: Sequence[Network], chip: str, spread: Sequence[float], width: float = 1.0
) -> AnalyticalModel:
    """The cost model of a chip: what others say of its costs, and then its own rows.

    Args:
        among: what was published, on any chip.
        chip: whose model it is.
        spread: `deviations` of all rows.
        width: factor on the bounds.
    """
    others = [each.row for each in among if each.row.chip != chip]
    prior = fit_chips(others, data_sheets(), spread).costs(chip)
    own = [each.measurement for each in among if each.row.chip == chip]
    return replace(fit(own, prior, NUMBER_BYTES), family=tuple(spread[:-1]), width=width)


def families_left_out(among: Sequence[Network], spread: Sequence[float]) -> list[LeftOut]:
    """Every network with a model of all rows but its family's, on any chip.

    `spread` alone, three numbers, is of all rows.
    """
    found: dict[int, LeftOut] = {}
    for family in sorted({each.row.family for each in among}):
        rest = [each for each in among if each.row.family != family]
        models: dict[str, AnalyticalModel] = {}
        for place, each in enumerate(among):
            if each.row.family == family:
                chip = each.row.chip
                if chip not in models:
                    models[chip] = model_of(rest, chip, spread)
                found[place] = LeftOut(each, models[chip])
    return [found[place] for place in range(len(among))]


def width_of(left: Sequence[LeftOut]) -> float:
    """The factor on stated deviations whose bounds hold COVERAGE of these (split conformal)."""
    needed = sorted(each.width_needed for each in left)
    rank = min(len(needed), math.ceil((len(needed) + 1) * COVERAGE))
    return needed[rank - 1]
