"""Tables of blocks (slot, option) as measurements: of a U-Net's slots, or of any space's choices.

Of a space of named choices a slot is a choice, and a block one of its options; rows of the slot
`backbone` are what every network has beside them.
"""

import math
from collections.abc import Iterable, Sequence

import numpy as np

from latency import Measurement, from_choices
from nas.costs.workloads import BACKBONE_SLOT, SpaceCosts, block_of
from search_spaces import Choice, InputError, SearchSpace, Table

BlockName = tuple[str, str]  # slot, option
HIDDEN = 0.01  # of a chain's time a block: a slope below that is noise


def measurements_of(table: Table, column: str, costs: SpaceCosts | None) -> list[Measurement]:
    """The blocks of a table, each once or once a chain.

    Where a block stands in chains of several lengths, its time is what one more of it adds: the
    launch is left out. Where noise hides that, the longest chain counts.

    Raises:
        InputError: names the row of a slot or an option that the space lacks.
    """
    found = []
    for (slot, option), chains in _chains(table, column).items():
        if costs is None and _is_always(table.space, slot):
            continue
        try:
            if costs is not None:
                workload = costs.block_workload(slot, option)
            else:
                workload = block_of(table.space, slot, option)
        except InputError as error:
            row = _rows_of_blocks(table)[slot, option][0] + 2
            raise InputError(f"{table.path}, row {row}: {error}") from None
        found += [Measurement(workload, ms) for ms in _block_ms(chains)]
    return found


def launch_ms(table: Table, column: str) -> float | None:
    """What a call costs beside the blocks in it, the median over a table's blocks.

    None where no block stands in chains of several lengths.
    """
    lines = map(_line, _chains(table, column).values() if table.of_blocks else ())
    found = [line[1] for line in lines if line is not None]
    return max(0.0, float(np.median(found))) if found else None


def always_ms(tables: Sequence[Table], column: str) -> float:
    """What every network of a space of named choices has beside their options; 0 without a row.

    Raises:
        InputError: several options of it, of which a network has only one.
    """
    times_ms: dict[str, list[float]] = {}
    for table in tables:
        for (slot, option), chains in _chains(table, column).items():
            if _is_always(table.space, slot):
                times_ms.setdefault(option, []).extend(_block_ms(chains))
        if len(times_ms) > 1:
            raise InputError(
                f"{table.path}: slot {BACKBONE_SLOT} has the options {', '.join(times_ms)}; it is "
                "what every network has, so keep one, or make a choice of it"
            )
    return float(np.mean([ms for each in times_ms.values() for ms in each] or [0.0]))


def unmeasured(space: SearchSpace, measurements: Iterable[Measurement]) -> list[str]:
    """The options that no measurement met, as `stage0=skip`, and numbers that none varied."""
    met = {part.name for m in measurements for part in m.workload.leaves}
    absent = {
        (n, option) for graph in space.graphs for n in graph.choices for option in graph.absent
    }
    offered = []
    for choice in space.choices:
        if isinstance(choice, Choice):
            pairs = [(choice.name, o) for o in choice.options if (choice.name, o) not in absent]
            offered += [from_choices("", [pair]).parts[0].name for pair in pairs]
        else:
            offered.append(choice.name)
    return [name for name in offered if name not in met]


def _is_always(space: SearchSpace, slot: str) -> bool:
    return slot == BACKBONE_SLOT and all(choice.name != slot for choice in space.choices)


def _chains(table: Table, column: str) -> dict[BlockName, list[tuple[float, float]]]:
    """(repeats, ms) of the rows of each block."""
    latency_ms, repeats = [float(ms) for ms in table.metric(column)], repeats_of(table)
    return {
        block: [(repeats[row], latency_ms[row]) for row in rows]
        for block, rows in _rows_of_blocks(table).items()
    }


Chains = Sequence[tuple[float, float]]  # (repeats, ms), all of one block


def _block_ms(chains: Chains) -> list[float]:
    """The block's time: one, or one a chain where all chains are equally long."""
    if (line := _line(chains)) is not None:
        return [line[0]]
    longest = max(count for count, _ in chains)
    return [ms / count for count, ms in chains if count == longest]


def _line(chains: Chains) -> tuple[float, float] | None:
    """What one more block adds, and the rest, in ms, of chains of several lengths.

    None for chains of one length, and where noise lets a longer chain take hardly longer.
    """
    counts, times_ms = zip(*chains, strict=True)
    if len(set(counts)) < 2:
        return None
    slope, intercept = (float(found) for found in np.polyfit(counts, times_ms, 1))
    return (slope, intercept) if slope > HIDDEN * max(times_ms) / max(counts) else None


def _rows_of_blocks(table: Table) -> dict[BlockName, list[int]]:
    found: dict[BlockName, list[int]] = {}
    for row, (slot, option) in enumerate(table.choices.itertuples(index=False)):
        found.setdefault((str(slot), str(option)), []).append(row)
    return found


def repeats_of(table: Table) -> list[float]:
    """How many of a block, or a network, each row ran in a chain; InputError for less than 1."""
    if "repeats" not in table.reserved:
        return [1.0] * len(table.metrics)
    found = []
    for row, cell in enumerate(table.reserved["repeats"], start=2):
        try:
            count = float(cell)
        except ValueError:
            count = math.nan
        if not 1 <= count < math.inf:
            raise InputError(f"{table.path}, row {row}: repeats {cell!r} is not 1 or more")
        found.append(count)
    return found
