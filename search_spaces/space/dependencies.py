"""What choices depend on: conditions in one spelling, and an order in which all can be decided."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from search_spaces.files.errors import InputError
from search_spaces.space.cell_graph import CellGraph
from search_spaces.space.choice import AnyChoice, Choice
from search_spaces.space.conditions import Condition

Step = AnyChoice | CellGraph  # what is decided at once: a choice, or all edges of a graph


def leaves(choice: AnyChoice) -> Iterator[Condition]:
    """The conditions on one choice each that a choice's own is made of."""
    if choice.when is not None:
        yield from choice.when.leaves()


def with_spelled_condition(choice: AnyChoice, by_name: Mapping[str, AnyChoice]) -> AnyChoice:
    """The choice with options in its condition as those spell them that they are of.

    Raises:
        InputError: a condition on a choice that is not there, has no options, or lacks one.
    """
    if not isinstance(choice, Choice) or choice.when is None:
        return choice

    def spelled(leaf: Condition) -> Condition:
        asked = by_name.get(leaf.choice)
        if not isinstance(asked, Choice):
            raise InputError(
                f"choice {choice.name!r} depends on {leaf.choice!r}, which is no choice with "
                "options"
            )
        try:
            return Condition(asked.name, tuple(asked.resolve(option) for option in leaf.options))
        except InputError as error:
            raise InputError(f"choice {choice.name!r} has a condition: {error}") from None

    return replace(choice, when=choice.when.replaced(spelled))


def check_edges(graphs: Sequence[CellGraph], by_name: Mapping[str, AnyChoice]) -> None:
    """Refuse edges that are no choices of the space, and options that no edge has; InputError."""
    seen: set[str] = set()
    for graph in graphs:
        offered: set[object] = set()
        for name in graph.choices:
            edge = by_name.get(name)
            if not isinstance(edge, Choice):
                raise InputError(f"a graph has an edge {name!r}, which is no choice with options")
            if edge.when is not None:
                raise InputError(
                    f"choice {name!r} stands on a graph and has a condition; give one or the other"
                )
            if name in seen:
                raise InputError(f"choice {name!r} stands on two graphs")
            seen.add(name)
            offered |= set(edge.options)
        unknown = [option for option in graph.absent if option not in offered]
        if unknown and graph.absent != CellGraph.absent:
            raise InputError(
                f"a graph says that {unknown[0]!r} means absent, and no edge of it has that option"
            )


def in_order(choices: Sequence[AnyChoice], graphs: Sequence[CellGraph]) -> tuple[Step, ...]:
    """Choices and graphs in an order in which conditions ask about what is decided before.

    As they are listed, where that is one.

    Raises:
        InputError: conditions refer to each other in a circle.
    """
    on_graph = {name: graph for graph in graphs for name in graph.choices}
    steps: list[Step] = list(dict.fromkeys(on_graph.get(c.name, c) for c in choices))
    found: list[Step] = []
    decided: set[str] = set()
    while steps:
        ready = next((s for s in steps if _asked(s) <= decided), None)
        if ready is None:
            names = ", ".join(repr(s.name) for s in steps if not isinstance(s, CellGraph))
            raise InputError(f"conditions refer to each other in a circle, among {names}")
        steps.remove(ready)
        found.append(ready)
        decided |= set(ready.choices) if isinstance(ready, CellGraph) else {ready.name}
    return tuple(found)


def joint_groups(
    choices: Sequence[AnyChoice], graphs: Sequence[CellGraph]
) -> tuple[frozenset[str], ...]:
    """Choices that say of each other whether they matter, in groups as large as needed."""
    groups = [set(graph.choices) for graph in graphs]
    groups += [{choice.name, *(leaf.choice for leaf in leaves(choice))} for choice in choices]
    joined: list[set[str]] = []
    for group in groups:
        apart = [other for other in joined if not other & group]
        touched = [other for other in joined if other & group]
        joined = [*apart, group.union(*touched)]
    return tuple(map(frozenset, joined))


def _asked(step: Step) -> set[str]:
    """The choices that must be decided before."""
    return set() if isinstance(step, CellGraph) else {leaf.choice for leaf in leaves(step)}
