"""Builds the shipped devices (latency/devices/*.json) from published rows and data sheets.

    python examples/benchmarks/build_devices.py [--out latency/devices]

Costs of all other chips are fitted together to all that was published of any, and by the ratio of
data sheets are what a chip starts from, before its own rows (`latency.cost_model.multilevel`).
Bounds have a part for the family of networks that nobody measured. Errors are those on families
left out; each file says of every cost whether it was measured there. Run it again after a
change to latency/devices/published.csv, chips.csv or the model; it takes a minute.
"""

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from chip_fits import (
    COREML,
    FIRST,
    LeftOut,
    deviations,
    families_left_out,
    model_of,
    networks,
    width_of,
)

from latency import Device, Seen
from latency.cost_model.analytical import AnalyticalModel
from latency.cost_model.work_amounts import WORK_KINDS
from latency.measurement.validation import validate
from latency.predictor.calibration import sum_of_parts
from latency.predictor.published import published
from latency.regression.bounds import UNVALIDATED
from nas.calibration.validated import trust
from nas.cli.output import print_table

USABLE = 0.5  # of the memory that one app may fill before the system ends it, about
LEARNED = 0.7  # a cost whose spread the chip's own rows brought below this share of what it was
HOW = "leave one family out"


@dataclass(frozen=True)
class Named:
    """A device as people name it, and the chip in it."""

    name: str
    soc: str
    memory_gb: int  # of the smallest that is sold (Wikipedia: iPhone 12 ... Mac mini)


DEVICES = (
    Named("iphone-12", "A14", 4),
    Named("iphone-13", "A15", 4),
    Named("iphone-14", "A15", 6),
    Named("iphone-14-pro", "A16", 6),
    Named("iphone-15-pro", "A17 Pro", 8),
    Named("iphone-16", "A18", 8),
    Named("iphone-16-pro-max", "A18 Pro", 8),
    Named("iphone-17", "A19", 8),
    Named("iphone-17-pro", "A19 Pro", 12),
    Named("iphone-17-pro-max", "A19 Pro", 12),
    Named("mac-m1", "M1", 8),
    Named("mac-m1-pro", "M1 Pro", 16),
    Named("mac-m1-max", "M1 Max", 32),
    Named("mac-m2", "M2", 8),
    Named("mac-m3", "M3", 8),
    Named("mac-m3-max", "M3 Max", 36),
    Named("mac-m4", "M4", 16),
    Named("mac-m5", "M5", 16),
    Named("mac-m5-pro", "M5 Pro", 24),
)


def origin(model: AnalyticalModel) -> dict[str, str]:
    """Of each cost: measured on the chip, or on others."""
    before, after = model.prior.spreads, model.posterior.spreads
    return {
        kind: "measured" if after[kind] < LEARNED * before[kind] else "extrapolated"
        for kind in WORK_KINDS
    }


def device(named: Named, model: AnalyticalModel, left: Sequence[LeftOut]) -> Device:
    """A shipped device, of its chip's model and of the networks of families left out."""
    own = [each for each in left if each.network.row.chip == named.soc]
    foreseen = [each.prediction(model.width) for each in own]
    costs = dict(zip(WORK_KINDS, model.posterior.medians, strict=True))
    measured = [each.network.measurement for each in own]
    return Device(
        name=named.name,
        model=sum_of_parts(model),
        quantile=UNVALIDATED,
        analytical=model,
        validation=validate(foreseen, measured, HOW) if len(own) > 1 else None,
        measurements=tuple(
            Seen(each.workload.name, each.latency_ms, prediction)
            for each, prediction in zip(measured, foreseen, strict=True)
        ),
        memory_limit_mb=USABLE * named.memory_gb * 1000,
        facts={
            "soc": named.soc,
            "compute_unit": "Neural Engine where Core ML chooses it",
            "precision": "float16",
            "status": status(named, len(own)),
            "ms_per_unit": {k: float(f"{costs[k]:.4g}") for k in WORK_KINDS},
            "origin": origin(model),
            "sources": sorted(
                {row.source for row in published(named.soc) if row.lowering.startswith(COREML)}
            ),
        },
    )


def status(named: Named, count: int) -> str:
    """How the device came about, in words."""
    if named.soc == FIRST:
        return f"measured: {count} published networks"
    if not count:
        return "extrapolated from other chips by data sheets; nothing was measured"
    return f"{count} published network(s), on costs that other chips share"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("latency/devices"))
    asked = parser.parse_args()
    among = networks()
    spread = deviations(among)
    left = families_left_out(among, spread)
    width, rows = width_of(left), []
    for named in DEVICES:
        built = device(named, model_of(among, named.soc, spread, width), left)
        built.save(asked.out / f"{named.name}.json")
        rows.append((named.name, str(built.facts["status"]), trust(built)))
    print_table(["device", "how it came about", "error on families left out"], rows)
    print(f"deviations of a family and of a measurement {spread}; bounds times {width:.2f}")


if __name__ == "__main__":
    main()
