"""What every finished search leaves in numbers: trials.csv, and the summary in run.json."""

import math
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from nas.calibration.validated import status, trust
from nas.costs.limits import Limits
from nas.costs.part_rows import part_rows
from nas.pipeline.contract import Outcome
from nas.problem.problem import Problem
from nas.run.looks import seen
from nas.run.results import Found, closest, front, missed, quality_place
from nas.run.run_folder import RunFolder
from nas.run.settings import SearchSettings
from nas.strategies.agreement import agreements
from search_spaces import Architecture
from search_spaces.files import document
from search_spaces.tables.columns import in_words


def write_trials(folder: RunFolder, outcome: Outcome) -> None:
    """trials.csv: what was evaluated, with all that is known of it."""
    limits, problem, evaluated = outcome.limits, outcome.problem, outcome.evaluated
    choices = [choice.name for choice in limits.space.choices]
    architectures = [found.architecture for found in evaluated]
    found = {name: meter(architectures) for name, meter in limits.meters.items()}
    measured = {n: v.astype(int) if n.endswith("_count") else v for n, v in found.items()}
    unknown = [objective.name for objective in problem.objectives if not objective.known]
    rows = [
        {
            "trial": found.trial,
            "strategy": folder.settings.strategy,
            "seed": folder.settings.seed,
            **({} if problem.fidelity is None else {f"{problem.fidelity.name}_count": found.count}),
            **{name: found.architecture.get(name, "") for name in choices},
            **_found(found, unknown, problem),
            **{meter: column[index] for meter, column in measured.items()},
        }
        for index, found in enumerate(evaluated)
    ]
    csv = pd.DataFrame(rows).to_csv(index=False)
    document.write_atomically(folder.file("trials.csv"), csv)


def _found(network: Found, unknown: list[str], problem: Problem) -> dict[str, float]:
    """What evaluations found; in a race, of the last look, and what a full one should find."""
    values = {n: v for n, v in named_values(network, problem).items() if n in unknown}
    if not network.looked:
        return values
    looked = dict(zip(unknown, network.looked, strict=True))
    return {**looked, **{f"full_{name}": value for name, value in values.items()}}


def summary_of(outcome: Outcome) -> dict[str, Any]:
    """The summary that every search has; a task adds to it."""
    limits, best = outcome.limits, outcome.winner
    return {
        "space": limits.space.name,
        "steps": limits.budget.steps,
        "limit_bound": limits.budget.bound,
        "values": named_values(best, outcome.problem),
        "winner_trial": best.trial,
        "winner_origin": best.origin,
        "trials": len(outcome.evaluated),
        "random_picks": len(outcome.picks),
        "began_from": _began_from(outcome),
        "winner_count": best.count,
        "not_full": _not_full(outcome),
        "seen": seen(outcome.evaluated, outcome.problem.fidelity, outcome.spent),
        "goal": _goal(outcome),
        "front": [found.trial for found in front(closest(outcome.evaluated), outcome.problem)],
        **(_on_devices(limits, best.architecture) if limits.targets else _nowhere()),
    }


def _began_from(outcome: Outcome) -> list[dict[str, Any]]:
    """The earlier runs that the search began from, and how far they agree with what it found."""
    if not outcome.problem.earlier:
        return []
    place = quality_place(outcome.problem)
    values = np.array([found.values for found in outcome.evaluated])  # noqa: PD011 (no frame)
    networks = [found.architecture for found in outcome.evaluated]
    agreed = agreements(outcome.problem, networks, values[:, place])
    return [
        {"name": earlier.name, "networks": len(earlier.architectures), **asdict(agreement)}
        for earlier, agreement in zip(outcome.problem.earlier, agreed, strict=True)
    ]


def began_in_words(summary: dict[str, Any]) -> list[str]:
    """A line for each earlier run that the search began from."""
    return [
        f"began from {each['name']}: {each['networks']} networks; its ranking of the first "
        f"{each['of']} evaluations: Kendall's tau {each['tau']:.2f}; weight at the end: "
        f"{each['weight']:.0%}"
        for each in summary["began_from"]
    ]


def _not_full(outcome: Outcome) -> str | None:
    """That the winner was not seen fully, in a sentence; None where it was."""
    fidelity, best = outcome.problem.fidelity, outcome.winner
    if fidelity is None or best.is_full:
        return None
    return (
        f"No network was seen fully ({fidelity.name} {fidelity.full}): the winner was at "
        f"{best.count}, and its figure is an estimate"
    )


def _goal(outcome: Outcome) -> dict[str, Any]:
    """What counted; and in a line how far off the nearest network is, where none is inside."""
    problem = outcome.problem
    every = closest([*outcome.evaluated, *outcome.picks, *outcome.rivals])
    far = missed(every, problem)
    said = None
    if far.min() > 0:
        nearest = named_values(every[int(np.argmin(far))], problem)
        limits = [
            (each, nearest[each.name], problem.goal.region[each.name])
            for each in problem.objectives
            if each.name in problem.goal.region
        ]
        has = ", ".join(f"{in_words(each.name)} {value:.5g}" for each, value, _ in limits)
        wanted = ", ".join(
            f"{in_words(each.name)} at {'least' if each.maximize else 'most'} {limit:g}"
            for each, _, limit in limits
        )
        said = f"No evaluated network is in the region ({wanted}); the nearest has {has}"
    return {"kind": problem.goal.kind, "region": dict(problem.goal.region), "missed": said}


def named_values(network: Found, problem: Problem) -> dict[str, float]:
    """The objectives of a network, by name, in their own units."""
    names = (objective.name for objective in problem.objectives)
    return dict(zip(names, network.values, strict=True))


def _on_devices(limits: Limits, architecture: Architecture) -> dict[str, Any]:
    costs = limits.costs
    validation = costs.device.validation
    return {
        "device": costs.device.name,
        "budget_ms": finite(limits.latency_ms),
        "on": {
            target.costs.device.name: {
                "latency_ms": float(limits.pipelines_ms([architecture], target)[0]),
                "budget_ms": finite(target.latency_ms),
            }
            for target in limits.targets
        },
        "latency_ms": limits.pipeline_ms(architecture),
        "pipeline": _pipeline(limits, architecture),
        "device_status": f"{status(costs.device)}; {trust(costs.device)}",
        "prediction": asdict(validation) if validation else None,
    }


def _nowhere() -> dict[str, Any]:
    return {"device": None, "budget_ms": None, "on": {}, "latency_ms": None, "pipeline": None}


def _pipeline(limits: Limits, architecture: Architecture) -> dict[str, Any]:
    """All steps on the main device, with bounds, and what the budget leaves for the network."""
    target, steps = limits.targets[0], limits.budget.steps
    network = target.costs.network_ms(architecture)
    fixed_low_ms, fixed_high_ms = target.fixed_bounds_ms
    memory = target.costs.sizes.get("memory_mb")
    return {
        "parts": part_rows(target.parts),
        "fixed_ms": target.fixed_ms,
        "low_ms": steps * network.low_ms + fixed_low_ms,
        "high_ms": steps * network.high_ms + fixed_high_ms,
        "network_low_ms": steps * network.low_ms,
        "network_high_ms": steps * network.high_ms,
        "network_mb": None if memory is None else float(memory([architecture])[0]),
        "network_budget_ms": finite(target.network_ms(limits.budget)),
    }


def finite(number: float) -> float | None:
    """A number as JSON has it: no word for what is infinite, or no number."""
    return number if math.isfinite(number) else None


def public(settings: SearchSettings, paths: tuple[str, ...]) -> dict[str, Any]:
    """Settings without the paths of somebody's machine; `paths` may hold one."""
    plain = asdict(settings)
    for name in ("space", "device", "energy", *paths):
        value = plain[name]
        plain[name] = Path(value).name if isinstance(value, str) else value
    plain["other_devices"] = [Path(name).name for name in settings.other_devices]
    for part in plain["budget"]["parts"] or ():
        if "path" in part:
            part["path"] = Path(part["path"]).name
    return plain
