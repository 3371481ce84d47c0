"""Cell graph: choices stand on the edges of a directed graph, and what is off every path is dead.

In a cell (NAS-Bench-201, DARTS) an edge matters only where it lies between nodes that are on a path
from an input to an output. Whatever the other edges are decided as, the network is the same, so
that they are dropped from architectures: two spellings of one network are equal.

n architectures, E edges.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import product

import numpy as np

from search_spaces.files.document import Json
from search_spaces.files.errors import InputError
from search_spaces.space.conditions import Mask, Option, Values

MOST_EDGES = 20  # with a choice: the ways to be there or not are listed, of which are 2**20
Options = Mapping[str, Sequence[Option]]


@dataclass(frozen=True)
class Edge:
    """An edge from one node to another; `choice` decides what stands there, None: always there."""

    start: str
    stop: str
    choice: str | None = None


@dataclass(frozen=True)
class CellGraph:
    """A directed acyclic graph whose edges are choices.

    Args:
        edges: in any order; two may join the same nodes.
        inputs: the nodes that data come from.
        outputs: the nodes that are read.
        absent: options that mean that an edge is not there.
    """

    edges: tuple[Edge, ...]
    inputs: tuple[str, ...] = ("input",)
    outputs: tuple[str, ...] = ("output",)
    absent: tuple[Option, ...] = ("none",)

    def __post_init__(self) -> None:
        if not self.choices:
            raise InputError("a graph needs an edge with a choice")
        if doubled := sorted({n for n in self.choices if self.choices.count(n) > 1}):
            raise InputError(f"choice {doubled[0]!r} stands on two edges of a graph")
        if len(self.choices) > MOST_EDGES:
            raise InputError(
                f"a graph has {len(self.choices)} choices, and {MOST_EDGES} at most can be "
                "counted; make two graphs of it"
            )
        for node in (*self.inputs, *self.outputs):
            if node not in self._nodes:
                raise InputError(f"node {node!r} of a graph is on no edge")
        if both := set(self.inputs) & set(self.outputs):
            raise InputError(f"node {min(both)!r} is an input and an output of a graph")
        _ = self._ordered  # refuses circles
        every = np.ones((1, len(self.edges)), dtype=bool)
        forward, backward = self._reached(every)
        for place, node in enumerate(self._nodes):
            if not (forward[0, place] and backward[0, place]):
                raise InputError(f"node {node!r} of a graph is on no path from input to output")

    @cached_property
    def choices(self) -> tuple[str, ...]:
        """The names of the choices on its edges, in their order."""
        return tuple(edge.choice for edge in self.edges if edge.choice is not None)

    @cached_property
    def _nodes(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(n for edge in self.edges for n in (edge.start, edge.stop)))

    @cached_property
    def _ordered(self) -> list[tuple[int, int, int]]:
        """(edge, start, stop) by place, each after all edges that lead to its start."""
        places = {node: place for place, node in enumerate(self._nodes)}
        left = [(at, places[e.start], places[e.stop]) for at, e in enumerate(self.edges)]
        found: list[tuple[int, int, int]] = []
        while left:
            blocked = {stop for _, _, stop in left}
            free = [each for each in left if each[1] not in blocked]
            if not free:
                nodes = sorted({self._nodes[start] for _, start, _ in left} & set(self._nodes))
                raise InputError(f"a graph goes in a circle among the nodes {', '.join(nodes)}")
            found += free
            left = [each for each in left if each not in free]
        return found

    def _reached(self, present: Mask) -> tuple[Mask, Mask]:
        """Nodes that an input reaches, and nodes that reach an output: each (n, nodes)."""
        shape = (len(present), len(self._nodes))
        forward, backward = np.zeros(shape, dtype=bool), np.zeros(shape, dtype=bool)
        forward[:, [self._nodes.index(node) for node in self.inputs]] = True
        backward[:, [self._nodes.index(node) for node in self.outputs]] = True
        for edge, start, stop in self._ordered:
            forward[:, stop] |= forward[:, start] & present[:, edge]
        for edge, start, stop in reversed(self._ordered):
            backward[:, start] |= backward[:, stop] & present[:, edge]
        return forward, backward

    def live(self, present: Mask) -> tuple[Mask, Mask]:
        """Which edges are live, and which matter, (n, choices) each.

        Args:
            present: which edges are there, (n, choices), in the order of `choices`.

        Returns:
            Live are edges on a path from an input to an output. Where both ends of an edge are on
            such a path, or are an input and an output, it matters whether it is there.
        """
        columns = [place for place, edge in enumerate(self.edges) if edge.choice is not None]
        every = np.ones((len(present), len(self.edges)), dtype=bool)
        every[:, columns] = present
        starts = [self._nodes.index(edge.start) for edge in self.edges]
        stops = [self._nodes.index(edge.stop) for edge in self.edges]
        forward, backward = self._reached(every)
        live = every & forward[:, starts] & backward[:, stops]
        forward, backward = self._reached(live)  # by live edges alone
        matters = forward[:, starts] & backward[:, stops]
        return live[:, columns], matters[:, columns]

    def canonical(self, decided: Values) -> dict[str, Option | None]:
        """The decisions that matter; None where one does that is not decided.

        Args:
            decided: what stands on edges; one that is not named is absent.
        """
        present = [n in decided and decided[n] not in self.absent for n in self.choices]
        _, matters = self.live(np.array([present]))
        return {n: decided.get(n) for n, kept in zip(self.choices, matters[0], strict=True) if kept}

    def dead(self, decided: Values) -> dict[str, str]:
        """The edges that are there and off every path, and why.

        `severed`: no path is left at all, and the output depends on nothing. Else `unread`: nothing
        that they lead to reaches an output (dead code); `unfed`: it is read, and no input reaches
        it.
        """
        found = {n: option for n, option in decided.items() if option not in self.absent}
        present = np.array([[e.choice is None or e.choice in found for e in self.edges]])
        forward, backward = self._reached(present)
        dead = {}
        severed = not forward[0, [self._nodes.index(node) for node in self.outputs]].any()
        for edge in self.edges:
            if edge.choice in found:
                if severed:
                    dead[edge.choice] = "severed"
                elif not backward[0, self._nodes.index(edge.stop)]:
                    dead[edge.choice] = "unread"
                elif not forward[0, self._nodes.index(edge.start)]:
                    dead[edge.choice] = "unfed"
        return dead

    @cached_property
    def _live_sets(self) -> tuple[Mask, Mask]:
        """Every set of edges that are all live, and which edges matter then: (sets, choices)."""
        count = len(self.choices)
        masks = (np.arange(2**count)[:, None] >> np.arange(count) & 1).astype(bool)
        live, matters = self.live(masks)
        kept = (live == masks).all(axis=1)
        return masks[kept], matters[kept]

    def count(
        self, options: Options, kept: Sequence[str] = ()
    ) -> dict[tuple[Option | None, ...], int]:
        """How many networks there are, by what the edges in `kept` are decided as.

        Args:
            options: of each edge.
            kept: edges that somebody asks about; None in a key is one that does not matter.
        """
        found: dict[tuple[Option | None, ...], int] = {}
        asked = [self.choices.index(name) for name in kept]
        for present, matters in zip(*self._possible(options), strict=True):
            free = [
                len(self._there(options[name]))
                for place, name in enumerate(self.choices)
                if present[place] and place not in asked
            ]
            listed = [self._alternatives(place, present, matters, options) for place in asked]
            for key in product(*listed):
                found[key] = found.get(key, 0) + int(np.prod(free, dtype=object))
        return found

    def networks(self, options: Options) -> Iterator[dict[str, Option]]:
        """Every network once: the decisions that matter."""
        for present, matters in zip(*self._possible(options), strict=True):
            yield from self._spelled(present, matters, options)

    def neighbours(self, decided: Values, options: Options) -> Iterator[dict[str, Option]]:
        """Networks that differ in what stands on one edge, or that have lost or won one edge.

        An edge takes along what is dead without it.
        """
        here = np.array([n in decided and decided[n] not in self.absent for n in self.choices])
        for name in self.choices:
            if name in decided and decided[name] not in self.absent:
                others = (o for o in self._there(options[name]) if o != decided[name])
                yield from ({**decided, name: option} for option in others)
        sets, matters = self._possible(options)
        without = sets[:, None] & ~np.eye(len(here), dtype=bool)  # (sets, lost edge, choices)
        left = self.live(without.reshape(-1, len(here)))[0].reshape(without.shape)
        lost = {
            left[row, place].tobytes()
            for row in np.flatnonzero((sets == here).all(axis=1))
            for place in np.flatnonzero(here)
        }
        won = (left == here).all(axis=2) & sets
        for row, present in enumerate(sets):
            same = (present == here).all()
            if not same and (present.tobytes() in lost or won[row].any()):
                kept = {
                    name: (option, *self._gone(options[name]))
                    for name, option in decided.items()
                    if option not in self.absent
                }
                yield from self._spelled(present, matters[row], {**options, **kept})

    def _possible(self, options: Options) -> tuple[Mask, Mask]:
        """The live sets that these options make: some edges cannot be absent, or not be there."""
        sets, matters = self._live_sets
        must = np.array([not self._gone(options[name]) for name in self.choices])
        cannot = np.array([not self._there(options[name]) for name in self.choices])
        kept = (self.live(sets | must)[0] == sets).all(axis=1) & ~(sets & cannot).any(axis=1)
        return sets[kept], matters[kept]

    def _there(self, options: Sequence[Option]) -> list[Option]:
        return [option for option in options if option not in self.absent]

    def _gone(self, options: Sequence[Option]) -> list[Option]:
        return [option for option in options if option in self.absent]

    def _alternatives(
        self, place: int, present: Mask, matters: Mask, options: Options
    ) -> Sequence[Option | None]:
        """What may stand on an edge where these are live and those matter."""
        offered = options[self.choices[place]]
        if present[place]:
            return self._there(offered)
        return self._gone(offered)[:1] if matters[place] else (None,)

    def _spelled(
        self, present: Mask, matters: Mask, options: Options
    ) -> Iterator[dict[str, Option]]:
        places = [place for place in range(len(self.choices)) if matters[place]]
        names = [self.choices[place] for place in places]
        listed = [self._alternatives(place, present, matters, options) for place in places]
        for found in product(*listed):
            yield dict(zip(names, found, strict=True))  # type: ignore[arg-type]

    def to_json(self) -> Json:
        """As a space's document has it."""
        return {
            "edges": [
                {"from": edge.start, "to": edge.stop, "choice": edge.choice} for edge in self.edges
            ],
            "inputs": list(self.inputs),
            "outputs": list(self.outputs),
            "absent": list(self.absent),
        }


def graphs_from_json(entries: object) -> tuple[CellGraph, ...]:
    """Read the graphs of a space's document.

    Raises:
        InputError: a field that is missing or of another kind; circles, nodes off every path.
    """
    if not isinstance(entries, list):
        raise InputError(f"'graphs' must be a list; found {entries!r}")
    return tuple(map(_from_json, entries))


def _from_json(entry: object) -> CellGraph:
    if not isinstance(entry, dict) or not isinstance(entry.get("edges"), list):
        raise InputError("a graph needs a list of 'edges'")
    edges = []
    for edge in entry["edges"]:
        if not isinstance(edge, dict) or not {"from", "to"} <= edge.keys():
            raise InputError(f"an edge of a graph needs 'from' and 'to'; found {edge!r}")
        choice = edge.get("choice")
        edges.append(
            Edge(str(edge["from"]), str(edge["to"]), None if choice is None else str(choice))
        )
    lists: dict[str, tuple[str, ...]] = {}
    for word in ("inputs", "outputs", "absent"):
        if word in entry:
            if not isinstance(entry[word], list):
                raise InputError(f"a graph's {word!r} must be a list; found {entry[word]!r}")
            lists[word] = tuple(entry[word])
    return CellGraph(tuple(edges), **lists)
