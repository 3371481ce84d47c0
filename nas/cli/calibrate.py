"""`nas calibrate`: measurements to a device."""

from pathlib import Path
from typing import Annotated

import typer

from nas.cli import options
from nas.cli.output import print_json, print_line
from search_spaces.errors import InputError


def calibrate(
    tables: Annotated[list[Path], typer.Argument(help="Tables of blocks, of networks, or both.")],
    out: options.OutFile,
    space: options.MaybeSpace = None,
    column: Annotated[str, typer.Option(help="The column that holds the latency.")] = "latency_ms",
    samples: Annotated[
        int | None, typer.Option(min=2, help="Use so many networks, chosen at random.")
    ] = None,
    name: Annotated[
        str | None, typer.Option(help="The device's name; default: the file's.")
    ] = None,
    seed: options.Seed = 0,
    json: options.AsJson = False,
) -> None:
    """Make a device from measured tables; says how well it predicts what it did not see."""
    from dataclasses import asdict

    import latency
    from nas import profiling
    from nas.costs import SpaceCosts
    from search_spaces import TemporalSpace, load, read_table

    chosen = load(space) if space else None
    costs = SpaceCosts(chosen) if isinstance(chosen, TemporalSpace) else None
    found = []
    for path in tables:
        found += profiling.measurements_of(read_table(path, chosen), column, costs)
    networks = [m for m in found if m.of_network]
    unseen = []
    if samples is not None:
        if samples > len(networks):
            raise InputError(f"{samples} samples asked for, {len(networks)} networks measured")
        kept = set(chosen_rows(len(networks), samples, seed))
        unseen = [m for index, m in enumerate(networks) if index not in kept]
        networks = [m for index, m in enumerate(networks) if index in kept]
    device = latency.calibrate(
        [m for m in found if not m.of_network] + networks, name or out.stem, {"column": column}
    )
    if unseen:
        device = device.validated(unseen, "held out")
    device.save(out)
    validation = asdict(device.validation) if device.validation else None
    if json:
        print_json({"device": str(out), "validation": validation})
        return
    print_line(f"device: {out}")
    if device.validation is None:
        print_line("no whole networks were given, so how well it predicts them is not known")
        return
    found_validation = device.validation
    print_line(
        f"{found_validation.networks} networks, {found_validation.how}: "
        f"MAPE {found_validation.mape_pct:.1f}%, Spearman {found_validation.spearman:.3f}, "
        f"{found_validation.within_bounds_share:.0%} inside the 90% bounds"
    )


def chosen_rows(count: int, samples: int, seed: int) -> list[int]:
    """Which rows a calibration of so many samples sees."""
    import numpy as np

    return [int(row) for row in np.random.default_rng(seed).permutation(count)[:samples]]
