"""`nas costs`: what every block of a space costs on a device, before anything is trained."""

import math
from pathlib import Path
from typing import Annotated, Any

import typer

from nas.cli import options, tasks
from nas.cli.costs_of_task import print_costs
from nas.cli.output import print_json, print_line, print_note, print_table
from search_spaces.files.errors import InputError


def costs(
    device: options.Device,
    space: options.MaybeSpace = None,
    task: tasks.Task = None,
    build: tasks.Build = None,
    shape: tasks.Shape = None,
    memory_mb: Annotated[
        float | None, typer.Option(help="Budget: weights and activations; default: the device's.")
    ] = None,
    part: options.Parts = None,
    steps: Annotated[
        int, typer.Option(min=1, help="How often a pipeline with --part runs the network.")
    ] = 4,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out", help="A table of all blocks to write (CSV).", callback=options.checked_file
        ),
    ] = None,
    json: options.AsJson = False,
) -> None:
    """Say what blocks, or a task's networks, cost on a device: latency, parameters, memory."""
    from latency.predictor.shipped import load_device
    from nas.calibration.validated import status, trust
    from nas.cli.costs_of_pipeline import pipeline_of, print_pipeline
    from nas.costs.block_costs import BlockCosts
    from nas.costs.workloads import SpaceCosts
    from nas.progress import Progress
    from nas.tables import write_rows
    from search_spaces.shipped.loading import load_temporal

    own = tasks.priced_task(task, space=space, build=build, shape=shape)
    _check(memory_mb, out, device)
    if own is not None:
        if part:
            raise InputError("--part is of a pipeline of clips, and this space has none; leave it")
        if memory_mb is not None:
            raise InputError("--memory-mb excludes blocks, and this space has none; leave it out")
        print_costs(own, device, out, json=json)
        return
    found, known = load_temporal(space or "moving_digits"), load_device(device)
    space_costs = SpaceCosts(found)
    with Progress().stage("trace the blocks", len(space_costs.pieces)) as advance:
        space_costs.trace_all(advance)
    every = BlockCosts(space_costs, known)
    whole = pipeline_of(every, part, steps, memory_mb) if part else None
    limit_mb = known.memory_limit_mb if memory_mb is None else memory_mb
    excluded = set() if limit_mb is None else set(every.too_large(limit_mb))
    rows = [
        {**row, "notes": "out of memory" if f"{row['slot']}={row['option']}" in excluded else ""}
        for row in every.block_rows()
    ]
    if out is not None:
        write_rows(out, rows)
    if json:
        image = {"latency_ms": every.image_ms, "parameters": every.table.image_parameters}
        image["memory_mb"] = every.table.image_mb
        print_json({"device": known.name, "image": image, "pipeline": whole, "blocks": rows})
        return
    print_line(f"{known.name}: {status(known)}; {trust(known)}")
    print_line(
        f"image U-Net of {found.name}: {every.image_ms:.4g} ms a call, "
        f"{every.table.image_parameters:,} parameters, {every.table.image_mb:.0f} MB"
    )
    print_table(
        ["slot", ">blocks", ">out of memory", "cheapest", ">ms", "dearest that fits", ">ms"],
        [_slot_row(slot.name, rows) for slot in found.slots],
    )
    if limit_mb is None:
        print_note(f"{known.name} names no memory limit, so nothing is excluded: --memory-mb")
    elif excluded:
        print_line(f"excluded, as they pass {limit_mb:g} MB: {', '.join(sorted(excluded))}")
    if whole is not None:
        print_pipeline(whole)
    if out is not None:
        print_line(f"every block: {out}")


def _check(memory_mb: float | None, out: Path | None, device: str) -> None:
    from latency.predictor.shipped import HOST

    if memory_mb is not None and not 0 < memory_mb < math.inf:
        raise InputError(f"--memory-mb {memory_mb:g}: give a finite number above 0")
    if out is not None and out.exists():
        raise InputError(f"{out}: exists; choose another file for --out, or remove it")
    if device == HOST:
        raise InputError("host has no costs before it is measured; nas profile, nas calibrate")


def _slot_row(name: str, rows: list[dict[str, Any]]) -> tuple[object, ...]:
    """A slot in short."""
    there = [row for row in rows if row["slot"] == name]
    fits = [row for row in there if not row["notes"]] or there
    low, high = (pick(fits, key=lambda row: row["predicted_ms"]) for pick in (min, max))
    out_of_memory = sum(bool(row["notes"]) for row in there)
    return (
        *(name, len(there), out_of_memory),
        *(low["option"], f"{low['predicted_ms']:.3g}"),
        *(high["option"], f"{high['predicted_ms']:.3g}"),
    )
