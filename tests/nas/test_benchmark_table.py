"""Tables as searches whose answer is known, and tables that are none."""

from pathlib import Path

import numpy as np
import pytest

from nas.benchmark import Benchmark, of_table
from search_spaces import CellGraph, Choice, Edge, InputError, SearchSpace, read_table

HEADER = "operation,width,error_pct,latency_ms,parameters_count\n"
ROWS = """\
conv,1,30,4,10
conv,2,20,8,20
attention,1,25,6,30
attention,2,10,12,40
none,1,60,1,0
none,2,60,1.5,0
"""


def written(folder: Path, rows: str = ROWS, header: str = HEADER) -> Path:
    path = folder / "table.csv"
    path.write_text(header + rows)
    return path


def of_rows(folder: Path, rows: str = ROWS, **wishes: object) -> Benchmark:
    asked = {"objectives": ["error_pct", "latency_ms"], "known": ["latency_ms"], **wishes}
    return of_table(written(folder, rows), **asked)  # type: ignore[arg-type]


def test_a_problem_tells_costs_and_hides_quality(tmp_path: Path) -> None:
    benchmark = of_rows(tmp_path)
    problem = benchmark.problem(seed=3)
    assert [(o.name, o.known) for o in problem.objectives] == [
        ("error_pct", False),
        ("latency_ms", True),
    ]
    assert problem.listed is None  # the six rows are all of the space
    every = list(problem.space.enumerate())
    table = read_table(tmp_path / "table.csv")
    for row, architecture in enumerate(table.architectures):
        assert problem.known([architecture]) == table.metric("latency_ms")[row]
        assert benchmark.evaluate(architecture) == (table.metric("error_pct")[row],)
    assert problem.known(every).shape == (6, 1)
    assert problem.violations(every) == {}


def test_the_box_is_where_the_front_is_wanted(tmp_path: Path) -> None:
    benchmark = of_rows(tmp_path)
    # Best accuracy 90 at 12 ms: latency up to 13.2 ms, accuracy at least 81, so an error of 19.
    assert benchmark.reference.tolist() == pytest.approx([19, 13.2])
    assert benchmark.front.tolist() == [[10, 12]]
    wide = of_rows(tmp_path, reference=[50, 20])
    assert wide.front.tolist() == [[10, 12], [20, 8], [25, 6], [30, 4]]
    assert wide.shares(wide.values).tolist()[-1] == 1
    assert wide.shares(wide.values[:1])[0] == pytest.approx(20 * 16 / wide.whole)


def test_the_true_front_may_be_given(tmp_path: Path) -> None:
    (tmp_path / "front.csv").write_text(
        "error_pct,latency_us\n8,12000\n20,7000\n25,6000\n30,1000\n"
    )
    front = tmp_path / "front.csv"
    given = of_rows(tmp_path, reference=[50, 20], front=front)
    assert given.front.tolist() == [[8, 12], [20, 7], [25, 6], [30, 1]]
    computed = of_rows(tmp_path, reference=[50, 20])
    found, of_rows_alone = given.shares(given.values), computed.shares(given.values)
    assert found[-1] == pytest.approx(computed.whole / given.whole)
    assert found == pytest.approx(of_rows_alone * computed.whole / given.whole)
    front.write_text("error_pct,latency_ms\n8,12\n20,9\n")
    with pytest.raises(InputError, match=r"is no true front; .* \(error_pct 20, latency_ms 8\)"):
        of_rows(tmp_path, reference=[50, 20], front=front)
    front.write_text("error_pct\n8\n")
    with pytest.raises(InputError, match="latency_ms"):
        of_rows(tmp_path, reference=[50, 20], front=front)


def test_a_quality_without_percent_is_wanted_from_the_median_on(tmp_path: Path) -> None:
    path = written(tmp_path, "a,3,1\nb,2,2\nc,1,5\n", "kind,test_loss,latency_us\n")
    benchmark = of_table(path, ["latency_us", "test_loss"], ["latency_us"])
    assert benchmark.objectives[0].name == "latency_ms"
    assert benchmark.reference.tolist() == pytest.approx([5.5e-3, 2])
    given = of_table(path, ["latency_us", "test_loss"], ["latency_us"], reference=[6, 4])
    assert given.reference.tolist() == pytest.approx([6e-3, 4])  # in the unit of the name


def test_what_is_maximised_counts_upwards(tmp_path: Path) -> None:
    accuracy = "a,70,1\nb,80,2\nc,90,5\n"
    path = written(tmp_path, accuracy, "kind,accuracy_pct,latency_ms\n")
    benchmark = of_table(path, ["accuracy_pct:max", "latency_ms"], ["latency_ms"])
    assert benchmark.reference.tolist() == pytest.approx([81, 5.5])
    assert benchmark.front.tolist() == [[90, 5]]
    assert benchmark.shares(benchmark.values).tolist() == [0, 0, 1]


def test_hard_budgets_are_told_and_cut_the_front(tmp_path: Path) -> None:
    wishes = {"at_most": {"latency_ms": 7, "parameters_count": 25}, "reference": [61, 20]}
    benchmark = of_rows(tmp_path, **wishes)
    assert benchmark.front.tolist() == [[30, 4], [60, 1]]
    problem = benchmark.problem(0)
    every = read_table(tmp_path / "table.csv").architectures
    assert problem.keeps(every).tolist() == [True, False, False, False, True, True]
    assert benchmark.shares(benchmark.values[[0, 4]])[-1] == 1


def test_a_table_that_is_not_all_of_its_space_lists_what_there_is(tmp_path: Path) -> None:
    rows = "".join(ROWS.splitlines(keepends=True)[:-1])
    listed = of_rows(tmp_path, rows).problem(0).listed
    assert listed == tuple(read_table(tmp_path / "table.csv").architectures)


def test_numbers_that_vary_freely_are_found_as_spaces_spell_them(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    rows = [f"{rng.random():.17g},{rng.integers(8, 640)},{i},{i + 1}" for i in range(40)]
    path = written(tmp_path, "\n".join(rows), "rate,width,a_loss,latency_ms\n")
    benchmark = of_table(path, ["a_loss", "latency_ms"], ["latency_ms"], reference=[50, 50])
    listed = benchmark.problem(0).listed
    assert listed is not None
    assert listed == tuple(read_table(path).architectures)
    assert benchmark.lookup.rows(listed).tolist() == list(range(40))
    # Codes and back may miss a last digit; the row is found all the same.
    from search_spaces.space.integer_encoding import IntegerEncoder

    coder = IntegerEncoder(benchmark.space)
    again = coder.architectures(coder.codes(listed))
    assert benchmark.lookup.rows(again).tolist() == list(range(40))


def test_choices_that_do_not_matter_are_no_difference(tmp_path: Path) -> None:
    rows = "conv,3,1,5\nconv,5,2,4\nnone,,5,1\n"
    path = written(tmp_path, rows, "operator,operator.kernel,a_loss,latency_ms\n")
    problem = of_table(path, ["a_loss", "latency_ms"], ["latency_ms"]).problem(0)
    assert problem.listed is None
    assert sorted(problem.known(list(problem.space.enumerate())).ravel()) == [1, 4, 5]


def test_a_row_that_is_repeated_counts_once(tmp_path: Path) -> None:
    benchmark = of_rows(tmp_path, ROWS + "conv,1,30,4,10\n")
    assert benchmark.problem(0).listed is None
    assert len(benchmark.feasible) == 6


@pytest.mark.parametrize(
    ("rows", "wishes", "said"),
    [
        ("conv,1,30,4,10\n", {}, "holds one architecture"),
        ("conv,1,30,4,1\nconv,2,,8,2\n", {}, "row 3, column 'error_pct': '' is not a number"),
        ("conv,1,30,4,1\nconv,2,30,8,2\n", {}, "error_pct is 30 in every row"),
        (ROWS + "conv,1,31,4,10\n", {}, "rows 2 and 8: are one architecture with two values"),
        (ROWS, {"objectives": ["speed"], "known": []}, "no metric column 'speed'; its metrics"),
        (ROWS, {"objectives": []}, "`objectives=` names no column"),
        (ROWS, {"objectives": ["error_pct", "error_pct"], "known": []}, "named twice"),
        (ROWS, {"known": ["parameters_count"]}, "`known=parameters_count`: is no objective"),
        (ROWS, {"known": ["latency_ms", "error_pct"]}, "everything is known"),
        (ROWS, {"reference": [50]}, "has 1 numbers for 2 objectives"),
        (ROWS, {"reference": [5, 20]}, "no row is better than `reference=5,20`"),
        (ROWS, {"reference": [float("nan"), 20]}, "must be finite numbers"),
        (ROWS, {"at_most": {"latency_ms": 0.5}}, "`at_most=latency_ms=0.5`; the least is 1"),
        (ROWS, {"at_most": {"error_pct": 20}}, "is what the search is to find out"),
        (ROWS, {"at_most": {"latency_ms": 1, "parameters_count": -1}}, "the least is 0"),
        (ROWS, {"at_most": {"memory_mb": 1}}, "no metric column 'memory_mb'"),
    ],
)
def test_what_is_no_benchmark_is_said_in_a_line(
    tmp_path: Path, rows: str, wishes: dict[str, object], said: str
) -> None:
    with pytest.raises(InputError) as caught:
        of_rows(tmp_path, rows, **wishes)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_blocks_are_no_networks(tmp_path: Path) -> None:
    path = written(tmp_path, "down0,conv,1\ndown0,none,2\n", "slot,option,latency_ms\n")
    with pytest.raises(InputError, match="table of blocks"):
        of_table(path, ["latency_ms"])


def test_an_architecture_that_is_not_there_is_named(tmp_path: Path) -> None:
    rows = "".join(ROWS.splitlines(keepends=True)[:-1])
    problem = of_rows(tmp_path, rows).problem(0)
    absent = problem.space.architecture({"operation": "none", "width": 2})
    with pytest.raises(InputError, match="holds no row for operation=none width=2"):
        problem.known([absent])


def test_half_of_the_rows_may_be_equally_good(tmp_path: Path) -> None:
    path = written(
        tmp_path, "a,1,1\nb,1,2\nc,1,3\nd,3,0.5\ne,5,0.1\n", "kind,test_loss,latency_ms\n"
    )
    benchmark = of_table(path, ["test_loss", "latency_ms"], ["latency_ms"])
    assert benchmark.reference[0] == 4
    assert benchmark.front.tolist() == [[1, 1], [3, 0.5]]


@pytest.mark.parametrize("scale", [1e300, 1e-300])
def test_numbers_that_no_volume_holds_are_refused(tmp_path: Path, scale: float) -> None:
    rows = "".join(f"{kind},{scale * loss},{loss}\n" for loss, kind in enumerate("abc", 1))
    path = written(tmp_path, rows, "kind,test_loss,latency_ms\n")
    with pytest.raises(InputError, match="test_loss goes from .* in another unit"):
        of_table(path, ["test_loss", "latency_ms"], ["latency_ms"])


GRAPH = SearchSpace(
    "cell",
    tuple(Choice(name, ("none", "conv", "skip")) for name in ("in", "out")),
    (CellGraph((Edge("0", "1", "in"), Edge("1", "2", "out")), ("0",), ("2",)),),
)
SPELLED = """\
in,out,error_pct,latency_ms
conv,none,90,4
none,skip,90,2
none,none,91,1
conv,conv,10,9
conv,skip,20,6
skip,conv,25,5
skip,skip,60,3
"""


def test_a_network_is_the_row_that_spells_no_dead_edge(tmp_path: Path) -> None:
    """Of three spellings of the network that does nothing, the last is what would be built."""
    (tmp_path / "t.csv").write_text(SPELLED)
    columns = ["error_pct", "latency_ms"]
    benchmark = of_table(
        read_table(tmp_path / "t.csv", GRAPH), columns, ["latency_ms"], reference="corner"
    )
    nothing = GRAPH.architecture({"in": "none", "out": "none"})
    assert benchmark.respelled == 2
    assert len(benchmark.feasible) == GRAPH.size == 5
    assert benchmark.problem(0).listed is None
    assert benchmark.evaluate(nothing) == (91,)
    assert benchmark.problem(0).known([nothing]).item() == 1
    assert of_table(tmp_path / "t.csv", columns, reference="corner").respelled == 0


def test_spellings_with_dead_edges_alone_must_agree(tmp_path: Path) -> None:
    rows = SPELLED.replace("none,none,91,1\n", "")
    (tmp_path / "t.csv").write_text(rows)
    with pytest.raises(InputError, match="rows 2 and 3: are one architecture with two values of"):
        of_table(read_table(tmp_path / "t.csv", GRAPH), ["error_pct", "latency_ms"])
    (tmp_path / "t.csv").write_text(rows.replace("none,skip,90,2", "none,skip,90,4"))
    columns = ["error_pct", "latency_ms"]
    table = read_table(tmp_path / "t.csv", GRAPH)
    benchmark = of_table(table, columns, reference="corner")
    assert len(benchmark.feasible) == 5
