"""`nas spaces` and `nas show`: what there is."""

import json as json_
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from nas.cli import options
from nas.cli.output import print_json, print_line, print_note, print_table
from search_spaces.files.errors import InputError

if TYPE_CHECKING:
    from search_spaces import Operator

DESCRIBED = ("choices", "metrics")  # of a table, a line each


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


def _print(content: dict[str, Any]) -> None:
    for key, value in content.items():
        if key == "columns" or key.endswith(" columns"):  # for scripts
            continue
        if isinstance(value, dict) and key in DESCRIBED:
            print_line(f"{key}:")
            alike: dict[str, list[str]] = {}
            for name, said in value.items():
                alike.setdefault(said, []).append(name)
            for said, names in alike.items():
                print_line(f"  {', '.join(names)}: {said}")
        else:
            print_line(f"{key}: {value if isinstance(value, str) else json_.dumps(value)}")


def _show_table(path: Path, space: str | None, choice_columns: list[str], *, json: bool) -> None:
    from nas.cli.contents import table_content
    from nas.tables import columns_in_words
    from search_spaces import load, read_table

    given = load(space) if space else None
    table = read_table(path, given, measured=False, choice_columns=choice_columns)
    content = table_content(table)
    if json:
        print_json(content)
        return
    _print(content)
    for line in columns_in_words(table)[1:]:
        print_note(line)


def show(
    path: Annotated[Path, typer.Argument(help="A run, a bundle, a device, a space, a table ...")],
    space: options.MaybeSpace = None,
    choice_columns: options.ChoiceColumns = None,
    json: options.AsJson = False,
) -> None:
    """Say what a file or folder holds that this toolkit writes or reads."""
    from nas.cli.contents import TABLES, content_of

    is_table = path.name.endswith(TABLES)
    if (space or choice_columns) and not is_table:
        raise InputError(f"{path}: is no table; --space and --choice-columns are for tables")
    if is_table and path.is_file():
        _show_table(path, space, options.words(choice_columns), json=json)
    else:
        content = content_of(path)
        print_json(content) if json else _print(content)
