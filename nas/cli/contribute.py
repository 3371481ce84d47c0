"""`nas devices --contribute`: a device with its rows, for a pull request."""

from collections.abc import Sequence
from pathlib import Path

from nas.cli import tasks
from nas.cli.output import print_json, print_line
from search_spaces.files.errors import InputError


def contribute(
    file: Path,
    tables: Sequence[Path] | None,
    out: Path | None,
    *,
    space: str | None,
    task: str | None,
    build: str | None,
    shape: str | None,
    json: bool,
) -> None:
    """Write what a pull request needs of the device in a file."""
    from latency import read_device
    from latency.predictor.contribution import NETWORK
    from latency.predictor.contribution_files import save_contribution
    from nas.calibration.calibrating import read
    from nas.calibration.contributing import contribution
    from nas.costs.workloads import SpaceCosts, Workloads
    from search_spaces import TemporalSpace, load

    if not tables:
        raise InputError(
            "--contribute needs the tables that the device was calibrated on, as --from "
            "blocks.csv --from networks.csv: its file holds no rows"
        )
    if out is None:
        raise InputError(f"--contribute needs --out, the folder to write: --out {file.stem}")
    if out.exists():
        raise InputError(f"--out {out}: exists; choose another folder, or remove it")
    device = read_device(file)
    built = tasks.built_task(task, space=space, build=build, shape=shape)
    chosen = load(space) if space else None
    costs: Workloads | None = SpaceCosts(chosen) if isinstance(chosen, TemporalSpace) else None
    if built is not None:
        costs = built[1]
    given = read(tables, space, str(device.facts.get("column", "latency_ms")), built=built)
    found = contribution(device, given, costs, str(file))
    save_contribution(found, out)
    networks = sum(row.of == NETWORK for row in found.rows)
    if json:
        print_json(
            {
                "contribution": str(out),
                "rows": len(found.rows),
                "networks": networks,
                "machine": vars(found.machine),
            }
        )
        return
    print_line(f"{len(found.rows)} rows, {networks} of them whole networks: {out}")
    for name, text in vars(found.machine).items():
        print_line(f"{name}: {text}")
    print_line("look at every file before you publish it; where it goes: latency/devices/README.md")
