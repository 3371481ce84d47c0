"""Neighbourhood (local search): the decisions that are one apart from an architecture's."""

from collections.abc import Iterator, Mapping, Sequence

from search_spaces.space.architecture import Architecture
from search_spaces.space.cell_graph import CellGraph
from search_spaces.space.choice import AnyChoice, NumericChoice, rounded
from search_spaces.space.conditions import Option
from search_spaces.space.enumeration import Enumeration

STEP = 0.1  # of the range of a number that varies freely


def neighbours(
    architecture: Architecture,
    by_name: Mapping[str, AnyChoice],
    graphs: Sequence[CellGraph],
    ways: Enumeration,
) -> Iterator[dict[str, Option]]:
    """Enumerate the decisions that differ in one, and in what only matters because of that one.

    Args:
        architecture: whose neighbours they are.
        by_name: the choices of its space.
        graphs: of its space.
        ways: to decide the space.
    """
    edges = {name for graph in graphs for name in graph.choices}
    for name, current in architecture.items():
        choice = by_name[name]
        if isinstance(choice, NumericChoice):
            for option in _beside(choice, float(current)):
                if option != current:
                    yield {**architecture, name: option}
        elif name not in edges:
            for option in choice.options:
                if option != current:
                    yield from ways.completions({**architecture, name: option})
    for graph in graphs:
        here = {n: option for n, option in architecture.items() if n in graph.choices}
        rest = {n: option for n, option in architecture.items() if n not in graph.choices}
        for near in graph.neighbours(here, ways.options_of(graph)):
            yield from ways.completions({**rest, **near})


def _beside(choice: NumericChoice, current: float) -> Iterator[Option]:
    for step in (-STEP, STEP):
        value = current + step * (choice.high - choice.low)
        yield choice.resolve(rounded(choice, min(max(value, choice.low), choice.high)))
