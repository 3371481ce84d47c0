"""Results on stdout: tables for people, one JSON document for scripts."""

import json
import sys
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from nas.cli.flags import in_flags

if TYPE_CHECKING:
    from search_spaces import Table as Measured


def print_json(document: Any) -> None:
    """One JSON document."""
    print(json.dumps(document, indent=2, allow_nan=False))  # noqa: T201


def print_table(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """A table of text; columns that start with `>` are set to the right."""
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table

    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    for column in columns:
        justify = "right" if column.startswith(">") else "left"
        table.add_column(column.removeprefix(">"), justify=justify, overflow="fold")  # type: ignore[arg-type]
    for row in rows:
        table.add_row(*(str(cell) for cell in row))
    width = None if sys.stdout.isatty() else 120
    Console(width=width, highlight=False, markup=False).print(table)


def print_note(text: str) -> None:
    """One line beside the results."""
    print(f"nas: {in_flags(text)}", file=sys.stderr)  # noqa: T201


def print_columns(table: "Measured", used: Iterable[str] = ()) -> None:
    """What a table's columns were taken for, beside the results; `used` are metrics."""
    from nas.tables import columns_in_words

    for line in columns_in_words(table, set(used)):
        print_note(line)


def print_line(text: str) -> None:
    """One line."""
    print(in_flags(text))  # noqa: T201


def palettes_in_words(bits: int, float16_mb: float) -> str:
    """What is in palettes, and what is not."""
    return f"in palettes of {bits} bits, but for {float16_mb:.2g} MB of small weights in float16"
