"""`nas profile`: measure blocks or networks of a space."""

from typing import Annotated

import typer

from nas.cli import options
from nas.cli.output import print_json, print_line
from search_spaces.errors import InputError


def profile(
    out: options.OutFile,
    space: options.Space = "moving_digits",
    backend: Annotated[str, typer.Option(help="What measures: torch (this machine).")] = "torch",
    blocks: Annotated[
        bool, typer.Option("--blocks", help="Measure every block of every slot.")
    ] = False,
    networks: Annotated[
        int | None, typer.Option(min=1, help="Measure so many whole networks.")
    ] = None,
    rounds: Annotated[int, typer.Option(min=1, help="Visits to each, in interleaved order.")] = 8,
    seed: options.Seed = 0,
    json: options.AsJson = False,
) -> None:
    """Measure blocks, or whole networks, of a space; writes a table."""
    from latency.sources.torch_host import Protocol
    from nas import profiling
    from nas.pipeline import temporal
    from nas.progress import Progress
    from search_spaces import load

    if backend != "torch":
        raise InputError(f"unknown backend {backend!r}; this version measures by: torch")
    if blocks == (networks is not None):
        raise InputError("say what to measure: --blocks, or --networks N (two tables, two calls)")
    chosen = temporal(load(space))
    names = profiling.block_names(chosen) if blocks else []
    architectures = profiling.spread_out(chosen, networks, seed) if networks else []
    if out.exists():
        raise InputError(f"{out}: exists; choose another file for --out, or remove it")
    protocol = Protocol(rounds=rounds, seed=seed)
    total = profiling.visits(chosen, len(names), len(architectures), protocol)
    with Progress().stage("measure", total) as advance:
        done = 0

        def on_visit() -> None:
            nonlocal done
            done += 1
            advance(done)

        timed_blocks, timed = profiling.measure_space(
            chosen, names, architectures, protocol, on_visit
        )
    if blocks:
        profiling.write_blocks(out, timed_blocks)
    else:
        profiling.write_networks(out, chosen, timed)
    rows = len(timed_blocks) if blocks else len(timed)
    if json:
        print_json({"table": str(out), "rows": rows})
    else:
        print_line(f"{rows} rows: {out}")
