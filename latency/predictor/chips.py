"""Chips: priors on unit costs from data sheets (`devices/chips.csv`), and their ratios.

Shipped devices are fitted to all chips together by these ratios (`cost_model.multilevel`). Scaling
one neighbour's posterior by them (`transferred_prior`) is what benchmarks compare that with.
"""

import csv
import math
from dataclasses import dataclass
from pathlib import Path

from latency.cost_model.unit_costs import SPREADS, UnitCosts, accelerator_prior
from search_spaces import InputError

CALL_MS = 0.25  # 0.07-0.2 ms of launch (shared studies), and as much again of Core ML around it
STREAMED = 0.75  # of a DRAM's rate, what streaming weights reaches
CACHE_MB = 16.0  # system-level cache of the chip that STREAMED is meant for
COMPUTE = ("dense", "depthwise", "products", "attention")
MEMORY = ("weights", "norm", "moved", "activations", "elementwise_mb")
CLOCKED = ("operation", "elementwise")


@dataclass(frozen=True)
class Chip:
    """Peak arithmetic and memory rates of a Neural Engine."""

    soc: str
    fp16_tflop_per_s: float
    gb_per_s: float

    @property
    def data_sheet(self) -> UnitCosts:
        """The data-sheet prior, before anything is measured, here or elsewhere."""
        return accelerator_prior(self.fp16_tflop_per_s, self.gb_per_s, CALL_MS)

    def speedups(self, over: "Chip") -> dict[str, float]:
        """Speedups over another chip, per kind of work.

        Attention's scores take both arithmetic and memory, a launch follows the clock, which
        goes about as the root of the peak; a call is the operating system's.
        """
        compute = self.fp16_tflop_per_s / over.fp16_tflop_per_s
        memory = self.gb_per_s / over.gb_per_s
        return {
            **dict.fromkeys(COMPUTE, compute),
            **dict.fromkeys(MEMORY, memory),
            **dict.fromkeys(CLOCKED, math.sqrt(compute)),
            "scores": math.sqrt(compute * memory),
        }

    def transferred_prior(self, neighbour: "Chip", fitted: UnitCosts) -> UnitCosts:
        """Transfer a neighbour's posterior to a prior of this chip, which is wider.

        A call is the operating system's and the measuring tool's, so it is not transferred.
        """
        return fitted.scaled(self.speedups(neighbour)).with_cost("call", CALL_MS, SPREADS["call"])


def chips(path: Path | None = None) -> dict[str, Chip]:
    """Read the chips of `devices/chips.csv`, by name.

    A measured weight stream is a chip's memory rate; without one, it is STREAMED of its DRAM's,
    times the root of its system-level cache: misses fall with the root of a cache's size
    (Hartstein et al. 2006, "Cache miss behavior: is it sqrt(2)?").
    """
    path = path or Path(__file__).parents[1] / "devices" / "chips.csv"
    facts: dict[str, dict[str, float]] = {}
    with path.open(encoding="utf-8", newline="") as stream:
        for row in csv.DictReader(stream):
            facts.setdefault(row["soc"], {})[row["quantity"]] = float(row["value"])
    return {soc: _chip(soc, known) for soc, known in facts.items()}


def _chip(soc: str, known: dict[str, float]) -> Chip:
    try:
        gb_per_s = known.get("weight_stream_gb_per_s")
        if gb_per_s is None:
            cache = math.sqrt(known["system_cache_mb"] / CACHE_MB)
            gb_per_s = STREAMED * known["dram_gb_per_s"] * cache
        return Chip(soc, known["fp16_tflop_per_s"], gb_per_s)
    except KeyError as error:
        raise InputError(f"chips.csv, {soc}: {error} is missing") from None
