"""Enumeration: the ways to decide what is left open, one by one or counted."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass

from search_spaces.files.errors import InputError
from search_spaces.space.cell_graph import CellGraph
from search_spaces.space.choice import Choice, NumericChoice
from search_spaces.space.conditions import Option, Values
from search_spaces.space.dependencies import Step, leaves


@dataclass(frozen=True)
class Enumeration:
    """Every way to decide a space.

    Args:
        steps: choices and graphs in the order in which they are decided.
        options: of the edges of graphs, by name.
    """

    steps: Sequence[Step]
    options: Mapping[str, tuple[Option, ...]]

    def options_of(self, graph: CellGraph) -> dict[str, tuple[Option, ...]]:
        """The options of a graph's edges."""
        return {name: self.options[name] for name in graph.choices}

    def completions(self, fixed: Values, *, on_graphs: bool = True) -> Iterator[dict[str, Option]]:
        """Enumerate the decisions that keep the fixed ones wherever those matter.

        Args:
            fixed: decisions.
            on_graphs: whether all edges of graphs that matter are among them, or none is.

        Raises:
            InputError: a numeric choice varies freely, so there is no list.
        """

        def walk(index: int, decided: dict[str, Option]) -> Iterator[dict[str, Option]]:
            while index < len(self.steps):
                step = self.steps[index]
                index += 1
                if isinstance(step, CellGraph):
                    if not on_graphs:
                        for found in step.networks(self.options_of(step)):
                            yield from walk(index, {**decided, **found})
                        return
                    decided |= {name: fixed[name] for name in step.choices if name in fixed}
                    continue
                if step.when is not None and not step.when.holds(decided):
                    continue
                if step.name in fixed:
                    decided[step.name] = fixed[step.name]
                    continue
                if isinstance(step, NumericChoice):
                    raise InputError(f"cannot be listed: {step.name!r} varies freely")
                for option in step.options:
                    yield from walk(index, {**decided, step.name: option})
                return
            yield decided

        return walk(0, {})

    def count(self) -> int:
        """Count them, where no number varies freely.

        Dynamic programming over the decisions that later conditions still ask about, so a space
        far too large to list is counted at once.
        """
        last_asked = {
            leaf.choice: index
            for index, step in enumerate(self.steps)
            if not isinstance(step, CellGraph)
            for leaf in leaves(step)
        }
        states: dict[tuple[tuple[str, Option], ...], int] = {(): 1}
        for index, step in enumerate(self.steps):
            grown: dict[tuple[tuple[str, Option], ...], int] = {}
            for state, count in states.items():
                decided = dict(state)
                for more, ways in self._ways(step, decided, last_asked):
                    after = {**decided, **more}
                    kept = tuple((n, v) for n, v in after.items() if last_asked.get(n, -1) > index)
                    grown[kept] = grown.get(kept, 0) + count * ways
            states = grown
        return sum(states.values())

    def _ways(
        self, step: Step, decided: Values, asked: Collection[str]
    ) -> Iterator[tuple[dict[str, Option], int]]:
        """What a step may decide of what others ask about, and in how many ways."""
        if isinstance(step, CellGraph):
            kept = [name for name in step.choices if name in asked]
            for key, count in step.count(self.options_of(step), kept).items():
                found = zip(kept, key, strict=True)
                yield {name: option for name, option in found if option is not None}, count
        elif step.when is not None and not step.when.holds(decided):
            yield {}, 1
        else:
            assert isinstance(step, Choice)
            yield from (({step.name: option}, 1) for option in step.options)
