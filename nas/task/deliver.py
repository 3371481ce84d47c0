"""After the search of a task: the tables, the pictures, the report, and the bundle."""

import shutil
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nas.costs.limits import Limits
from nas.costs.part_rows import part_rows
from nas.pipeline.contract import Outcome
from nas.pipeline.summary import finite, named_values, public, summary_of, write_trials
from nas.pipeline.verdict import verdict
from nas.pipeline.worth import best_of, worth
from nas.progress import Progress
from nas.report import report
from nas.report.report import BEST_OF
from nas.run.results import Found, quality_place
from nas.run.run_folder import RunFolder
from nas.task.stack_picture import stack_png
from nas.task.task import Task
from search_spaces import Architecture, InputError
from search_spaces.files import document

if TYPE_CHECKING:
    from nas.task.bundling import Made

TEMPLATE = Path(__file__).with_name("report.html.jinja")
WINNER, FASTEST, SLOWEST = "winner", "fastest network", "slowest network"
BUNDLE = "bundle"


def deliver(folder: RunFolder, task: Task, outcome: Outcome, progress: Progress) -> dict[str, Any]:
    """Write everything that a finished run leaves; the summary comes back.

    A search ends with its report, whatever cannot be made of its winner: the summary says why.
    """
    best = outcome.winner.architecture
    with progress.stage("report", 2) as advance, folder.timed("report", again=True):
        write_trials(folder, outcome)
        document.write_atomically(folder.file("architecture.json"), document.dumps(best.to_json()))
        made, why = _made(task, best)
        summary = {**_summary(folder, task, outcome), "no_bundle": why}
        summary["verdict"] = verdict(summary)
        folder.results |= summary
        folder.save()
        advance(1)
        drawing = _drawing(outcome)
        document.write_atomically(folder.file("stack.png"), drawing)
        html = report.write(folder, *_reported(outcome, drawing))
        if made is None:
            shutil.rmtree(folder.file(BUNDLE), ignore_errors=True)  # of an earlier try
        else:
            _write_bundle(folder.file(BUNDLE), folder, task, outcome, made, html)
        advance(2)
    return summary


def hand_over(folder: RunFolder, task: Task, outcome: Outcome, out: Path) -> None:
    """Write a bundle of one trial, or its architecture and report where none can be made."""
    made, why = _made(task, outcome.winner.architecture)
    results = {
        **folder.results,
        **_summary(folder, task, outcome),
        "no_bundle": why,
        "finalists": None,
        "verdict": "",
        "trial": outcome.winner.trial,
    }
    drawing = _drawing(outcome)
    pictures, html = report.rendered(folder, results, *_reported(outcome, drawing))
    if made is not None:
        _write_bundle(out, folder, task, outcome, made, html)
        return
    architecture = outcome.winner.architecture
    with document.replacing_folder(out) as temporary:
        texts = {
            "architecture.json": document.dumps(architecture.to_json()),
            "latency.json": document.dumps(latency_of(architecture, outcome.limits)),
            "report.html": html,
        }
        for name, text in texts.items():
            (temporary / name).write_text(text, encoding="utf-8")
        for kind, drawn in pictures.items():
            (temporary / f"pareto.{kind}").write_bytes(drawn)


def _made(task: Task, architecture: Architecture) -> "tuple[Made | None, str | None]":
    """What a bundle holds of the network; None, and why not, where there is none."""
    if task.build is None:
        return None, None
    from nas.task.bundling import made_of

    try:
        return made_of(task, architecture), None
    except InputError as error:
        return None, str(error)


def _write_bundle(
    path: Path, folder: RunFolder, task: Task, outcome: Outcome, made: "Made", html: str
) -> None:
    from nas.task.bundling import write_task_bundle

    architecture = outcome.winner.architecture
    study = {
        "space": task.space.to_json(),
        "settings": public(folder.settings, ()),
        "weights": _weights(task),
    }
    priced = latency_of(architecture, outcome.limits)
    write_task_bundle(path, made, architecture, priced, html, study)


def _summary(folder: RunFolder, task: Task, outcome: Outcome) -> dict[str, Any]:
    best, problem = outcome.winner, outcome.problem
    return {
        "task": task.name or task.space.name,
        "objectives": list(folder.settings.objectives),
        "quality": problem.objectives[quality_place(problem)].name,
        **summary_of(outcome),
        "worth": worth(outcome, folder.settings.strategy),
        "winner": dict(best.architecture.items()),
        "compared": _compared(outcome),
        "finalists": folder.results.get("finalists"),
        "network": _network(task, best.architecture, outcome.limits),
        "weights": _weights(task),
    }


def _reported(
    outcome: Outcome, drawing: bytes
) -> tuple[Any, tuple[list[Found], list[Found], Found], Path, dict[str, Any]]:
    """What the report is filled with."""
    networks = (outcome.evaluated, outcome.picks, outcome.winner)
    return outcome.problem, networks, TEMPLATE, {"drawing": report.embedded(drawing, "png")}


def _drawing(outcome: Outcome) -> bytes:
    limits, architecture = outcome.limits, outcome.winner.architecture
    added_ms = limits.costs.per_choice_ms(architecture) if limits.targets else {}
    return stack_png(limits.space, architecture, added_ms)


def _compared(outcome: Outcome) -> list[dict[str, Any]]:
    """The winner beside the best of each side, and beside the extremes in latency."""
    limits, problem = outcome.limits, outcome.problem
    rows = [
        {
            "network": name,
            "layout": str(each.architecture),
            "values": named_values(each, problem),
            **_costs(each.architecture, limits),
        }
        for name, each in (
            (WINNER, outcome.winner),
            *((BEST_OF[side], best) for side, best in best_of(outcome).items()),
        )
    ]
    if limits.targets:
        for name, extreme in ((FASTEST, limits.costs.fastest), (SLOWEST, limits.costs.slowest)):
            rows.append(
                {
                    "network": name,
                    "layout": str(extreme),
                    "values": None,
                    **_costs(extreme, limits),
                }
            )
    return rows


def _costs(architecture: Architecture, limits: Limits) -> dict[str, Any]:
    """What is known of a network: a call's latency with bounds, and its sizes."""
    meters = limits.meters
    sizes: dict[str, Any] = {
        name: float(meters[name]([architecture])[0])
        for name in ("parameters_count", "memory_mb", "flops_count")
        if name in meters
    }
    if not limits.targets:
        return {"predicted_ms": None, "low_ms": None, "high_ms": None, **sizes}
    found = limits.costs.network_ms(architecture)
    return {
        "predicted_ms": found.latency_ms,
        "low_ms": finite(found.low_ms),
        "high_ms": finite(found.high_ms),
        **sizes,
    }


def _network(task: Task, architecture: Architecture, limits: Limits) -> dict[str, Any] | None:
    """What the winner holds, and its costliest operations; None where they cannot be told."""
    if task.build is None and task.workload is None:
        return None
    from nas.report.workload_summary import costliest, kinds, operations_ms, sizes
    from nas.task.tracing import traced

    try:
        workload = traced(task, architecture)
    except InputError:  # what cannot be traced is evaluated all the same
        return None
    device = limits.costs.device if limits.targets else None
    held = sizes(workload)
    if (meter := limits.meters.get("memory_mb")) is not None:  # in numbers as wide as the device's
        held["memory_mb"] = float(meter([architecture])[0])
    return {
        **held,
        "kinds": [vars(kind) for kind in kinds(workload)],
        "costliest": [vars(row) for row in costliest(device, workload)],
        "operations_ms": operations_ms(device, workload),
    }


def _weights(task: Task) -> str | None:
    if task.build is None:
        return None
    return "the task's own" if task.weights is not None else "as `build` made them"


def latency_of(architecture: Architecture, limits: Limits) -> dict[str, Any]:
    """The `latency.json` of a bundle."""
    if not limits.targets:
        return {"device": None, **_costs(architecture, limits)}
    return {
        "device": limits.costs.device.name,
        "facts": limits.costs.device.facts,
        "network": asdict(limits.costs.network_ms(architecture)),
        "steps": limits.budget.steps,
        "parts": part_rows(limits.targets[0].parts),
        "pipeline_ms": limits.pipeline_ms(architecture),
        **_costs(architecture, limits),
    }
