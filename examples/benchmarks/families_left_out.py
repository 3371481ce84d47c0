"""Do a shipped device's bounds hold of a kind of network that nobody has measured there?

    python examples/benchmarks/families_left_out.py [--rows]

Every published Core ML row on every chip is foreseen from the rows of all other families, whatever
they ran on. Printed, over all and chip by chip: the typical factor (the median of |log measured /
predicted|, as a factor), the factor within which nine in ten are, how often the 90% bounds hold,
their typical width, and the interval score of the log latency (Gneiting and Raftery 2007; less is
better). The factor on the bounds is chosen on the other families' errors each time. For comparison:
costs carried from chip to chip as devices were built before, without a family's error.
"""

import argparse
import math
from collections.abc import Sequence

import numpy as np
from chip_fits import FIRST, Network, deviations, families_left_out, networks, width_of

from latency import Prediction
from latency.cost_model.analytical import AnalyticalModel, fit
from latency.predictor.chips import chips
from latency.predictor.published import NUMBER_BYTES
from nas.cli.output import print_table

MISSED = 20.0  # 2 / (1 - coverage): what a unit outside the bounds costs in the interval score
Row = tuple[Network, Prediction]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rows", action="store_true", help="every network, the worst first")
    asked = parser.parse_args()
    among = networks()
    left = families_left_out(among, deviations(among))
    widths = {
        family: width_of([each for each in left if each.network.row.family != family])
        for family in {each.network.row.family for each in left}
    }
    judged = [(each.network, each.prediction(widths[each.network.row.family])) for each in left]
    before = carried(among)
    rows = [summary("all chips", judged), summary("all chips, as built before", before)]
    for chip in sorted({network.row.chip for network in among}):
        rows += [summary(chip, [each for each in judged if each[0].row.chip == chip])]
    columns = ["", ">rows", ">typical", ">nine in ten", ">bounds hold", ">width", ">score"]
    print_table(columns, rows)
    if asked.rows:
        show(judged)


def carried(among: Sequence[Network]) -> list[Row]:
    """As devices were built before: each chip's costs from the first one's, by data sheets."""
    known = chips()

    def model(chip: str, rows: Sequence[Network]) -> AnalyticalModel:
        prior = known[FIRST].data_sheet
        if chip != FIRST:
            prior = known[chip].transferred_prior(known[FIRST], model(FIRST, rows).posterior)
        return fit(
            [each.measurement for each in rows if each.row.chip == chip], prior, NUMBER_BYTES
        )

    found = []
    for family in sorted({each.row.family for each in among}):
        rest = [each for each in among if each.row.family != family]
        for each in among:
            if each.row.family == family:
                predicted = model(each.row.chip, rest).predict(each.measurement.workload)
                found.append((each, predicted))
    return found


def summary(name: str, rows: Sequence[Row]) -> tuple[str, ...]:
    measured = np.log([network.row.latency_ms for network, _ in rows])
    bounds = [(each.latency_ms, each.low_ms, each.high_ms) for _, each in rows]
    middle, low, high = np.log(np.array(bounds)).T
    apart = np.abs(measured - middle)
    inside = np.mean((low <= measured) & (measured <= high))
    outside = np.maximum(low - measured, 0) + np.maximum(measured - high, 0)
    score = float(np.mean(high - low + MISSED * outside))
    return (
        name,
        str(len(rows)),
        f"{math.exp(np.median(apart)):.2f}",
        f"{math.exp(np.quantile(apart, 0.9)):.2f}",
        f"{inside:.0%}",
        f"x{math.exp(np.mean(high - low) / 2):.2f}",
        f"{score:.2f}",
    )


def show(rows: Sequence[Row]) -> None:
    """Every network, the one furthest off first."""
    order = sorted(rows, key=lambda row: -abs(math.log(row[0].row.latency_ms / row[1].latency_ms)))
    found = [
        (
            network.name,
            network.row.chip,
            network.row.family,
            f"{network.row.latency_ms:.4g}",
            f"{each.latency_ms:.4g} ({each.low_ms:.3g} to {each.high_ms:.3g})",
        )
        for network, each in order
    ]
    print_table(["network", "chip", "family", ">measured ms", ">predicted ms (90% bounds)"], found)


if __name__ == "__main__":
    main()
