"""The report of a run: pictures, and one HTML file that needs nothing else."""

import base64
from pathlib import Path
from typing import Any

import numpy as np

from nas.report.layout_picture import layout_png
from nas.report.pictures import pareto_png, prediction_png
from nas.run.results import Found
from nas.run.run_folder import RunFolder, versions
from search_spaces import TemporalSpace
from search_spaces.files import document

TEMPLATE = Path(__file__).with_name("report.html.jinja")


def write(
    folder: RunFolder,
    space: TemporalSpace,
    evaluated: list[Found],
    picks: list[Found],
    best: Found,
    preview_gif: bytes,
) -> str:
    """Write pareto.png and report.html into the run folder; the HTML comes back as text."""
    import jinja2

    results = folder.results
    pareto = pareto_png(evaluated, picks, best, results["budget_ms"])
    document.write_atomically(folder.file("pareto.png"), pareto)
    drawing = layout_png(space, best.architecture, results["per_slot_ms"], results["image_ms"])
    document.write_atomically(folder.file("layout.png"), drawing)
    unseen = results.get("unseen")
    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined)
    html = environment.from_string(TEMPLATE.read_text()).render(
        results=results,
        drawing=_embedded(drawing, "png"),
        race=results.get("finalists"),
        space=space,
        settings=folder.settings,
        data=Path(folder.settings.plan.data).name,
        seconds=folder.seconds,
        facts=host_line(),
        accuracy=accuracy(unseen) if unseen else None,
        compared={row["network"]: row for row in results["compared"]},
        pareto=_embedded(pareto, "png"),
        prediction=_embedded(prediction_png(unseen), "png") if unseen else None,
        preview=_embedded(preview_gif, "gif"),
    )
    document.write_atomically(folder.file("report.html"), html)
    return html


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


def _embedded(data: bytes, kind: str) -> str:
    return f"data:image/{kind};base64,{base64.b64encode(data).decode()}"
