"""After the search of a task: the tables, the pictures, the report, and the bundle."""

from dataclasses import asdict
from pathlib import Path
from typing import Any

from nas.costs.limits import Limits
from nas.pipeline.contract import Outcome
from nas.pipeline.summary import finite, named_values, public, summary_of, write_trials
from nas.problem.problem import Problem
from nas.progress import Progress
from nas.report import report
from nas.run.results import Found, quality_place, winner
from nas.run.run_folder import RunFolder
from nas.task.stack_picture import stack_png
from nas.task.task import Task
from nas.task.words import who_won
from search_spaces import Architecture, InputError
from search_spaces.files import document

TEMPLATE = Path(__file__).with_name("report.html.jinja")
WINNER, SEARCHED, RANDOM = "winner", "best of the search", "best random pick"
FASTEST, SLOWEST = "fastest network", "slowest network"


def deliver(folder: RunFolder, task: Task, outcome: Outcome, progress: Progress) -> dict[str, Any]:
    """Write everything that a finished run leaves; the summary comes back."""
    best = outcome.winner.architecture
    with progress.stage("report", 2) as advance, folder.timed("report", again=True):
        write_trials(folder, outcome)
        document.write_atomically(folder.file("architecture.json"), document.dumps(best.to_json()))
        summary = _summary(folder, task, outcome)
        folder.results |= summary
        folder.save()
        advance(1)
        document.write_atomically(folder.file("stack.png"), _drawing(outcome))
        html = report.write(folder, *_reported(summary, outcome))
        if task.build is not None:
            try:
                _write_bundle(folder.file("bundle"), folder, task, outcome, html)
            except InputError as error:  # the search is done all the same
                summary["no_bundle"] = str(error)
                folder.results |= summary
                folder.save()
        advance(2)
    return summary


def hand_over(folder: RunFolder, task: Task, outcome: Outcome, out: Path) -> None:
    """Write what is left of a winner for another trial; the run folder stays as it is."""
    results = {**folder.results, **_summary(folder, task, outcome), "finalists": None}
    pictures, html = report.rendered(folder, results, *_reported(results, outcome))
    if task.build is not None:
        _write_bundle(out, folder, task, outcome, html)
        return
    architecture = outcome.winner.architecture
    with document.replacing_folder(out) as temporary:
        files = {
            "architecture.json": document.dumps(architecture.to_json()),
            "latency.json": document.dumps(latency_of(architecture, outcome.limits)),
            "report.html": html,
        }
        for name, text in files.items():
            (temporary / name).write_text(text, encoding="utf-8")
        for kind, drawn in pictures.items():
            (temporary / f"pareto.{kind}").write_bytes(drawn)


def _summary(folder: RunFolder, task: Task, outcome: Outcome) -> dict[str, Any]:
    best, problem = outcome.winner, outcome.problem
    return {
        "task": task.name or task.space.name,
        "objectives": list(folder.settings.objectives),
        "quality": problem.objectives[quality_place(problem)].name,
        **summary_of(outcome),
        "winner": dict(best.architecture.items()),
        "winner_loss": best.loss,
        "compared": _compared(outcome),
        "finalists": folder.results.get("finalists"),
        "network": _network(task, best.architecture, outcome.limits),
        "weights": _weights(task),
    }


def _reported(
    results: dict[str, Any], outcome: Outcome
) -> tuple[Problem, tuple[list[Found], list[Found], Found], Path, dict[str, Any]]:
    """What the report is filled with."""
    networks = (outcome.evaluated, outcome.picks, _as_searched(outcome))
    drawing = report.embedded(_drawing(outcome), "png")
    context = {"verdict": who_won(results), "drawing": drawing}
    return outcome.problem, networks, TEMPLATE, context


def _drawing(outcome: Outcome) -> bytes:
    limits, architecture = outcome.limits, outcome.winner.architecture
    added_ms = limits.costs.per_choice_ms(architecture) if limits.targets else {}
    return stack_png(limits.space, architecture, added_ms)


def _write_bundle(path: Path, folder: RunFolder, task: Task, outcome: Outcome, html: str) -> None:
    from nas.task.bundling import write_task_bundle

    architecture = outcome.winner.architecture
    study = {
        "space": task.space.to_json(),
        "settings": public(folder.settings, ()),
        "weights": _weights(task),
    }
    priced = latency_of(architecture, outcome.limits)
    write_task_bundle(path, task, architecture, priced, html, study)


def _compared(outcome: Outcome) -> list[dict[str, Any]]:
    """The winner beside the best of each side, and beside the extremes in latency."""
    limits, problem = outcome.limits, outcome.problem
    won = _as_searched(outcome)
    rows = [
        {
            "network": name,
            "layout": str(each.architecture),
            "values": named_values(each, problem),
            "loss": each.loss,
            **_costs(each.architecture, limits),
        }
        for name, each in (
            (WINNER, won),
            (SEARCHED, winner(outcome.evaluated)),
            (RANDOM, winner(outcome.picks)),
        )
    ]
    if limits.targets:
        for name, extreme in ((FASTEST, limits.costs.fastest), (SLOWEST, limits.costs.slowest)):
            costs = _costs(extreme, limits)
            rows.append(
                {"network": name, "layout": str(extreme), "values": None, "loss": None, **costs}
            )
    return rows


def _as_searched(outcome: Outcome) -> Found:
    """The winner with what the search found of it, beside others that had no closer look."""
    architecture = outcome.winner.architecture
    every = (*outcome.evaluated, *outcome.picks)
    return next((each for each in every if each.architecture == architecture), outcome.winner)


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
    """What the winner holds, and its costliest operations; None where nothing builds it."""
    if task.build is None and task.workload is None:
        return None
    from nas.report.workload_summary import costliest, kinds, sizes
    from nas.task.tracing import traced

    workload = traced(task, architecture)
    device = limits.costs.device if limits.targets else None
    return {
        **sizes(workload),
        "kinds": [vars(kind) for kind in kinds(workload)],
        "costliest": [vars(row) for row in costliest(device, workload)],
    }


def _weights(task: Task) -> str | None:
    if task.build is None:
        return None
    return "the task's own" if task.weights is not None else "random: the task has no `weights`"


def latency_of(architecture: Architecture, limits: Limits) -> dict[str, Any]:
    """The `latency.json` of a bundle."""
    if not limits.targets:
        return {"device": None, **_costs(architecture, limits)}
    return {
        "device": limits.costs.device.name,
        "facts": limits.costs.device.facts,
        "network": asdict(limits.costs.network_ms(architecture)),
        "steps": limits.budget.steps,
        "parts": [asdict(part) for part in limits.targets[0].parts],
        "pipeline_ms": limits.pipeline_ms(architecture),
        **_costs(architecture, limits),
    }
