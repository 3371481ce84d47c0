"""The tables of the ranking benchmark: a row an architecture, a column a training."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from ranking_whole import Finalist, Setting, WholeExam
from ranking_work import Exam

from nas.benchmark.ranking import TOP, report
from nas.costs.workloads import SpaceCosts

KEPT = Path(__file__).parents[1] / "tables" / "moving_digits.csv"
KEPT_WHOLE = KEPT.with_suffix(".whole.csv")
KEPT_BACKBONE = KEPT.with_suffix(".backbone.safetensors")
KEPT_SPACE = "moving_digits"
ALONE, WHOLE, SEED, LOSS = "alone", "whole", "_seed", "_loss"
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
        for passes in whole.passes:
            paths = [whole.network(passes, index, seed) for index in indices]
            columns[f"{WHOLE}_{passes}{SEED}{seed}"] = paths
        for finalist in finalists:
            paths = [whole.finalist(finalist, index, seed) for index in indices]
            columns[f"{finalist}{SEED}{seed}"] = paths
    rows = pd.DataFrame({"id": indices})
    for name, paths in columns.items():
        if any(path.exists() for path in paths):
            found = [np.load(p).mean() if p.exists() else np.nan for p in paths]
            rows[f"{name}{LOSS}"] = np.round(found, 6)
    for setting in settings:
        for seed in seeds:
            path = whole.losses(setting, seed)
            if path.exists():
                rows[f"{setting}{SEED}{seed}{LOSS}"] = np.load(path).mean(1).round(6)
    return rows


def printed(rows: pd.DataFrame) -> str:
    """The report of a table: against each reference, then of finalists."""
    losses: dict[str, list[np.ndarray]] = {}
    for column in rows.columns:
        if column.endswith(LOSS):
            name = column.removesuffix(LOSS).rstrip("0123456789").removesuffix(SEED)
            losses.setdefault(name, []).append(rows[column].to_numpy(float))
    references = {n: losses.pop(n) for n in list(losses) if n == ALONE or n.startswith(WHOLE)}
    if not references:
        return "no network was trained alone yet; train them with --out DIR"
    trivial = {n: rows[c].to_numpy(float) for n, c in TRIVIAL.items() if c in rows}
    parts = []
    for name, found in references.items():
        whole = [seed for seed in found if np.isfinite(seed).all()]
        if 0 < len(whole) < len(found):  # a second seed of some: the first is of all
            parts.append(against(name, whole, losses, trivial))
        parts.append(against(name, found, losses, trivial))
    return "\n\n".join(parts)


def against(
    name: str,
    alone: Sequence[np.ndarray],
    losses: Mapping[str, Sequence[np.ndarray]],
    trivial: Mapping[str, np.ndarray],
) -> str:
    """The report against one reference, of what has scored all networks that it has."""
    known = np.isfinite(np.sum(alone, axis=0))
    if known.sum() < 2 * TOP:
        return f"{name}: too few networks to compare"
    scored = {n: [s[known] for s in seeds] for n, seeds in losses.items()}
    found = report(
        [each[known] for each in alone],
        {seeded(n, s): s for n, s in scored.items() if np.isfinite(s).all()},
        {n: each[known] for n, each in trivial.items()},
    )
    return f"against {seeded(said_of(name), alone)}:\n{found}"


def seeded(name: str, seeds: Sequence[np.ndarray]) -> str:
    """A name that says where nothing but one training stands behind a figure."""
    return name if len(seeds) > 1 else f"{name}, one seed"


def said_of(reference: str) -> str:
    """A reference in words."""
    if reference == ALONE:
        return "networks trained alone on a frozen image U-Net"
    passes = reference.removeprefix(WHOLE).strip("_")
    return f"networks trained alone for {passes} passes as a winner is, the image U-Net along"
