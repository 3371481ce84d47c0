"""The page that a person would show: the layout, what it costs, the front, the package."""

import base64
import json
from pathlib import Path
from typing import Any

import jinja2

from search_spaces.files.document import write_atomically

TEMPLATE = Path(__file__).with_name("page.html.jinja")


def write_page(out: Path, run: Path, export: dict[str, Any]) -> Path:
    """OUT/report.html, in one file that needs nothing else."""
    found = json.loads((run / "run.json").read_text())
    pictures = {
        name: _embedded(run / file)
        for name, file in (
            ("layout", "layout.png"),
            ("front", "pareto.png"),
            ("preview", "bundle/preview.gif"),
        )
    }
    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined)
    html = environment.from_string(TEMPLATE.read_text()).render(
        results=found["results"],
        settings=found["settings"],
        data=Path(found["settings"]["plan"]["data"]).name,
        export=export,
        package=Path(export["packages"][0]).name,
        pictures=pictures,
    )
    path = out / "report.html"
    write_atomically(path, html)
    return path


def _embedded(file: Path) -> str:
    data = base64.b64encode(file.read_bytes()).decode()
    return f"data:image/{file.suffix[1:]};base64,{data}"
