"""Search space: conditional choices and cell graphs; sample, enumerate, neighbours, size."""

import json
import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from search_spaces.files import document
from search_spaces.files.document import Json
from search_spaces.files.errors import InputError
from search_spaces.files.git_lfs import refuse_pointer
from search_spaces.space.architecture import Architecture, choices_of
from search_spaces.space.cell_graph import CellGraph, graphs_from_json
from search_spaces.space.choice import AnyChoice, Choice, NumericChoice, rounded
from search_spaces.space.choice_json import choice_from_json, choice_to_json
from search_spaces.space.conditions import Option, Values
from search_spaces.space.dependencies import (
    Step,
    check_edges,
    in_order,
    joint_groups,
    with_spelled_condition,
)
from search_spaces.space.enumeration import Enumeration
from search_spaces.space.neighbourhood import neighbours
from search_spaces.space.trial import Trial

FORMAT = "temporal-nas/search-space"
MAJOR = 1


@dataclass(frozen=True)
class SearchSpace:
    """A search space: choices in order, which may depend on each other, or stand on graphs.

    Args:
        name: that its architectures carry.
        choices: a condition may name any other choice that has options.
        graphs: whose edges are some of the choices; what is off every path of them is dropped.
    """

    name: str
    choices: tuple[AnyChoice, ...]
    graphs: tuple[CellGraph, ...] = ()

    def __post_init__(self) -> None:
        if not self.choices:
            raise InputError(f"space {self.name!r} has no choices")
        by_name: dict[str, AnyChoice] = {}
        for choice in self.choices:
            if choice.name in by_name:
                raise InputError(f"space {self.name!r} has two choices named {choice.name!r}")
            by_name[choice.name] = choice
        try:
            spelled = tuple(with_spelled_condition(choice, by_name) for choice in self.choices)
            object.__setattr__(self, "choices", spelled)  # conditions in one spelling
            check_edges(self.graphs, by_name)
            _ = self.steps
        except InputError as error:
            raise InputError(f"space {self.name!r}: {error}") from None

    @cached_property
    def _by_name(self) -> dict[str, AnyChoice]:
        return {choice.name: choice for choice in self.choices}

    @cached_property
    def steps(self) -> tuple[Step, ...]:
        """Choices and graphs in the order in which they are decided."""
        return in_order(self.choices, self.graphs)

    @cached_property
    def may_not_matter(self) -> frozenset[str]:
        """The choices that do not matter in some architectures."""
        edges = {name for graph in self.graphs for name in graph.choices}
        return frozenset(edges | {c.name for c in self.choices if c.when is not None})

    @cached_property
    def dependent(self) -> tuple[frozenset[str], ...]:
        """Choices that say of each other whether they matter, in groups as large as needed."""
        return joint_groups(self.choices, self.graphs)

    def architecture(self, values: Mapping[str, object]) -> Architecture:
        """Validate `values` and make the canonical architecture that they spell.

        Choices that don't matter may be given and are dropped.

        Raises:
            InputError: an unknown choice or option, or a choice that matters is missing.
        """
        for name in values:
            if name not in self._by_name:
                raise InputError(
                    f"space {self.name!r} has no choice {name!r}; its choices: "
                    + ", ".join(self._by_name)
                )

        def given(choice: AnyChoice) -> Option:
            if choice.name not in values:
                raise InputError(f"space {self.name!r}: choice {choice.name!r} is not decided")
            return choice.resolve(values[choice.name])

        def stands(edge: Choice) -> Option | None:
            return edge.resolve(values[edge.name]) if edge.name in values else None

        return self._decided(given, stands)

    def sample(self, rng: np.random.Generator) -> Architecture:
        """Sample a random architecture: each active choice is decided uniformly, in order.

        Every edge of a graph, too, and what then is off every path is dropped.
        """

        def drawn(choice: AnyChoice) -> Option:
            if isinstance(choice, NumericChoice):
                return rounded(choice, float(rng.uniform(choice.low, choice.high)))
            return choice.options[int(rng.integers(len(choice.options)))]

        return self._decided(drawn, drawn)

    def suggest(self, trial: Trial) -> Architecture:
        """Let an Optuna trial decide (define-by-run); inactive choices are never suggested.

        Of a graph every edge is, as none is known to be off every path before all are decided.
        """

        def suggested(choice: AnyChoice) -> Option:
            if isinstance(choice, Choice):
                option: Option = trial.suggest_categorical(choice.name, choice.options)
                return option
            if choice.integer:
                return trial.suggest_int(choice.name, int(choice.low), int(choice.high))
            return trial.suggest_float(choice.name, choice.low, choice.high)

        return self._decided(suggested, suggested)

    def _decided(
        self,
        decide: Callable[[AnyChoice], Option],
        stands: Callable[[Choice], Option | None],
    ) -> Architecture:
        """Ask for every decision that matters, and for all edges of graphs; None: not there."""
        decided: dict[str, Option] = {}
        for step in self.steps:
            if isinstance(step, CellGraph):
                decided |= self._on_graph(step, stands)
            elif step.when is None or step.when.holds(decided):
                decided[step.name] = decide(step)
        return self._made(decided)

    def _on_graph(
        self, graph: CellGraph, stands: Callable[[Choice], Option | None]
    ) -> dict[str, Option]:
        edges = [self._edge(name) for name in graph.choices]
        found = {edge.name: option for edge in edges if (option := stands(edge)) is not None}
        matters: dict[str, Option] = {}
        for name, option in graph.canonical(found).items():
            if option is None:
                raise InputError(f"space {self.name!r}: choice {name!r} is not decided")
            gone = next(o for o in self._edge(name).options if o in graph.absent or o == option)
            matters[name] = gone if option in graph.absent else option  # absent in one spelling
        return matters

    def assigned(self, architecture: Architecture) -> dict[str, Option]:
        """Assign what a trial has to decide to be an architecture: dead edges, too, as absent.

        An edge that is always there says anything where it is dead.
        """
        found = dict(architecture)
        for graph in self.graphs:
            for name in graph.choices:
                absent = (o for o in self._edge(name).options if o in graph.absent)
                if name not in found and (option := next(absent, None)) is not None:
                    found[name] = option
        return found

    def spelled(self, values: Mapping[str, object]) -> dict[str, Option]:
        """Spell out what a network was built as: dead edges as `values` have them, else absent.

        Devices may run what adds nothing to a network's output, so that spellings of one
        architecture take different times.

        Raises:
            InputError: as `architecture`.
        """
        found = self.assigned(self.architecture(values))
        edges = (self._edge(name) for graph in self.graphs for name in graph.choices)
        found |= {
            edge.name: edge.resolve(values[edge.name]) for edge in edges if edge.name in values
        }
        return {choice.name: found[choice.name] for choice in self.choices if choice.name in found}

    def dead(self, spelled: Values) -> dict[str, str]:
        """Which edges are there and off every path, and why (`CellGraph.dead`)."""
        return {name: why for graph in self.graphs for name, why in graph.dead(spelled).items()}

    def _edge(self, name: str) -> Choice:
        edge = self._by_name[name]
        assert isinstance(edge, Choice)
        return edge

    def _made(self, decided: Mapping[str, Option]) -> Architecture:
        names = decided if self._as_listed else [n for n in self._by_name if n in decided]
        return Architecture(self.name, tuple((name, decided[name]) for name in names))

    @cached_property
    def _as_listed(self) -> bool:
        """Whether choices are decided in the order in which they stand in the space."""
        return not self.graphs and self.steps == self.choices

    def enumerate(self) -> Iterator[Architecture]:
        """Enumerate every architecture once, lazily, in the order of the options.

        Raises:
            InputError: a numeric choice varies freely, so there is no list.
        """
        try:
            for decided in self._ways.completions({}, on_graphs=False):
                yield self._made(decided)
        except InputError as error:
            raise InputError(f"space {self.name!r} {error}") from None

    def neighbours(self, architecture: Architecture) -> Iterator[Architecture]:
        """Neighbourhood (local search): architectures that differ in one decision.

        What only matters because of that decision may differ, too.

        Symmetric where every choice has options: a is a neighbour of b if b is one of a. Numeric
        choices step by a tenth of their range.
        """
        for decided in neighbours(architecture, self._by_name, self.graphs, self._ways):
            yield self._made(decided)

    @cached_property
    def size(self) -> float:
        """Count the different architectures (an int); math.inf if numbers vary freely."""
        if any(isinstance(choice, NumericChoice) for choice in self.choices):
            return math.inf
        return self._ways.count()

    @cached_property
    def _ways(self) -> Enumeration:
        edges = (name for graph in self.graphs for name in graph.choices)
        return Enumeration(self.steps, {name: self._edge(name).options for name in edges})

    def to_json(self) -> Json:
        """As a JSON document: name, choices, options, conditions."""
        return {
            "format": FORMAT,
            "version": f"{MAJOR}.0",
            "name": self.name,
            "choices": [choice_to_json(choice) for choice in self.choices],
            **({"graphs": [graph.to_json() for graph in self.graphs]} if self.graphs else {}),
        }

    def save(self, path: Path) -> None:
        """Write the space's file, whole or not at all."""
        document.write_atomically(path, document.dumps(self.to_json()))

    def read_architecture(self, path: Path) -> Architecture:
        """Read an architecture file; InputError says what in it does not fit this space."""
        refuse_pointer(path)
        try:
            return self.architecture_from_json(json.loads(path.read_text()), where=str(path))
        except (OSError, UnicodeDecodeError) as error:
            raise InputError(f"{path}: cannot be read: {error}") from None
        except (ValueError, RecursionError) as error:
            raise InputError(f"{path}: not valid JSON: {error}") from None

    def architecture_from_json(self, document_: object, where: str) -> Architecture:
        """Read an architecture out of a JSON document that was read from `where`."""
        choices = choices_of(document_, where)
        named = document_.get("space", self.name) if isinstance(document_, dict) else None
        if named != self.name:
            raise InputError(f"{where}: is of space {named!r}, not {self.name!r}")
        try:
            return self.architecture(choices)
        except InputError as error:
            raise InputError(f"{where}: {error}") from None


def space_from_json(content: object, where: str) -> SearchSpace:
    """Read a space out of a JSON document that was read from `where`."""
    checked = document.check(content, FORMAT, MAJOR, where)
    name, choices = checked.get("name"), checked.get("choices")
    if not isinstance(name, str) or not isinstance(choices, list):
        raise InputError(f"{where}: a space needs a 'name' and a list of 'choices'")
    try:
        found = tuple(choice_from_json(choice) for choice in choices)
        return SearchSpace(name, found, graphs_from_json(checked.get("graphs", [])))
    except InputError as error:
        raise InputError(f"{where}: {error}") from None
