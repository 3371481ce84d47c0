"""Tables that people bring: checked, with times in ms."""

from typing import Any

from search_spaces import Table


def rows_of(table: Table) -> list[dict[str, Any]]:
    """The rows of a table of networks or of blocks: choices, reserved columns, metrics."""
    columns = [table.choices, table.reserved, table.metrics]
    rows: list[dict[str, Any]] = [{} for _ in range(len(table.metrics))]
    for frame in columns:
        for row, found in zip(rows, frame.to_dict("records"), strict=True):
            row |= {str(name): value for name, value in found.items()}
    return rows
