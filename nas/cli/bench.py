"""`nas bench`: strategies compared on a table."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from nas.cli import options
from nas.cli.output import print_columns, print_json, print_line, print_note, print_table
from search_spaces.files.errors import InputError

if TYPE_CHECKING:
    from nas.benchmark import Benchmark, Summary
    from nas.benchmark.statistics import EvaluationsTo, Standing

FEW_JUDGED = 5
# What strategies were told, in words.
TOLD = {
    "best": "that the best network inside the budgets counts",
    "region": "the box that is judged",
    "front": "that the whole front counts; of the box that is judged, nothing",
}
SURE = 0.05  # p below which a difference is called one


def bench(
    table: Annotated[Path, typer.Argument(help="Whole networks: choices and measured columns.")],
    objectives: Annotated[
        str, typer.Option(help="Columns that are traded off: A,B. Less is better, but for A:max.")
    ],
    out: Annotated[
        Path,
        typer.Option(
            callback=options.checked_file,
            help="The CSV to fill: every evaluated network in order. Beside it stand shares and "
            "regrets of every trial (.judged.csv), pictures (.png, .svg, .pdf) and settings "
            "(.json). Called again, what is missing is run.",
        ),
    ],
    known: Annotated[
        list[str] | None,
        typer.Option(help="An objective that is known before anything is evaluated; A,B for more."),
    ] = None,
    reference: Annotated[
        str,
        typer.Option(
            help="The corner of the box that is judged; --goal says what strategies are told. "
            "wanted: a known "
            "cost ends at 1.1 times that of the row of the best quality; a quality in _pct at nine "
            "tenths of the best accuracy (an error is 100 less an accuracy), any other at the "
            "median of the rows. front: all of the front, and a tenth beyond. corner: the worst of "
            "all rows. Or numbers in the order of the objectives: X,Y."
        ),
    ] = "wanted",
    goal: Annotated[
        str | None,
        typer.Option(
            help="What strategies are told that counts. best: the first objective that is not "
            "known, inside --at-most; it is judged alone. region: the box that is judged. front: "
            "the whole front. Default: region where --reference is numbers, else front."
        ),
    ] = None,
    at_most: Annotated[
        list[str] | None,
        typer.Option(help="A hard budget on a column that is known: COLUMN=VALUE; several times."),
    ] = None,
    front: Annotated[
        Path | None,
        typer.Option(
            help="A table of the true front, where TABLE is only a part of its space. Default: the "
            "rows that no other beats."
        ),
    ] = None,
    space: options.MaybeSpace = None,
    choice_columns: options.ChoiceColumns = None,
    strategies: Annotated[
        str, typer.Option(help="Names, or package.module:name of your own: A,B.")
    ] = "cost-aware,random,nsga2,tpe",
    trials: Annotated[int, typer.Option(min=1, help="Different networks a run.")] = 200,
    seeds: Annotated[int, typer.Option(min=1, help="Runs of each strategy.")] = 5,
    at: Annotated[
        str | None,
        typer.Option(help="Evaluations after which shares are told; default: 50,100,200,500."),
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="The first of the seeds.")] = 0,
    workers: Annotated[int, typer.Option(min=1, help="Processes, one thread each.")] = 1,
    json: options.AsJson = False,
) -> None:
    """Compare strategies by the share of the true front's hypervolume that they find."""
    names, counts = _names(strategies), _counts(at)
    _check_out(out, table)
    from nas.benchmark import compared, judged, of_table, summary
    from nas.benchmark.picture import drawn
    from nas.strategies import load_strategy
    from nas.tables import columns_in_json
    from search_spaces import load, read_table
    from search_spaces.files import document

    for name in names:
        load_strategy(name)  # one that is not there is said before anything is read
    given = load(space) if space else None
    measured = read_table(table, given, choice_columns=options.words(choice_columns))
    benchmark = of_table(
        measured,
        options.words(objectives),
        [word for each in known or () for word in options.words(each)],
        reference=_reference(reference),
        at_most=options.limits("at-most", at_most),
        front=front,
        goal=goal,
    )
    try:
        runs = compared(benchmark, names, trials, range(seed, seed + seeds), out, workers=workers)
    except KeyboardInterrupt:
        print_note("stopped; the same command goes on with what is missing")
        raise typer.Exit(1) from None
    found = summary(benchmark, runs, counts)
    for kind, picture in drawn(benchmark, found, runs).items():
        document.write_atomically(out.with_suffix(f".{kind}"), picture)
    judged_csv = judged(benchmark, runs).to_csv(index=False)
    document.write_atomically(out.with_suffix(".judged.csv"), judged_csv)
    ended = max(len(run.values) for run in runs)
    _print_notes(benchmark, ended, trials)
    if json:
        read_as = columns_in_json(measured)
        print_json(_summary(benchmark, found, ended, seeds, out) | {"columns": read_as})
    else:
        print_columns(
            measured, [*map(str, benchmark.at_most), *(o.name for o in benchmark.objectives)]
        )
        _print(benchmark, found, seeds, out)


def _print_notes(benchmark: "Benchmark", ended: int, trials: int) -> None:
    if ended < trials:
        print_note(f"no run got beyond {ended} networks: there are no more inside the budgets")
    if benchmark.respelled:
        print_note(
            f"{benchmark.respelled:,} rows are left out: with edges off every path of the space's "
            "graph, they spell networks of other rows"
        )
    if len(benchmark.front) < min(FEW_JUDGED, benchmark.front_size):
        print_note(
            f"only {len(benchmark.front)} of the {benchmark.front_size} networks of the true front "
            "are judged, so shares say little; --reference front judges all of them"
        )


def _names(strategies: str) -> list[str]:
    names = options.words(strategies)
    if not names:
        raise InputError("--strategies names none; give one or more, as cost-aware,random")
    return names


def _counts(at: str | None) -> list[int] | None:
    if at is None:
        return None
    words = options.words(at)
    if not words or not all(word.isdecimal() and int(word) > 0 for word in words):
        raise InputError(f"--at {at}: give whole numbers above 0, as 50,100,200")
    return [int(word) for word in words]


def _reference(spelled: str) -> list[float] | str:
    """Numbers, or the name of a rule."""
    try:
        return [float(word) for word in spelled.split(",")]
    except ValueError:
        return spelled


def _check_out(out: Path, table: Path) -> None:
    if out.suffix != ".csv":
        raise InputError(f"--out {out}: is a CSV; call it {out.stem}.csv")
    if out.resolve() == table.resolve():
        raise InputError(f"--out {out}: would be written over the table")


def _summary(
    benchmark: "Benchmark", found: "Summary", trials: int, seeds: int, out: Path
) -> dict[str, Any]:
    from dataclasses import asdict

    strategies = []
    for standing in found.standings:
        entry = asdict(standing)
        del entry["curve"]  # RESULTS.csv holds it
        strategies.append(entry)
    return {
        "results": str(out),
        "picture": str(out.with_suffix(".png")),
        **benchmark.settings,
        "rows": len(benchmark.values),
        "reference": benchmark.reference.tolist(),
        "front": len(benchmark.front),
        "front_size": benchmark.front_size,
        "hypervolume": benchmark.whole,
        "trials": trials,
        "seeds": seeds,
        "strategies": strategies,
        "friedman_p": found.friedman_p,
        "pairs": [asdict(pair) for pair in found.pairs],
    }


def _print(benchmark: "Benchmark", found: "Summary", seeds: int, out: Path) -> None:
    counts = [f">at {share.evaluations}" for share in found.standings[0].shares]
    goals = [f">to {goal.share:.0%}" for goal in found.standings[0].evaluations_to]
    print_table(
        ["strategy", ">rank", *counts, *goals, ">own ms"],
        (_row(standing, seeds) for standing in found.standings),
    )
    box = ", ".join(
        f"{each.name} {'above' if each.maximize else 'below'} {limit:g}"
        for each, limit in zip(benchmark.judged, benchmark.reference, strict=True)
    )
    print_line(f"told: {TOLD[benchmark.goal.kind]}")
    print_line(
        f"at N: share of the true front's hypervolume ({box}) after N evaluations"
        + (", mean ± standard deviation" if seeds > 1 else "")
    )
    print_line(
        f"judged: {len(benchmark.front)} of the {benchmark.front_size} networks of the true front"
        f"{_whence(benchmark)}"
    )
    print_line(
        "to X%: evaluations to that share, the median over seeds (- where most seeds failed; 2/5: "
        "two of five reached it); own ms: the strategy's CPU time a trial"
    )
    if found.standings[0].regrets:
        print_line(f"regret: {_regrets(benchmark)}")
        print_table(
            ["strategy", *(f">at {each.evaluations}" for each in found.standings[0].regrets)],
            (
                [s.strategy, *(f"{r.mean:.4g}±{r.deviation:.2g}" for r in s.regrets)]
                for s in found.standings
            ),
        )
    for line in _sureness(found, seeds):
        print_line(line)
    print_line(f"results: {out}")
    print_line(f"picture: {out.with_suffix('.png')}")


def _whence(benchmark: "Benchmark") -> str:
    rows = f", which has {len(benchmark.values):,} rows"
    return rows if benchmark.given_front is None else ", which was given"


def _regrets(benchmark: "Benchmark") -> str:
    [objective] = benchmark.judged
    return f"how far {objective.name} is from the best, mean ± standard deviation"


def _row(standing: "Standing", seeds: int) -> list[str]:
    shares = [
        f"{share.mean:.3f}±{share.deviation:.3f}" if seeds > 1 else f"{share.mean:.3f}"
        for share in standing.shares
    ]
    goals = [_goal(goal) for goal in standing.evaluations_to]
    return [standing.strategy, f"{standing.rank:.1f}", *shares, *goals, f"{standing.own_ms:.2f}"]


def _goal(goal: "EvaluationsTo") -> str:
    reached = "" if goal.reached == goal.seeds else f" ({goal.reached}/{goal.seeds})"
    return f"{'-' if goal.median is None else f'{goal.median:.0f}'}{reached}"


def _sureness(found: "Summary", seeds: int) -> list[str]:
    """What the ranks prove."""
    if not found.pairs:
        return []
    surest = found.least_p(seeds)
    if surest >= SURE:
        fewest = next(n for n in range(seeds, 99) if found.least_p(n) < SURE)
        return [f"{seeds} seeds cannot prove which is better; {fewest} may (Wilcoxon, Holm)"]
    lines = []
    if found.friedman_p is not None:
        lines.append(f"ranks differ: p = {found.friedman_p:.2g} (Friedman)")
    for pair in found.pairs:
        word = "better than" if pair.p < SURE else "not surely better than"
        lines.append(f"{pair.better} {word} {pair.worse}: p = {pair.p:.2g} (Wilcoxon, Holm)")
    return lines
