"""`nas costs` of a task of one's own: what its networks cost, and what each option adds."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from nas.cli.output import print_json, print_line, print_table
from search_spaces.files.errors import InputError

if TYPE_CHECKING:
    from nas.costs.limits import Limits
    from nas.task.task import Task
    from search_spaces import Architecture, SearchSpace

SHOWN = {"latency_ms": "ms a call", "parameters_count": "parameters", "memory_mb": "MB"}
SHOWN |= {"flops_count": "FLOPs"}


def print_costs(task: "Task", device: str, out: Path | None, *, json: bool) -> None:
    """Say what the networks of a task cost on a device, from the cheapest to the dearest."""
    from nas.costs.extremes import looked_at
    from nas.costs.limits import Budget
    from nas.costs.resolve import resolve
    from nas.progress import Progress
    from nas.run.settings import SearchSettings
    from nas.task.pricing import priced

    pricing = priced(task, SearchSettings(device=device))
    progress = Progress()
    if (traces := pricing.traces) is not None:
        with progress.stage("trace networks", len(traces.first)) as advance:
            traces.begin(advance)
    costs = pricing.costs(pricing.main, progress)
    limits = resolve(Budget(latency=None, steps=1), *costs, sized=pricing.sized())
    networks = list(looked_at(task.space))
    if traces is not None:
        networks = traces.fitted  # what was traced is not guessed
    ranges, rows = _ranges(limits, networks), _rows(limits, task.space, networks)
    if out is not None:
        from nas.tables import write_rows

        write_rows(out, rows)
    if json:
        print_json({"device": device, "networks": ranges, "options": rows})
        return
    print_line(f"{task.space.name}: {task.space.size:,} networks; over {len(networks)} of them:")
    print_table(
        ["", ">least", ">median", ">most"],
        [
            (SHOWN[n], *(f"{each[k]:,.4g}" for k in ("least", "median", "most")))
            for n, each in ranges.items()
        ],
    )
    names = list(ranges)
    print_table(
        ["choice", "option", *(f">{SHOWN[name]}, mean" for name in names)],
        [
            (row["choice"], row["option"], *(f"{row[f'mean_{n}']:,.4g}" for n in names))
            for row in rows
        ],
    )
    if out is not None:
        print_line(f"every option: {out}")


def _ranges(limits: "Limits", networks: "Sequence[Architecture]") -> dict[str, dict[str, float]]:
    found = {name: meter(networks) for name, meter in limits.meters.items()}
    return {
        name: {
            "least": float(values.min()),
            "median": float(np.median(values)),
            "most": float(values.max()),
        }
        for name, values in found.items()
    }


def _rows(
    limits: "Limits", space: "SearchSpace", networks: "Sequence[Architecture]"
) -> list[dict[str, Any]]:
    """A row for each option: the mean of the networks that have it."""
    found = {name: meter(networks) for name, meter in limits.meters.items()}
    rows = []
    for choice in space.choices:
        for option in getattr(choice, "options", ()):
            held = np.array([each.get(choice.name) == option for each in networks])
            if held.any():
                means = {f"mean_{name}": float(v[held].mean()) for name, v in found.items()}
                row = {"choice": choice.name, "option": option, "networks": int(held.sum())}
                rows.append(row | means)
    if not rows:
        raise InputError(f"space {space.name!r} has no options to tell apart: numbers alone")
    return rows
