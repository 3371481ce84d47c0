"""Integer (ordinal) encoding: architectures as rows of numbers, sampled and mutated in bulk.

A row holds one number a choice: the place of its option, or where a numeric choice varies freely
the number itself, scaled to [0, 1]; `INACTIVE` where the choice doesn't matter. Rows are canonical
as architectures are: equal rows are equal architectures.
"""

from collections.abc import Callable, Sequence
from functools import cached_property, partial
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from search_spaces.space.architecture import Architecture
from search_spaces.space.cell_graph import CellGraph
from search_spaces.space.choice import AnyChoice, Choice, NumericChoice
from search_spaces.space.conditions import Condition, Mask, Option
from search_spaces.space.dependencies import leaves
from search_spaces.space.space import SearchSpace

INACTIVE = -1.0
Codes = npt.NDArray[np.float64]
Scalars = TypeVar("Scalars", float, Codes)
GRAIN = 1e9  # steps in the range of a free number: a sum of floats may miss its last digits
STEPS = 64  # of a number that varies freely, where architectures are drawn: few, to meet again


class IntegerEncoder:
    """Encode the architectures of one space as rows of integer codes, and decode them."""

    def __init__(self, space: SearchSpace) -> None:
        self.space = space
        self.choices = space.choices
        self._place = {choice.name: place for place, choice in enumerate(self.choices)}
        self._options: list[dict[Option, int]] = [
            {}
            if isinstance(choice, NumericChoice)
            else {o: i for i, o in enumerate(choice.options)}
            for choice in self.choices
        ]

    @cached_property
    def option_counts(self) -> list[int]:
        """How many options each choice has; 0 where numbers vary freely."""
        return [len(options) for options in self._options]

    def codes(self, architectures: Sequence[Architecture]) -> Codes:
        """Encode n architectures, (n, choices)."""
        rows, nothing = [], [INACTIVE] * len(self.choices)
        coding = self._coding
        for architecture in architectures:
            row = nothing.copy()
            for name, option in architecture.items_:
                place, code = coding[name]
                row[place] = code(option)
            rows.append(row)
        return np.array(rows, dtype=float).reshape(-1, len(self.choices))

    @cached_property
    def _coding(self) -> dict[str, tuple[int, Callable[[Option], float]]]:
        """Where each choice's code stands, and how an option becomes it."""
        found: dict[str, tuple[int, Callable[[Option], float]]] = {}
        for place, choice in enumerate(self.choices):
            if isinstance(choice, NumericChoice):
                found[choice.name] = place, partial(_scaled_option, choice)
            else:
                codes = {option: float(at) for option, at in self._options[place].items()}
                found[choice.name] = place, codes.__getitem__
        return found

    def architectures(self, codes: Codes) -> list[Architecture]:
        """Decode canonical rows."""
        columns = [_decisions(each, codes[:, at]) for at, each in enumerate(self.choices)]
        return [
            Architecture(self.space.name, tuple(item for item in items if item is not None))
            for items in zip(*columns, strict=True)
        ]

    def keys(self, codes: Codes) -> npt.NDArray[np.uint64]:
        """Hash each row, (n,); different rows collide with a probability of about 2**-60."""
        return np.asarray((self.rounded(codes) * self._multipliers).sum(axis=1, dtype=np.uint64))

    def rounded(self, codes: Codes) -> npt.NDArray[np.uint64]:
        """Round rows to whole numbers, (n, choices): equal where architectures are."""
        return np.rint(codes * self._grain).astype(np.int64).view(np.uint64)

    @cached_property
    def _grain(self) -> npt.NDArray[np.float64]:
        return np.array([1.0 if options else GRAIN for options in self.option_counts])

    @cached_property
    def _multipliers(self) -> npt.NDArray[np.uint64]:
        drawn = np.random.default_rng(0)  # which they are matters to nobody
        return drawn.integers(1, 2**63, size=len(self.choices), dtype=np.uint64)

    def canonical(self, codes: Codes) -> Codes:
        """Make rows canonical in place: `INACTIVE` where a choice doesn't matter."""
        for step in self.space.steps:
            if isinstance(step, CellGraph):
                self._drop_dead(codes, step)
            elif step.when is not None:
                holds = step.when.mask(partial(self._decided_so, codes))
                codes[~holds, self._place[step.name]] = INACTIVE
        return codes

    def _decided_so(self, codes: Codes, leaf: Condition) -> Mask:
        place = self._place[leaf.choice]
        wanted = [self._options[place][option] for option in leaf.options]
        return np.isin(codes[:, place], wanted)

    def _drop_dead(self, codes: Codes, graph: CellGraph) -> None:
        """Leave what matters on a graph's edges, where all that are absent are spelled alike."""
        places = [self._place[name] for name in graph.choices]
        found = codes[:, places]
        present = found != INACTIVE
        for column, absent in enumerate(self._absent(graph)):
            gone = np.isin(found[:, column], absent)
            present[:, column] &= ~gone
            found[gone, column] = absent[:1] or INACTIVE
        _, matters = graph.live(present)
        codes[:, places] = np.where(matters, found, INACTIVE)

    def has_dead_edges(self, codes: Codes, canonical: Codes) -> Mask:
        """Which rows say that something stands on an edge that is off every path, (n,).

        Args:
            codes: as they were spelled, (n, choices); below 0 where nothing is said.
            canonical: what `canonical` made of them.
        """
        found = np.zeros(len(codes), dtype=bool)
        for graph in self.space.graphs:
            for name, absent in zip(graph.choices, self._absent(graph), strict=True):
                spelled = codes[:, self._place[name]]
                dead = canonical[:, self._place[name]] == INACTIVE
                found |= dead & (spelled >= 0) & ~np.isin(spelled, absent)
        return found

    def _absent(self, graph: CellGraph) -> list[list[int]]:
        """The codes of each edge that mean that it is not there."""
        options = (self._options[self._place[name]] for name in graph.choices)
        return [[code for option, code in o.items() if option in graph.absent] for o in options]

    def sample(self, count: int, rng: np.random.Generator) -> Codes:
        """Sample `count` random rows, every option of a choice as likely; canonical."""
        return self.canonical(
            np.stack(
                [self._column(place, count, rng) for place in range(len(self.choices))], axis=1
            )
        )

    def balanced_sample(self, count: int, rng: np.random.Generator) -> Codes:
        """Sample `count` rows, balanced like a Latin hypercube: every option equally often."""
        columns = []
        for place, options in enumerate(self.option_counts):
            levels = options or STEPS
            blocks = [rng.permutation(levels) for _ in range(-(-count // levels))]
            column = rng.permutation(np.concatenate(blocks)[:count].astype(float))
            columns.append(column if options else self.stepped(place, column / (STEPS - 1)))
        return self.canonical(np.stack(columns, axis=1))

    def mutate(
        self, codes: Codes, changes: npt.NDArray[np.int64], rng: np.random.Generator
    ) -> Codes:
        """Mutate each row: that many random decisions anew, of those that matter; canonical."""
        count = len(codes)
        complete = self.completed(codes, rng)
        weights = rng.random(codes.shape)
        idle = codes == INACTIVE
        idle[:, self._on_graphs] = False  # an edge that is off every path may become part of one
        weights[idle] = np.inf  # decisions that matter come first
        order = np.argsort(weights, axis=1)
        for turn in range(int(changes.max(initial=0))):
            rows = np.flatnonzero(changes > turn)
            places = order[rows, min(turn, codes.shape[1] - 1)]
            for place in np.unique(places).tolist():
                at = rows[places == place]
                complete[at, place] = self._other(place, complete[at, place], rng)
        assert len(complete) == count
        return self.canonical(complete)

    def crossover(self, first: Codes, second: Codes, rng: np.random.Generator) -> Codes:
        """Uniform crossover: each choice, with all that depends on it, from one of two parents."""
        child = self.completed(first, rng)
        other = self.completed(second, rng)
        take = rng.random(first.shape) < 0.5
        for place, asked in self._asked:
            take[:, place] = take[:, asked]
        return self.canonical(np.where(take, other, child))

    def completed(self, codes: Codes, rng: np.random.Generator) -> Codes:
        """Fill in random codes where a choice doesn't matter, so that it may come to matter."""
        filled = codes.copy()
        for place in range(codes.shape[1]):
            idle = np.flatnonzero(codes[:, place] == INACTIVE)
            if idle.size:
                filled[idle, place] = self._column(place, len(idle), rng)
        if self._on_graphs:  # several dead edges may make a path: then none of them is there
            changed = (self.canonical(filled.copy()) != codes).any(axis=1)
            for graph in self.space.graphs:
                for name, absent in zip(graph.choices, self._absent(graph), strict=True):
                    place = self._place[name]
                    if absent:
                        filled[changed & (codes[:, place] == INACTIVE), place] = absent[0]
        return filled

    @cached_property
    def _on_graphs(self) -> list[int]:
        return [self._place[name] for graph in self.space.graphs for name in graph.choices]

    @cached_property
    def _asked(self) -> list[tuple[int, int]]:
        """Choices that depend on others, and what each asks about first, as they are decided."""
        return [
            (self._place[step.name], self._place[next(leaves(step)).choice])
            for step in self.space.steps
            if not isinstance(step, CellGraph) and step.when is not None
        ]

    def _column(self, place: int, count: int, rng: np.random.Generator) -> Codes:
        options = self.option_counts[place]
        if options:
            return rng.integers(options, size=count).astype(float)
        return self.stepped(place, rng.integers(STEPS, size=count) / (STEPS - 1))

    def _other(self, place: int, current: Codes, rng: np.random.Generator) -> Codes:
        """Another option than the current; of a number that varies freely, often one near by."""
        options = self.option_counts[place]
        if options == 1:
            return current
        if options:
            return (current + rng.integers(1, options, size=len(current))) % options
        near = current + rng.normal(0, 0.15, size=len(current))
        far = rng.random(len(current))
        return self.stepped(
            place, np.clip(np.where(rng.random(len(current)) < 0.7, near, far), 0, 1)
        )

    def stepped(self, place: int, scaled: Codes) -> Codes:
        """Round scaled numbers to what the choice may be."""
        choice = self.choices[place]
        assert isinstance(choice, NumericChoice)
        width = choice.high - choice.low
        if choice.integer and width >= 1:
            return np.round(scaled * width) / width
        return np.round(scaled * (STEPS - 1)) / (STEPS - 1)


def scaled(choice: NumericChoice, values: Scalars) -> Scalars:
    """Scale numbers of a choice to [0, 1]."""
    width = choice.high - choice.low
    return (values - choice.low) / (width if width > 0 else 1.0)


def _scaled_option(choice: NumericChoice, option: Option) -> float:
    return scaled(choice, float(option))


def _decisions(choice: AnyChoice, column: Codes) -> list[tuple[str, Option] | None]:
    """Decode one choice's column; None where the choice doesn't matter."""
    name = choice.name
    if isinstance(choice, Choice):
        shared = [*((name, option) for option in choice.options), None]  # INACTIVE is the last
        return [shared[place] for place in column.astype(int).tolist()]
    low, high = choice.low, choice.high
    values = [None if code == INACTIVE else low + code * (high - low) for code in column.tolist()]
    if choice.integer:
        return [None if value is None else (name, round(value)) for value in values]
    return [None if value is None else (name, min(max(value, low), high)) for value in values]
