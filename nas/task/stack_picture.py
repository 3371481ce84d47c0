"""The winner drawn as a stack: a box for each choice, with what depends on it and what it takes."""

import io
from collections.abc import Mapping
from typing import Any

from search_spaces import Architecture, SearchSpace

GREY, INK, EMPTY = "#9a9a9a", "#222222", "#f1f1f1"
COLOURS = ("#4c78a8", "#72b7b2", "#e45756", "#b279a2", "#f2a541", "#8c6d31", "#54a24b", "#ff9da6")
WIDE, HIGH, GAP = 3.4, 0.5, 0.16  # inches of a box, and between boxes
IN_A_COLUMN = 12
NOTHING = frozenset({"none", "skip", "absent", "identity"})
LARGE_PT, SMALL_PT = 10.5, 9.0


def stack_png(
    space: SearchSpace, architecture: Architecture, added_ms: Mapping[str, float]
) -> bytes:
    """A PNG: choices from top to bottom, equal options in equal colours.

    A choice called `layer0.heads` is written into the box of `layer0`.

    Args:
        space: the choices.
        architecture: what they decide.
        added_ms: what each choice's option adds to a call, where that is known.
    """
    from matplotlib.figure import Figure

    boxes = [choice.name for choice in space.choices if not _is_detail(space, choice.name)]
    shown = list(dict.fromkeys(str(architecture[n]) for n in boxes if _stands(architecture, n)))
    rows = min(len(boxes), IN_A_COLUMN)
    columns = -(-len(boxes) // rows)
    width, height = columns * (WIDE + 1.3) + 0.2, rows * (HIGH + GAP) + 0.3
    figure = Figure(figsize=(width, height))
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set_xlim(0, width)
    axes.set_ylim(height, 0)
    axes.axis("off")
    for number, name in enumerate(boxes):
        column, row = divmod(number, rows)
        option = str(architecture[name]) if name in architecture else ""
        stands = _stands(architecture, name)
        colour = COLOURS[shown.index(option) % len(COLOURS)] if stands else EMPTY
        corner = (1.2 + column * (WIDE + 1.3), 0.2 + row * (HIGH + GAP))
        details = {
            other.removeprefix(f"{name}."): value
            for other, value in architecture.items()
            if other.startswith(f"{name}.")
        }
        _box(axes, corner, name, option, details, added_ms.get(name), colour)
        if row + 1 < rows and number + 1 < len(boxes):
            x, y = corner[0] + WIDE / 2, corner[1] + HIGH
            axes.plot([x, x], [y, y + GAP], c=INK, lw=1.2, zorder=1)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=150)
    return buffer.getvalue()


def _stands(architecture: Architecture, name: str) -> bool:
    """Whether something stands there: an option that is no word for nothing, or has details."""
    if name not in architecture:
        return False
    detailed = any(other.startswith(f"{name}.") for other in architecture)
    return detailed or str(architecture[name]) not in NOTHING


def _is_detail(space: SearchSpace, name: str) -> bool:
    """Whether a choice belongs to the box of another: `layer0.heads` to `layer0`."""
    whole = name.partition(".")[0]
    return whole != name and any(choice.name == whole for choice in space.choices)


def _box(
    axes: Any,
    corner: tuple[float, float],
    name: str,
    option: str,
    details: Mapping[str, object],
    added_ms: float | None,
    colour: str,
) -> None:
    from matplotlib.patches import FancyBboxPatch

    x, y = corner
    empty = colour == EMPTY
    axes.add_patch(
        FancyBboxPatch(
            (x, y), WIDE, HIGH, boxstyle="round,pad=0,rounding_size=0.07", fc=colour,
            ec=GREY if empty else "none", lw=0.8, zorder=3,
        )
    )  # fmt: skip
    ink, middle = GREY if empty else "white", y + HIGH / 2
    axes.text(x - 0.12, middle, name, fontsize=SMALL_PT, color=INK, ha="right", va="center")
    said = ", ".join(f"{detail} {value}" for detail, value in details.items())
    up = HIGH * 0.19 if said else 0.0
    axes.text(
        x + 0.14, middle - up, option or "does not matter", fontsize=LARGE_PT, color=ink,
        weight="normal" if empty else "bold", va="center", zorder=4,
    )  # fmt: skip
    axes.text(x + 0.14, middle + up, said, fontsize=SMALL_PT, color=ink, va="center", zorder=4)
    if added_ms is not None and not empty:
        axes.text(
            x + WIDE - 0.12, middle, f"+ {added_ms:.3g} ms", fontsize=SMALL_PT, color=ink,
            ha="right", va="center", zorder=4,
        )  # fmt: skip
