"""The report of a run: pictures, and one HTML file that needs nothing else."""

import base64
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from nas.costs.part_rows import most_memory
from nas.problem.problem import Problem
from nas.report.pictures import best_so_far_png, pareto_picture, prediction_png
from nas.run.looks import seen_in_words
from nas.run.results import Found
from nas.run.run_folder import RunFolder, versions
from search_spaces.files import document
from search_spaces.tables.columns import in_words

BASE = Path(__file__).parent  # of base.html.jinja, which templates of tasks extend
# Who proposed a network, and what its best is called.
BEST_OF = {"search": "best of the search", "random": "best random pick"}
ORIGINS = {"search": "search", "random": "random pick", "uniform": "uniform layout"}


def write(
    folder: RunFolder,
    problem: Problem,
    networks: tuple[list[Found], list[Found], Found],
    template: Path,
    context: Mapping[str, Any],
) -> str:
    """Write pareto.png, pareto.svg and report.html into the run folder; the HTML comes back.

    Args:
        folder: with the results.
        problem: that was searched.
        networks: what the search evaluated, the random picks, and the winner.
        template: of the task; extends `base.html.jinja`.
        context: what the template asks for beside the run's results.
    """
    pictures, html = rendered(folder, folder.results, problem, networks, template, context)
    for kind, drawn in pictures.items():
        document.write_atomically(folder.file(f"pareto.{kind}"), drawn)
    document.write_atomically(folder.file("report.html"), html)
    return html


def rendered(
    folder: RunFolder,
    results: Mapping[str, Any],
    problem: Problem,
    networks: tuple[list[Found], list[Found], Found],
    template: Path,
    context: Mapping[str, Any],
) -> tuple[dict[str, bytes], str]:
    """The picture by its kinds, and the HTML; arguments as of `write`, `results` in its place."""
    import jinja2

    label = f"trial {results['trial']}" if "trial" in results else "winner"
    pictures = pareto_picture(*networks, problem, results["budget_ms"], label)
    unseen = results.get("unseen")
    loader = jinja2.FileSystemLoader([template.parent, BASE])
    environment = jinja2.Environment(
        loader=loader, autoescape=True, undefined=jinja2.StrictUndefined
    )
    environment.filters["in_words"] = in_words
    environment.filters["seen_in_words"] = seen_in_words
    environment.filters["mb"] = lambda mb: "" if mb is None else f"{mb:,.0f}"
    html = environment.get_template(template.name).render(
        results=results,
        settings=folder.settings,
        seconds=folder.seconds,
        most_memory=most_memory(results["pipeline"]) if results["pipeline"] else None,
        facts=host_line(),
        origins=ORIGINS,
        accuracy=accuracy(unseen) if unseen else None,
        prediction=embedded(prediction_png(unseen), "png") if unseen else None,
        pareto=embedded(pictures["png"], "png"),
        best_so_far=embedded(best_so_far_png(results["worth"]), "png"),
        **context,
    )
    return pictures, html


def accuracy(unseen: dict[str, Any]) -> dict[str, float]:
    """How predictions of unseen networks compare with measuring them, and with doing so twice."""
    from scipy.stats import spearmanr

    measured = np.array(unseen["measured_ms"])
    again = np.array(unseen["again_ms"])
    predicted = np.array(unseen["predicted_ms"])
    inside = (np.array(unseen["low_ms"]) <= measured) & (measured <= np.array(unseen["high_ms"]))
    return {
        "networks": len(measured),
        "mape_pct": _mape_pct(predicted, measured),
        "spearman": float(spearmanr(predicted, measured).statistic),
        "inside_pct": float(inside.mean() * 100),
        "again_mape_pct": _mape_pct(again, measured),
        "again_spearman": float(spearmanr(again, measured).statistic),
    }


def host_line() -> str:
    """The versions that the run depends on, in a line."""
    return ", ".join(f"{name} {version}" for name, version in versions().items())


def _mape_pct(guess: Any, truth: Any) -> float:
    return float(np.mean(np.abs(guess / truth - 1)) * 100)


def embedded(data: bytes, kind: str) -> str:
    """A picture as HTML holds it."""
    return f"data:image/{kind};base64,{base64.b64encode(data).decode()}"
