"""The page that a person would show: clips, the layout, what it costs, the front, the packages."""

import base64
import json
from pathlib import Path
from typing import Any

import jinja2

from search_spaces.files.document import write_atomically
from temporal_bundle import FINETUNED

TEMPLATE = Path(__file__).with_name("page.html.jinja")


def write_page(out: Path, export: dict[str, Any], commands: list[str], *, tiny_text: bool) -> Path:
    """OUT/report.html, in one file that needs nothing else.

    Args:
        out: the folder of the example.
        export: what the export of the pipeline said.
        commands: that tune the wide network.
        tiny_text: whether the text encoder is the one at random.
    """
    found = json.loads((out / "run" / "run.json").read_text())
    pictures = {
        name: _embedded(out / file)
        for name, file in (
            ("layout", "run/layout.png"),
            ("front", "run/pareto.png"),
            ("prompts", "prompts.gif"),
            ("films", "films.gif"),
        )
    }
    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined)
    html = environment.from_string(TEMPLATE.read_text()).render(
        results=found["results"],
        settings=found["settings"],
        data=Path(found["settings"]["plan"]["data"]).name,
        films=len(json.loads((out / "latents" / "latents.json").read_text())["files"]),
        export=export,
        tuned=json.loads((out / "twin" / FINETUNED).read_text()),
        commands=commands,
        tiny_text=tiny_text,
        pictures=pictures,
    )
    path = out / "report.html"
    write_atomically(path, html)
    return path


def _embedded(file: Path) -> str:
    data = base64.b64encode(file.read_bytes()).decode()
    return f"data:image/{file.suffix[1:]};base64,{data}"
