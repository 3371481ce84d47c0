"""`nas spaces` and `nas show`: what there is."""

import json as json_
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from nas.cli import options
from nas.cli.output import print_json, print_line, print_note, print_table

if TYPE_CHECKING:
    from search_spaces import Operator


def spaces(json: options.AsJson = False) -> None:
    """List the shipped search spaces."""
    from search_spaces import TemporalSpace, load
    from search_spaces.shipped.loading import SHIPPED, twin_of

    rows: list[dict[str, Any]] = []
    for name in SHIPPED:
        space = load(name)
        row: dict[str, Any] = {"name": name, "networks": space.size}
        if isinstance(space, TemporalSpace):
            row["slots"] = [slot.name for slot in space.slots]
            row["options"] = [str(block) for block in space.blocks()]
            row["operators"] = [_spelled(operator) for operator in space.operators]
            unet = space.unet
            row["clip"] = [unet.in_channels, unet.frames, unet.height, unet.width]
            row["twin"] = twin_of(name)
        rows.append(row)
    if json:
        print_json({"spaces": rows})
        return
    print_table(
        ["space", ">networks", "a clip", "slots", ">blocks", "operators, with their sizes"],
        (
            (
                r["name"],
                f"{r['networks']:,}" if r["networks"] < 1e9 else f"{r['networks']:.3g}",
                "x".join(map(str, r.get("clip", ()))),
                "\n".join(r.get("slots", ())),
                len(r.get("options", ())),
                "\n".join(r.get("operators", ())),
            )
            for r in rows
        ),
    )


def _spelled(operator: "Operator") -> str:
    """An operator with all options of its sizes."""
    sizes = ", ".join(f"{s.name} {'|'.join(map(str, s.options))}" for s in operator.settings)
    return f"{operator.name}: {sizes}" if sizes else operator.name


def show(
    path: Annotated[Path, typer.Argument(help="A run, a bundle, a device, a space, a table ...")],
    json: options.AsJson = False,
) -> None:
    """Say what a file or folder holds that this toolkit writes or reads."""
    from nas.cli.contents import TABLES, content_of

    content = content_of(path)
    if json:
        print_json(content)
        return
    for key, value in content.items():
        if key != "columns":  # for scripts: their names stand above it
            print_line(f"{key}: {value if isinstance(value, str) else json_.dumps(value)}")
    if path.name.endswith(TABLES):
        from nas.tables import columns_in_words
        from search_spaces import read_table

        for line in columns_in_words(read_table(path, measured=False))[1:]:
            print_note(line)
