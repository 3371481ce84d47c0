"""The table of the ranking benchmark: a row an architecture, a column a training."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from ranking_work import Exam

from nas.benchmark.ranking import report
from nas.costs.workloads import SpaceCosts

KEPT = Path(__file__).parents[1] / "tables" / "moving_digits.csv"
KEPT_BACKBONE = KEPT.with_suffix(".backbone.safetensors")
KEPT_SPACE = "moving_digits"
ALONE, LOSS = "alone", "_loss"
TRIVIAL = {
    "FLOPs": "flops_count",
    "parameters": "parameters_count",
    "latency": "latency_ms",
    "filled slots": "filled_count",
    "convolution slots": "convolution_count",
    "attention slots": "attention_count",
}


def table(exam: Exam, recipes: Sequence[str], seeds: Sequence[int]) -> pd.DataFrame:
    """What was found so far; a training that is missing has no column."""
    space, architectures = exam.space, exam.architectures()
    costs = SpaceCosts(space)
    rows = pd.DataFrame(
        [{choice.name: a.get(choice.name, "") for choice in space.choices} for a in architectures]
    )
    rows.insert(0, "id", range(len(architectures)))
    for seed in seeds:
        found = [exam.losses(exam.network(index, seed)) for index in range(len(architectures))]
        if all(path.exists() for path in found):
            each = np.stack([np.load(path) for path in found])
            rows[f"{ALONE}{seed}{LOSS}"] = each.mean(1).round(6)
    for recipe in recipes:
        for seed in seeds:
            path = exam.losses(exam.supernet(recipe, seed))
            if path.exists():
                rows[f"{recipe}{seed}{LOSS}"] = np.load(path).mean(1).round(6)
    if exam.latency.exists():
        rows["latency_ms"] = np.load(exam.latency).round(4)
    workloads = [costs.workload(each) for each in architectures]
    rows["flops_count"] = [workload.flops for workload in workloads]
    rows["parameters_count"] = [
        sum(part.parameters for part in costs.parts(each)) for each in architectures
    ]
    blocks = [[space.block(a, slot).operator.name for slot in space.slots] for a in architectures]
    rows["filled_count"] = [sum(name != "none" for name in names) for names in blocks]
    rows["convolution_count"] = [sum("conv" in name for name in names) for names in blocks]
    rows["attention_count"] = [sum("attention" in name for name in names) for names in blocks]
    return rows


def printed(rows: pd.DataFrame) -> str:
    """The report of a table."""
    losses: dict[str, list[np.ndarray]] = {}
    for column in rows.columns:
        if column.endswith(LOSS):
            name = column.removesuffix(LOSS).rstrip("0123456789")
            losses.setdefault(name, []).append(rows[column].to_numpy(float))
    alone = losses.pop(ALONE, [])
    if not alone:
        return "no network was trained alone yet; train them with --out DIR"
    trivial = {n: rows[c].to_numpy(float) for n, c in TRIVIAL.items() if c in rows}
    return report(alone, losses, trivial)
