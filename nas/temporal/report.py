"""The report of the main job: its template, and what it is filled with."""

from pathlib import Path

from nas.pipeline.contract import Outcome
from nas.report import report
from nas.run.run_folder import RunFolder
from nas.temporal.layout_picture import layout_png
from nas.temporal.settings import Settings
from nas.temporal.words import drift
from search_spaces import TemporalSpace
from search_spaces.files import document

TEMPLATE = Path(__file__).with_name("report.html.jinja")


def write(folder: RunFolder, space: TemporalSpace, outcome: Outcome, preview_gif: bytes) -> str:
    """Write the pictures and report.html into the run folder; the HTML comes back as text."""
    results, settings, best = folder.results, folder.settings, outcome.winner
    assert isinstance(settings, Settings)
    drawing = layout_png(space, best.architecture, results["per_slot_ms"], results["image_ms"])
    document.write_atomically(folder.file("layout.png"), drawing)
    context = {
        "drawing": report.embedded(drawing, "png"),
        "race": results.get("finalists"),
        "space": space,
        "data": Path(settings.plan.data).name,
        "compared": {row["network"]: row for row in results["compared"]},
        "drift": drift(results["compared"], results["drift"]),
        "sampled": results["sampled"],
        "preview": report.embedded(preview_gif, "gif"),
    }
    networks = (outcome.evaluated, outcome.picks, best)
    return report.write(folder, outcome.problem, networks, TEMPLATE, context)
