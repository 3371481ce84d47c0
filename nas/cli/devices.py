"""`nas devices`: the devices that there are, and how far to trust each."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from nas.cli import contribute as contribution
from nas.cli import options, tasks
from nas.cli.output import print_json, print_line, print_table
from search_spaces.files.errors import InputError

if TYPE_CHECKING:
    from latency import Device

HOST_STATUS = "this machine: measured by each search"


def devices(
    device: Annotated[
        str | None, typer.Argument(help="Show this device: a shipped name, or a JSON file.")
    ] = None,
    contribute: Annotated[
        Path | None,
        typer.Option(
            help="A device's JSON file, of nas calibrate: write a folder for a pull request to the "
            "project: its rows and the facts of the machine, and nothing that names it or you."
        ),
    ] = None,
    tables: Annotated[
        list[Path] | None,
        typer.Option("--from", help="Of --contribute: a table that it was calibrated on."),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(help="Of --contribute: the folder.", callback=options.checked_folder),
    ] = None,
    space: options.MaybeSpace = None,
    task: tasks.Task = None,
    build: tasks.Build = None,
    shape: tasks.Shape = None,
    json: options.AsJson = False,
) -> None:
    """List the shipped devices, with how far to trust them; or show one device and its costs.

    With --contribute, write what a pull request needs of a device of your own.
    """
    from latency import load_device, shipped
    from nas.calibration.validated import status, trust

    if contribute is not None:
        if device is not None:
            raise InputError(f"{device}: --contribute names its device itself; leave this out")
        contribution.contribute(
            contribute, tables, out, space=space, task=task, build=build, shape=shape, json=json
        )
        return
    alone = {"--from": tables, "--out": out, "--space": space, "--task": task, "--build": build}
    for flag, given in {**alone, "--shape": shape}.items():
        if given:
            raise InputError(f"{flag} goes with --contribute DEVICE.json")
    if device is not None:
        _one(load_device(device), json=json)
        return
    found = [load_device(name) for name in shipped()]
    if json:
        host = {"name": "host", "status": HOST_STATUS, "validation": None}
        print_json({"devices": [host, *map(_plain, found)]})
        return
    rows = [(each.name, each.facts.get("soc", ""), status(each), trust(each)) for each in found]
    print_table(
        ["device", "chip", "how it came about", "error on networks left out"],
        [("host", "", HOST_STATUS, ""), *rows],
    )
    print_line(
        "One of them: nas devices NAME. A device of your own: nas profile, nas calibrate, then "
        "--device FILE.json"
    )


def _plain(device: "Device") -> dict[str, Any]:
    from dataclasses import asdict

    from nas.calibration.validated import status

    return {
        "name": device.name,
        "status": status(device),
        "memory_limit_mb": device.memory_limit_mb,
        "facts": device.facts,
        "validation": asdict(device.validation) if device.validation else None,
        "bounds": _bounds(device),
    }


def _bounds(device: "Device") -> dict[str, float] | None:
    """What bounds hold beside the costs of work, as factors; None where nothing is told apart."""
    costs = None if device.model.networks else device.analytical
    drift = {"drift": device.drift.factor} if device.drift else {}
    return {**(costs.error_factors if costs else {}), **drift} or None


def _one(device: "Device", *, json: bool) -> None:
    if json:
        print_json({**_plain(device), "measurements": device.to_json()["measurements"]})
        return
    from nas.calibration.validated import drifting, status, trust

    print_line(f"{device.name}: {status(device)}; {trust(device)}")
    for name, value in device.facts.items():
        if isinstance(value, str) and name != "status":
            print_line(f"{name}: {value}")
    if device.memory_limit_mb is not None:
        print_line(f"memory limit: {device.memory_limit_mb:g} MB of weights and activations")
    if bounds := _bounds(device):
        listed = "; ".join(f"{name} x{factor:.2f}" for name, factor in bounds.items())
        print_line(f"90% bounds: {listed}{_and_costs(device)}")
    if said := drifting(device):
        print_line(f"drift: {said}")
    if device.analytical is not None:
        _print_costs(device)
    for source in device.facts.get("sources", ()):
        print_line(f"source: {source}")


def _and_costs(device: "Device") -> str:
    if device.analytical is None or device.model.networks:
        return "; and what the fit leaves open"
    return "; costs as below, by how much of each a network is"


def _print_costs(device: "Device") -> None:
    """What work of each kind costs, how surely, and where that is known from."""
    import math

    from latency.cost_model.work_amounts import UNITS

    assert device.analytical is not None
    costs = device.analytical.posterior
    origin = device.facts.get("origin", {})
    rows = []
    for (kind, unit), median in zip(UNITS.items(), costs.medians, strict=True):
        factor = math.exp(1.645 * costs.spreads[kind])
        known = origin.get(kind, "measured or guessed: see the bounds")
        low, high = median / factor, median * factor
        rows.append((kind, f"{median:.3g}", f"{low:.3g} to {high:.3g}", unit, known))
    print_table(["work", ">ms a unit", ">90% bounds", "unit", "known from"], rows)
