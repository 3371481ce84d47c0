"""Published Core ML latencies, and the workloads of the networks that they are of.

`devices/published.csv` holds facts with a citation each; `devices/published/workloads.json` was
traced from public implementations by examples/benchmarks/published_workloads.py.
"""

import csv
import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from statistics import geometric_mean

from latency.cost_model.work_amounts import compress_weights
from latency.measurement.measurement import Measurement
from latency.workload.workload import Workload

FOLDER = Path(__file__).parents[1] / "devices"
NUMBER_BYTES = 2  # a Neural Engine computes in float16
# How a network reached the Neural Engine.
LOWERINGS = {
    "coreml": "as Core ML's converter makes it of a network that was written for any processor",
    "coreml-ane": "through Core ML, rewritten for the engine: channels first, heads apart",
    "direct": "past Core ML (ANEForge), tokens times channels",
    "direct-ane": "past Core ML, rewritten for the engine: channels first, queries in tiles",
    "direct-rows": "past Core ML, the tokens of all sequences as rows of one matrix",
    "direct-native": "past Core ML, by the engine's own attention layer",
}


@dataclass(frozen=True)
class Published:
    """One published latency of a network on a device."""

    model: str
    family: str  # networks that are of a kind share an error: `FastViT` of `FastViT-SA12`
    device: str
    soc: str  # as chips.csv has it, or a variant of it: `M1 Max`
    lowering: str  # how it reached the engine, of LOWERINGS
    precision: str  # float16, or "6-bit weights"
    latency_ms: float
    source: str

    @property
    def measurement(self) -> Measurement:
        """The network's workload, its weights as small as they were, and the time."""
        workload = workloads()[self.model]
        if self.precision != "float16":
            workload = compress_weights(workload, float(self.precision.partition("-")[0]))
        return Measurement(workload, self.latency_ms)


@cache
def workloads() -> dict[str, Workload]:
    """Read the workloads of the published networks by name, in float16."""
    path = FOLDER / "published" / "workloads.json"
    entries = json.loads(path.read_text(encoding="utf-8"))["workloads"]
    return {entry["name"]: Workload.from_json(entry, str(path)) for entry in entries}


def published(soc: str | None = None) -> Sequence[Published]:
    """Read the rows of `devices/published.csv`, of one chip or of all."""
    with (FOLDER / "published.csv").open(encoding="utf-8", newline="") as stream:
        rows = [
            Published(
                model=row["model"],
                family=row["family"],
                device=row["device"],
                soc=row["soc"],
                lowering=row["lowering"],
                precision=row["precision"],
                latency_ms=float(row["latency_ms"]),
                source=row["source"],
            )
            for row in csv.DictReader(stream)
        ]
    return [row for row in rows if soc in {None, row.soc}]


def measurements(soc: str) -> list[Measurement]:
    """Average what was published of a chip: one measurement a network, lowering and precision."""
    same: dict[tuple[str, str, str], list[Published]] = {}
    for row in published(soc):
        same.setdefault((row.model, row.lowering, row.precision), []).append(row)
    return [
        Measurement(rows[0].measurement.workload, geometric_mean(r.latency_ms for r in rows))
        for rows in same.values()
    ]
