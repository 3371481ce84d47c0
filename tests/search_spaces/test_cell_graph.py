"""Cell graphs: what is off every path does not matter, whichever way it is spelled."""

import itertools
import json

import numpy as np
import optuna
import pytest
from hypothesis import given
from hypothesis import strategies as st
from test_space import check_codes

from search_spaces import (
    Architecture,
    CellGraph,
    Choice,
    Condition,
    Edge,
    InputError,
    SearchSpace,
)
from search_spaces.space.space import space_from_json

OPERATIONS = ("none", "skip", "conv")


def cell(nodes: int, options: tuple[str, ...] = OPERATIONS) -> SearchSpace:
    """Every node is joined with all later ones, as in NAS-Bench-201."""
    pairs = list(itertools.combinations(range(nodes), 2))
    edges = tuple(Edge(str(i), str(j), f"{i}-{j}") for i, j in pairs)
    graph = CellGraph(edges, ("0",), (str(nodes - 1),))
    return SearchSpace("cell", tuple(Choice(f"{i}-{j}", options) for i, j in pairs), (graph,))


@st.composite
def spaces(draw: st.DrawFn) -> SearchSpace:
    """A graph of up to four nodes, some edges of which are always there, and choices beside it."""
    nodes = draw(st.integers(2, 4))
    edges, choices = [], []
    for i, j in itertools.combinations(range(nodes), 2):
        if j == i + 1 or draw(st.booleans()):
            named = draw(st.booleans()) or (i, j) == (0, 1)
            name = f"{i}-{j}" if named else None
            edges.append(Edge(str(i), str(j), name))
            if name is not None:
                offered = st.lists(st.sampled_from(OPERATIONS), min_size=1, unique=True)
                choices.append(Choice(name, tuple(draw(offered))))
    asked = draw(st.sampled_from(choices))
    choices.append(Choice("kernel", (3, 5), Condition(asked.name, asked.options[-1:])))
    graph = CellGraph(tuple(draw(st.permutations(edges))), ("0",), (str(nodes - 1),))
    return SearchSpace("random", tuple(draw(st.permutations(choices))), (graph,))


def network(space: SearchSpace, decided: dict[str, object]) -> set[tuple[str, str, object]]:
    """What data pass, found by walking every path."""
    [graph] = space.graphs
    there = [
        (edge.start, edge.stop, decided[edge.choice] if edge.choice else "always")
        for edge in graph.edges
        if edge.choice is None or decided[edge.choice] not in graph.absent
    ]

    def paths(node: str) -> list[list[tuple[str, str, object]]]:
        if node in graph.outputs:
            return [[]]
        return [[e, *rest] for e in there if e[0] == node for rest in paths(e[1])]

    return {edge for path in paths(graph.inputs[0]) for edge in path}


@given(spaces())
def test_equal_architectures_are_equal_networks(space: SearchSpace) -> None:
    names = [choice.name for choice in space.choices]
    found: dict[Architecture, set[tuple[str, str, object]]] = {}
    for values in itertools.product(*(c.options for c in space.choices)):  # type: ignore[union-attr]
        decided = dict(zip(names, values, strict=True))
        architecture = space.architecture(decided)
        assert space.architecture(architecture) == architecture, "canonical once and for all"
        runs = network(space, decided)
        assert found.setdefault(architecture, runs) == runs
    listed = list(space.enumerate())
    assert len(listed) == len(set(listed)) == space.size
    assert set(listed) == set(found)
    edges = {name for graph in space.graphs for name in graph.choices}
    by_edges = {tuple((n, o) for n, o in a.items() if n in edges) for a in found}
    assert len(by_edges) == len({frozenset(runs) for runs in found.values()})


@given(spaces(), st.integers(0, 2**32))
def test_neighbours_are_symmetric(space: SearchSpace, seed: int) -> None:
    everything = set(space.enumerate())
    architecture = space.sample(np.random.default_rng(seed))
    near = list(space.neighbours(architecture))
    assert len(set(near)) == len(near)
    assert architecture not in near
    assert set(near) <= everything
    for other in near:
        assert architecture in set(space.neighbours(other))


@given(spaces(), st.integers(0, 2**32))
def test_codes_are_architectures(space: SearchSpace, seed: int) -> None:
    check_codes(space, seed)


@given(spaces(), st.integers(0, 2**32))
def test_json_and_optuna(space: SearchSpace, seed: int) -> None:
    assert space_from_json(json.loads(json.dumps(space.to_json())), "here") == space
    trial = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=seed % 2**31)).ask()
    architecture = space.suggest(trial)
    assert architecture.items() <= trial.params.items()
    assert space.architecture(trial.params) == architecture


def test_walking_from_neighbour_to_neighbour_meets_every_network() -> None:
    space = cell(4)
    met, new = set(), {next(iter(space.enumerate()))}
    while new:
        met |= new
        new = {near for each in new for near in space.neighbours(each)} - met
    assert len(met) == space.size == len({frozenset(a.items()) for a in space.enumerate()})


def test_the_cell_of_nas_bench_201() -> None:
    """15,625 strings are 9,445 networks, where skips and equal sums are left as they are."""
    options = ("none", "skip_connect", "nor_conv_1x1", "nor_conv_3x3", "avg_pool_3x3")
    space = cell(4, options)
    spelled = itertools.product(options, repeat=6)
    names = [choice.name for choice in space.choices]
    found = {space.architecture(dict(zip(names, each, strict=True))) for each in spelled}
    assert len(found) == space.size == 9445


def test_sampling_is_uniform_over_what_stands_on_edges() -> None:
    space, rng = cell(3), np.random.default_rng(0)
    spelled = list(itertools.product(OPERATIONS, repeat=3))
    names = [choice.name for choice in space.choices]
    wanted: dict[Architecture, float] = {}
    for each in spelled:
        architecture = space.architecture(dict(zip(names, each, strict=True)))
        wanted[architecture] = wanted.get(architecture, 0.0) + 1 / len(spelled)
    drawn = [space.sample(rng) for _ in range(6000)]
    for architecture, share in wanted.items():
        error = (share * (1 - share) / len(drawn)) ** 0.5
        assert abs(drawn.count(architecture) / len(drawn) - share) < 4.5 * error


def test_an_edge_that_matters_must_be_decided() -> None:
    space = cell(3)
    assert str(space.architecture({"0-2": "conv"})) == "0-2=conv"
    with pytest.raises(InputError, match="choice '0-2' is not decided"):
        space.architecture({"0-1": "conv", "1-2": "conv"})


EDGES = [
    {"from": "a", "to": "b", "choice": "x"},
    {"from": "b", "to": "c", "choice": "y"},
]


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"edges": [*EDGES, {"from": "c", "to": "a"}]}, "goes in a circle among the nodes a, b, c"),
        ({"edges": [*EDGES, {"from": "a", "to": "d"}]}, "node 'd' of a graph is on no path"),
        ({"edges": EDGES[:1]}, "node 'c' of a graph is on no edge"),
        ({"edges": [EDGES[0], {**EDGES[1], "choice": "x"}]}, "'x' stands on two edges"),
        ({"edges": [EDGES[0], {**EDGES[1], "choice": "z"}]}, "has an edge 'z', which is no choice"),
        ({"edges": [{"from": "a"}]}, "needs 'from' and 'to'; found {'from': 'a'}"),
        ({"edges": 3}, "a graph needs a list of 'edges'"),
        ({"absent": ["nothing"]}, "'nothing' means absent, and no edge of it has"),
        ({"absent": "none"}, "a graph's 'absent' must be a list"),
        ({"outputs": ["a"]}, "node 'a' is an input and an output"),
    ],
)
def test_broken_graphs_are_said(changed: dict[str, object], message: str) -> None:
    graph = {"edges": EDGES, "inputs": ["a"], "outputs": ["c"], "absent": ["none"], **changed}
    document = {
        "format": "temporal-nas/search-space",
        "version": "1.0",
        "name": "x",
        "choices": [{"name": name, "options": ["none", "conv"]} for name in ("x", "y")],
        "graphs": [graph],
    }
    with pytest.raises(InputError, match=message) as caught:
        space_from_json(document, "here")
    assert str(caught.value).startswith("here: ")
    assert "\n" not in str(caught.value)


@given(space=spaces(), seed=st.integers(0, 2**31))
def test_what_is_spelled_and_what_is_dead_of_it(space: SearchSpace, seed: int) -> None:
    [graph] = space.graphs
    rng = np.random.default_rng(seed)
    decided: dict[str, object] = {
        c.name: c.options[int(rng.integers(len(c.options)))]
        for c in space.choices
        if isinstance(c, Choice)
    }
    architecture, spelled = space.architecture(decided), space.spelled(decided)
    assert space.architecture(spelled) == architecture
    assert {n: spelled[n] for n in graph.choices} == {n: decided[n] for n in graph.choices}
    assert spelled.keys() - set(graph.choices) == architecture.keys() - set(graph.choices)
    there = {n for n in graph.choices if decided[n] not in graph.absent}
    live = {o for _, _, o in network(space, {**decided, **{n: n for n in there}})} - {"always"}
    assert set(space.dead(spelled)) == there - live
    gone = space.spelled(architecture)  # dead edges are absent where they can be
    assert not space.dead(gone).keys() & {
        c.name for c in space.choices if isinstance(c, Choice) and "none" in c.options
    }


def test_why_an_edge_is_dead() -> None:
    space = cell(4)
    decided = dict.fromkeys(("0-1", "1-3", "2-3"), "conv") | dict.fromkeys(
        ("0-2", "0-3", "1-2"), "none"
    )
    assert space.dead(decided) == {"2-3": "unfed"}
    by_skip = {**decided, "1-3": "none", "0-3": "skip"}
    assert space.dead(by_skip) == {"0-1": "unread", "2-3": "unfed"}
    assert space.dead({**by_skip, "0-3": "none"}) == dict.fromkeys(("0-1", "2-3"), "severed")
    assert space.dead({**decided, "1-2": "skip"}) == {}
