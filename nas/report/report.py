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

# Who proposed a network, and the row of its best in the comparison.
PROPOSED = {
    "search": "best of the search",
    "random": "best random pick",
    "uniform": "best uniform layout",
}
ORIGINS = {"search": "search", "random": "random pick", "uniform": "uniform layout"}
TOLD_APART = 2.0  # standard errors
DRIFTED = 0.05
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
        origins=ORIGINS,
        space=space,
        settings=folder.settings,
        data=Path(folder.settings.plan.data).name,
        seconds=folder.seconds,
        facts=host_line(),
        accuracy=accuracy(unseen) if unseen else None,
        compared={row["network"]: row for row in results["compared"]},
        verdict=who_won(results),
        drift=drift(results["compared"]),
        sampled=results["sampled"],
        pareto=_embedded(pareto, "png"),
        prediction=_embedded(prediction_png(unseen), "png") if unseen else None,
        preview=_embedded(preview_gif, "gif"),
    )
    document.write_atomically(folder.file("report.html"), html)
    return html


def who_won(results: dict[str, Any]) -> str:
    """Whose network won, and by how much on the test clips, in a sentence or two."""
    rows = {row["network"]: row for row in results["compared"]}
    won, winner = results["winner_origin"], rows["winner"]
    rivals = {
        origin: rows[name]
        for origin, name in PROPOSED.items()
        if origin != won and name in rows and rows[name]["layout"] != winner["layout"]
    }
    said = f"The winner is the {PROPOSED[won]}."
    if won != "search" and "search" in rivals:
        said = f"No network of the search won, but the {PROPOSED[won]}."
    parts = [f"the {PROPOSED[origin]} is {_behind(row)}" for origin, row in rivals.items()]
    return f"{said} On test clips {', and '.join(parts)}." if parts else said


def _behind(row: dict[str, Any]) -> str:
    value, error = row["above_winner"], row["above_winner_error"]
    far = f"{abs(value):.4f} \u00b1 {error:.4f}"
    if not abs(value) > TOLD_APART * error:
        return f"not told apart from it ({value:+.4f} \u00b1 {error:.4f})"
    return f"{far} above it" if value > 0 else f"{far} below it, so the race chose wrongly"


def drift(compared: list[dict[str, Any]]) -> str | None:
    """How the machine of the last measurements differs from the one that was calibrated, in words.

    None where nothing was measured.
    """
    measured = {row["layout"]: row for row in compared if row["measured_ms"]}
    if not measured:
        return None
    rows = measured.values()
    ratio = float(np.median([row["measured_ms"] / row["predicted_ms"] for row in rows]))
    inside = sum(row["low_ms"] <= row["measured_ms"] <= row["high_ms"] for row in rows)
    counted = f"{inside} of {len(rows)} are inside their 90% bounds"
    if abs(ratio - 1) < DRIFTED:
        return f"Measured after the search, all together: {counted}."
    return (
        f"Measured after the search, all together: a call took {ratio:.2f} times as long as was "
        f"predicted when this machine was calibrated, so {counted}. That is the machine's load, "
        "not the networks: compare the measured figures with each other."
    )


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
