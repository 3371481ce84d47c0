"""`nas profile`: measure blocks or networks of a space, or say which are worth measuring."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from nas.cli import options
from nas.cli.output import print_columns, print_json, print_line, print_note
from nas.cli.resume import resumable
from nas.cli.sources import COREML, COREML_DEVICE, Backend, chains_of, source_of
from search_spaces.files.errors import InputError

if TYPE_CHECKING:
    from latency.sources.contract import Protocol, Source
    from nas.calibration.profiling import Planned
    from search_spaces import SearchSpace


def profile(
    space: options.Space = "moving_digits",
    backend: Annotated[
        str,
        typer.Option(
            help="What measures: torch (this machine), coreml (this Mac), coreml-device (the "
            "iPhone connected to this Mac), or package.module:name, called for a source."
        ),
    ] = "torch",
    blocks: Annotated[
        bool, typer.Option("--blocks", help="Measure every block of every slot.")
    ] = False,
    networks: Annotated[
        int | None, typer.Option(min=1, help="Measure so many whole networks.")
    ] = None,
    plan: Annotated[
        bool,
        typer.Option(
            "--plan",
            help="Only say what would be measured, and about how long that takes; --out writes it "
            "as a table to fill in.",
        ),
    ] = False,
    packages: Annotated[
        Path | None,
        typer.Option(
            help="With --plan --out: also write each as a Core ML package to this folder, for "
            "Xcode to measure; `nas import REPORTS --choices OUT` brings the reports back."
        ),
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="The table to write.", callback=options.checked_file)
    ] = None,
    rounds: Annotated[
        int | None, typer.Option(min=1, help="Visits to each, in interleaved order.")
    ] = None,
    repeats: Annotated[
        str | None,
        typer.Option(
            help="Chains that blocks are measured in; 1,8 tells a block from its launch. Default: "
            "1 on a processor, 1,8 on GPUs and Apple devices."
        ),
    ] = None,
    torch_device: Annotated[str, typer.Option(help="Of torch: cpu, cuda, cuda:N.")] = "cpu",
    precision: Annotated[
        str, typer.Option(help="Of torch: float32, float16, bfloat16.")
    ] = "float32",
    compute_units: Annotated[
        str, typer.Option(help="Of Core ML: all, cpu-only, cpu-and-gpu, cpu-and-ne.")
    ] = "all",
    signing_team: Annotated[
        str, typer.Option(help="Of coreml-device: the Apple team that signs the app it installs.")
    ] = "",
    seed: options.Seed = 0,
    resume: options.Resume = False,
    json: options.AsJson = False,
) -> None:
    """Measure blocks, or whole networks, of a space; writes a table.

    Interrupt it whenever you like: what was measured stands in OUT.partial.jsonl, and --resume
    goes on. For a device that this cannot reach, --networks N --plan --out writes which networks
    to measure there, with a column for each choice: add latency_ms and calibrate.
    """
    from search_spaces import load

    chains = chains_of(repeats) if repeats is not None else None
    wish = _Wish(load(space), blocks, networks, chains, rounds, seed)
    wanted = Backend(backend, torch_device, precision, compute_units, signing_team)
    if plan:
        _plan(wish, wanted, out, packages, json=json)
        return
    if packages is not None:
        raise InputError("--packages goes with --plan: what is measured here needs no files")
    _check(wish, out, resume=resume)
    assert out is not None
    with resumable():
        rows = _measured(wish, source_of(wanted), out)
    _say(out, rows, json=json)


@dataclass(frozen=True)
class _Wish:
    """What was asked to be measured."""

    space: "SearchSpace"
    blocks: bool
    networks: int | None
    chains: tuple[int, ...] | None
    rounds: int | None
    seed: int

    def planned(self, chains: tuple[int, ...]) -> "Planned":
        """The blocks or the networks, or both; `chains` counts where none were asked for."""
        from nas.calibration import profiling
        from search_spaces import TemporalSpace

        planned = profiling.Planned({}, [])
        if self.blocks and isinstance(self.space, TemporalSpace):
            names = profiling.block_names(self.space)
            planned += profiling.plan_blocks(self.space, names, self.chains or chains)
        if self.networks is not None:
            chosen = profiling.worth_measuring(self.space, self.networks, self.seed)
            planned += profiling.plan_networks(self.space, chosen)
        return planned

    def protocol(self, source: "Source") -> "Protocol":
        """The source's own, as far as nothing else was asked for."""
        rounds = self.rounds or source.protocol.rounds
        return replace(source.protocol, rounds=rounds, seed=self.seed)

    def worthwhile(self) -> "_Wish":
        """Where nothing was named: all blocks, and enough networks."""
        from nas.calibration.profiling import enough_networks
        from search_spaces import TemporalSpace

        if self.blocks or self.networks is not None:
            return self
        has_blocks = isinstance(self.space, TemporalSpace)
        return replace(self, blocks=has_blocks, networks=enough_networks(self.space))


def _check(wish: _Wish, out: Path | None, *, resume: bool) -> None:
    """Refuse what cannot be measured, or would overwrite something."""
    from latency.sources.journal import journal_path
    from search_spaces import TemporalSpace

    enough = wish.worthwhile().networks
    if not isinstance(wish.space, TemporalSpace):
        raise InputError(
            f"space {wish.space.name!r} has no U-Net to build networks of, so they are measured by "
            f"hand: --networks {wish.networks or enough} --plan --out todo.csv writes which"
        )
    if wish.blocks == (wish.networks is not None):
        raise InputError(
            "say what to measure: --blocks, or --networks N (two tables, two calls); worth "
            f"measuring are all blocks, then {enough} networks or more; --plan lists them"
        )
    if out is None:
        raise InputError("give --out, the table to write; or --plan, to see what would be measured")
    wish.planned((1,))  # refuses more networks than there are, before a device is asked
    if out.exists() and not resume:
        raise InputError(f"{out}: exists; choose another file for --out, or remove it")
    if journal_path(out).exists() and not resume:
        raise InputError(
            f"{journal_path(out)}: a measurement was left here; go on with it by --resume, or "
            "remove it"
        )


def _measured(wish: _Wish, source: "Source", out: Path) -> int:
    """Measure what is not measured yet, and write the table; returns its number of rows."""
    from latency.sources.journal import Journal, journal_path
    from nas.calibration import profiling
    from nas.progress import Progress
    from nas.tables import write_rows

    planned, protocol = wish.planned(source.chains), wish.protocol(source)
    if out.exists() and not journal_path(out).exists():
        return _finished_before(planned, out)
    settings = profiling.settings_of(wish.space, source, planned, protocol)
    total = len(planned.jobs) * protocol.rounds
    with Journal(journal_path(out), settings) as journal:
        with Progress().stage("measure", total) as advance:
            advance(len(journal.visits))
            measured = profiling.measure(
                source, planned, protocol, journal, lambda: advance(len(journal.visits))
            )
        write_rows(out, planned.measured_rows(measured, source))
        journal.remove()
    return len(planned.rows)


def _finished_before(planned: "Planned", out: Path) -> int:
    """Nothing is left to do, if the table is the one that was asked for."""
    from search_spaces import read_table

    table = read_table(out)
    print_columns(table)
    ids = list(table.reserved["id"]) if "id" in table.reserved else []
    if ids != [row["id"] for row in planned.rows]:
        raise InputError(
            f"{out}: is whole, and holds something other than was asked for; choose another --out"
        )
    return len(ids)


def _say(out: Path, rows: int, *, json: bool) -> None:
    from nas.calibration.profiling import launch_ms
    from search_spaces import read_table

    launch = launch_ms(read_table(out), "latency_ms")
    if json:
        print_json({"table": str(out), "rows": rows, "launch_ms": launch})
        return
    print_line(f"{rows} rows: {out}")
    if launch is not None:
        print_line(f"a call costs {launch:.3f} ms beside its blocks (median)")


def _plan(
    wish: _Wish, backend: Backend, out: Path | None, packages: Path | None, *, json: bool
) -> None:
    """Say what would be measured; or write it, to be measured elsewhere."""
    from nas.cli import plan

    wish = wish.worthwhile()
    from search_spaces import TemporalSpace

    if wish.blocks and not isinstance(wish.space, TemporalSpace):
        raise InputError(f"space {wish.space.name!r} has no U-Net, so no blocks; plan --networks N")
    if out is not None and wish.blocks and wish.networks is not None:
        raise InputError("--plan --out writes a table of one kind: add --blocks, or --networks N")
    if out is not None and out.exists():
        raise InputError(f"{out}: exists; choose another file for --out, or remove it")
    if packages is not None and out is None:
        raise InputError("--packages needs --out too: the table that says what each package is")
    if out is not None:
        # Core ML will run the packages, whatever measures here.
        wanted = replace(backend, name=COREML) if packages else backend
        planned = wish.planned(wanted.usual_chains)
        if packages is not None:
            plan.write_packages(packages, planned)
        plan.write(out, planned.rows, packages, json=json)
        return
    source = _source_for_plan(backend)
    planned = wish.planned(source.chains if source else backend.usual_chains)
    about_s = plan.about_seconds(source, planned, wish.protocol(source)) if source else None
    plan.show(planned, about_s, json=json)


def _source_for_plan(backend: Backend) -> "Source | None":
    """The source, to try a few jobs on; None where that is not possible here and now."""
    from latency.measurement.measurement import NotHereError

    if backend.name == COREML_DEVICE:
        return None  # an app would have to be installed on the phone
    try:
        return source_of(backend)
    except NotHereError as error:
        print_note(f"how long it takes is not known: {error}")
        return None
