"""The layout of a network, drawn over its U-Net: which block stands where, and what it adds."""

import io
import itertools
from collections.abc import Mapping
from typing import Any

from search_spaces import Architecture, Slot, TemporalSpace

GREY, INK, EMPTY = "#9a9a9a", "#222222", "#f1f1f1"
# A colour a kind of operator, in the order in which a space declares them.
COLOURS = ("#4c78a8", "#72b7b2", "#e45756", "#b279a2", "#f2a541", "#8c6d31", "#54a24b", "#ff9da6")
WIDE, HIGH, GAP_X, GAP_Y = 2.5, 0.95, 0.5, 0.55  # inches of a block, and between blocks
SMALL_PT, MIDDLE_PT, LARGE_PT = 9.0, 10.0, 11.5  # as the text beside it in the report, or nearly
LANE = 0.85 * WIDE  # where arrows leave a block: beside its caption


def layout_png(
    space: TemporalSpace,
    architecture: Architecture,
    per_slot_ms: Mapping[str, float],
    image_ms: float,
) -> bytes:
    """A PNG: stages from top to bottom, the way down at the left, the way up at the right.

    Args:
        space: its slots.
        architecture: what stands in them.
        per_slot_ms: what each slot's block adds to a call.
        image_ms: what the image U-Net takes by itself.
    """
    from matplotlib.figure import Figure

    places = _places(space)
    columns = 1 + max(column for column, _ in places.values())
    rows = 1 + max(row for _, row in places.values())
    width, height = columns * (WIDE + GAP_X) + 0.4, rows * (HIGH + GAP_Y) + 0.5
    figure = Figure(figsize=(width, height))
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set_xlim(0, width)
    axes.set_ylim(height, 0)
    axes.axis("off")
    corners = {
        name: (0.45 + column * (WIDE + GAP_X), 0.75 + row * (HIGH + GAP_Y))
        for name, (column, row) in places.items()
    }
    _skips(axes, space, corners)
    _path(axes, [corners[slot.name] for slot in space.slots])
    names = [operator.name for operator in space.operators if operator.module]
    for slot in space.slots:
        block = space.block(architecture, slot)
        colour = EMPTY
        if block.operator.module:
            colour = COLOURS[names.index(block.operator.name) % len(COLOURS)]
        _block(axes, slot, corners[slot.name], str(block), per_slot_ms[slot.name], colour)
    total_ms = image_ms + sum(per_slot_ms.values())
    title = f"{space.name}: {total_ms:.4g} ms a call, of which the image U-Net {image_ms:.4g}"
    axes.text(0.45, 0.28, title, fontsize=LARGE_PT, color=INK, va="center")
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=150)
    return buffer.getvalue()


def _places(space: TemporalSpace) -> dict[str, tuple[int, int]]:
    """Column and row of each slot: down at the left, up at the right, the middle below."""
    has_mid = any(slot.position == "mid" for slot in space.slots)
    columns = {"down": 0, "mid": 1, "up": 2 if has_mid else 1}
    deepest = max((slot.stage for slot in space.slots if slot.position != "mid"), default=0)
    row_of_mid = deepest + 1
    return {
        slot.name: (columns[slot.position], row_of_mid if slot.position == "mid" else slot.stage)
        for slot in space.slots
    }


def _block(
    axes: Any, slot: Slot, corner: tuple[float, float], block: str, added_ms: float, colour: str
) -> None:
    from matplotlib.patches import FancyBboxPatch

    x, y = corner
    axes.add_patch(
        FancyBboxPatch(
            (x, y), WIDE, HIGH, boxstyle="round,pad=0,rounding_size=0.08", fc=colour,
            ec=GREY if colour == EMPTY else "none", lw=0.8, zorder=3,
        )
    )  # fmt: skip
    ink = INK if colour == EMPTY else "white"
    name, _, settings = block.partition("(")
    where = f"{slot.name}: {slot.channels} at {slot.height} x {slot.width}"
    axes.text(x + 0.1, y - 0.09, where, fontsize=SMALL_PT, color=GREY, zorder=4)
    axes.text(
        x + 0.1, y + 0.26, name, fontsize=LARGE_PT, color=ink, weight="bold", va="center", zorder=4
    )
    said = settings.rstrip(")").replace(",", ", ")
    axes.text(x + 0.1, y + 0.53, said, fontsize=SMALL_PT, color=ink, va="center", zorder=4)
    if name != "none":
        axes.text(
            x + WIDE - 0.1, y + 0.78, f"+ {added_ms:.3g} ms", fontsize=MIDDLE_PT, color=ink,
            ha="right", va="center", zorder=4,
        )  # fmt: skip


def _skips(axes: Any, space: TemporalSpace, corners: Mapping[str, tuple[float, float]]) -> None:
    """Dashed lines between the two sides of a stage."""
    for slot in space.slots:
        other = f"up{slot.stage}"
        if slot.position == "down" and other in corners:
            (x, y), (end, _) = corners[slot.name], corners[other]
            middle = y + HIGH / 2
            axes.plot([x + WIDE, end], [middle, middle], ls=(0, (4, 4)), c=GREY, lw=1, zorder=1)


def _path(axes: Any, corners: list[tuple[float, float]]) -> None:
    """The way that features go, from block to block."""
    for (x, y), (end_x, end_y) in itertools.pairwise(corners):
        down, up = end_y > y, end_y < y
        begin = (x + LANE, y + HIGH if down else y if up else y + HIGH / 2)
        end = (end_x + LANE, end_y if down else end_y + HIGH if up else end_y + HIGH / 2)
        if x != end_x and (down or up):  # round the corner: out below, in at the side, or back
            corner = (begin[0], end_y + HIGH / 2) if down else (end[0], y + HIGH / 2)
            begin = begin if down else (x + WIDE, y + HIGH / 2)
            end = (end_x, end_y + HIGH / 2) if down else end
            axes.plot([begin[0], corner[0]], [begin[1], corner[1]], c=INK, lw=1.4, zorder=2)
            begin = corner
        arrow = {"arrowstyle": "-|>", "color": INK, "lw": 1.4}
        axes.annotate("", xy=end, xytext=begin, arrowprops=arrow, zorder=2)
