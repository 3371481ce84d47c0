"""Builds the shipped devices (latency/devices/*.json) from published rows and data sheets.

    python examples/benchmarks/build_devices.py [--out latency/devices]

Costs are fitted to what was published of a chip, from the prior that a neighbouring chip's fit
and the ratio of data sheets give. A device of which nothing was published is extrapolated, with
wider bounds; each file says of every cost which it is. Run it again after a change to
latency/devices/published.csv, chips.csv or the model; it takes seconds.
"""

import argparse
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from latency import Device, Seen, Validation
from latency.cost_model.analytical import AnalyticalModel, fit
from latency.cost_model.work_amounts import WORK_KINDS
from latency.measurement.validation import validate
from latency.predictor.calibration import sum_of_parts
from latency.predictor.chips import Chip, chips
from latency.predictor.published import NUMBER_BYTES, measurements, published
from latency.regression.bounds import UNVALIDATED

FIRST = "A14"  # most was published of it
USABLE = 0.5  # of the memory that one app may fill before the system ends it, about
LEARNED = 0.7  # a cost whose spread the measurements brought below this share of the prior's


@dataclass(frozen=True)
class Named:
    """A device as people name it, the chip in it, and the chip that it is extrapolated from."""

    name: str
    soc: str
    memory_gb: int  # of the smallest that is sold (Wikipedia: iPhone 12 ... Mac mini)
    neighbour: str = FIRST


DEVICES = (
    Named("iphone-12", "A14", 4),
    Named("iphone-13", "A15", 4),
    Named("iphone-14", "A15", 6),
    Named("iphone-14-pro", "A16", 6),
    Named("iphone-15-pro", "A17 Pro", 8),
    Named("iphone-16-pro-max", "A18 Pro", 8, "A18"),
    Named("mac-m1", "M1", 8),
    Named("mac-m2", "M2", 8),
    Named("mac-m3", "M3", 8),
    Named("mac-m4", "M4", 16),
)


def fitted(soc: str, known: dict[str, Chip], neighbour: str = FIRST) -> AnalyticalModel:
    """The costs of a chip from its own rows, and from its neighbour's as a prior."""
    if soc == FIRST:
        prior = known[soc].data_sheet
    else:
        prior = known[soc].transferred_prior(known[neighbour], fitted(neighbour, known).posterior)
    return fit(measurements(soc), prior, NUMBER_BYTES)


def origin(model: AnalyticalModel, neighbour: str | None) -> dict[str, str]:
    """Of each cost: measured here, or where it comes from."""
    before, after = model.prior.spreads, model.posterior.spreads
    elsewhere = f"extrapolated from {neighbour}" if neighbour else "data sheet"
    return {
        kind: "measured" if after[kind] < LEARNED * before[kind] else elsewhere
        for kind in WORK_KINDS
    }


def device(named: Named, known: dict[str, Chip]) -> Device:
    """A shipped device."""
    model = fitted(named.soc, known, named.neighbour)
    rows = measurements(named.soc)
    neighbour = None if named.soc == FIRST else named.neighbour
    seen = tuple(
        Seen(row.workload.name, row.latency_ms, prediction)
        for row, prediction in zip(rows, model.leave_one_out, strict=True)
    )
    how = "leave one network out"
    validation = validate(model.leave_one_out, rows, how) if len(rows) > 1 else None
    costs = dict(zip(WORK_KINDS, model.posterior.medians, strict=True))
    return Device(
        name=named.name,
        model=sum_of_parts(model),
        quantile=UNVALIDATED,
        analytical=model,
        validation=validation,
        measurements=seen,
        memory_limit_mb=USABLE * named.memory_gb * 1000,
        facts={
            "soc": named.soc,
            "compute_unit": "Neural Engine where Core ML chooses it",
            "precision": "float16",
            "status": status(named, len(rows)),
            "ms_per_unit": {k: float(f"{costs[k]:.4g}") for k in WORK_KINDS},
            "origin": origin(model, neighbour),
            "sources": sorted({row.source for row in published(named.soc)}),
        },
    )


def status(named: Named, networks: int) -> str:
    """How the device came about, in words."""
    if named.soc == FIRST:
        return f"measured: {networks} published networks"
    if not networks:
        return f"extrapolated from {named.neighbour} by data sheets; nothing was measured"
    return f"{networks} published network(s), on costs extrapolated from {named.neighbour}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("latency/devices"))
    asked = parser.parse_args()
    known = chips()
    for named in DEVICES:
        built = device(named, known)
        built.save(asked.out / f"{named.name}.json")
        print(f"{named.name:18} {built.facts['status']}; {_errors(built.validation)}")


def _errors(found: Validation | None) -> str:
    if found is None:
        return "not validated"
    spearman = "" if np.isnan(found.spearman) else f", Spearman {found.spearman:.3f}"
    return f"MAPE {found.mape_pct:.1f}%{spearman}, {found.within_bounds_share:.0%} inside"


if __name__ == "__main__":
    main()
