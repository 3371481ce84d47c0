"""The tables of the ranking benchmark: a row an architecture, a column a training."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from ranking_whole import Finalist, Setting, WholeExam
from ranking_work import Exam

from nas.benchmark.ranking import Ranking, report
from nas.costs.workloads import SpaceCosts

KEPT = Path(__file__).parents[1] / "tables" / "moving_digits.csv"
KEPT_WHOLE = KEPT.with_suffix(".whole.csv")
KEPT_BACKBONE = KEPT.with_suffix(".backbone.safetensors")
KEPT_SPACE = "moving_digits"
ALONE, WHOLE, THEN, LOSS = "alone", "whole", "_then_", "_loss"
REFERENCES = {
    ALONE: "networks trained alone, their image U-Net frozen",
    WHOLE: "networks trained alone, their image U-Net along, as the winner of a search is",
}
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


def whole_table(
    whole: WholeExam,
    settings: Sequence[Setting],
    finalists: Sequence[Finalist],
    seeds: Sequence[int],
) -> pd.DataFrame:
    """What was found of the default setting; a network that was not trained has a gap."""
    indices = range(len(whole.exam.architectures()))
    columns: dict[str, list[Path]] = {}
    for seed in seeds:
        columns[f"{WHOLE}{seed}"] = [whole.network(index, seed) for index in indices]
        for finalist in finalists:
            paths = [whole.finalist(finalist, index, seed) for index in indices]
            columns[f"{finalist}{seed}"] = paths
    rows = pd.DataFrame({"id": indices})
    for name, paths in columns.items():
        if any(path.exists() for path in paths):
            found = [np.load(p).mean() if p.exists() else np.nan for p in paths]
            rows[f"{name}{LOSS}"] = np.round(found, 6)
    for setting in settings:
        for seed in seeds:
            path = whole.losses(setting, seed)
            if path.exists():
                rows[f"{setting}{seed}{LOSS}"] = np.load(path).mean(1).round(6)
    return rows


def printed(rows: pd.DataFrame) -> str:
    """The report of a table: against each reference, then of finalists."""
    losses: dict[str, list[np.ndarray]] = {}
    for column in rows.columns:
        if column.endswith(LOSS):
            name = column.removesuffix(LOSS).rstrip("0123456789")
            losses.setdefault(name, []).append(rows[column].to_numpy(float))
    references = {name: losses.pop(name) for name in REFERENCES if name in losses}
    if not references:
        return "no network was trained alone yet; train them with --out DIR"
    finalists = {name: losses.pop(name) for name in list(losses) if THEN in name}
    trivial = {n: rows[c].to_numpy(float) for n, c in TRIVIAL.items() if c in rows}
    parts = []
    for name, found in references.items():
        parts += [f"against {REFERENCES[name]}:", report(found, losses, trivial), ""]
    if finalists and WHOLE in references:
        parts.append(of_finalists(references[WHOLE], losses, finalists))
    return "\n".join(parts).rstrip()


def of_finalists(
    whole: Sequence[np.ndarray],
    losses: Mapping[str, Sequence[np.ndarray]],
    finalists: Mapping[str, Sequence[np.ndarray]],
) -> str:
    """What it does to the order of the better half to train each of it on from a supernet."""
    ranking = Ranking(np.mean(whole, axis=0))
    lines = ["the better half, each trained on by itself from a supernet's weights (tau over it):"]
    for name, found in finalists.items():
        supernet = losses[name.partition(THEN)[0]][: len(found)]
        half = np.flatnonzero(np.isfinite(found[0]))
        before, after = (ranking.taus(each, half)[0] for each in (supernet, found))
        gain = ranking.advantage(found, supernet, half)
        lines.append(f"{name:40}{before:.3f} -> {after:.3f}, gain {gain}")
    return "\n".join(lines)
