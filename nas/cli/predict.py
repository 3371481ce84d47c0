"""`nas predict`: latency with bounds."""

import sys
from contextlib import redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from nas.cli import options, tasks
from nas.cli.contents import TABLES
from nas.cli.output import print_json, print_line, print_note, print_table
from search_spaces.files.errors import InputError

if TYPE_CHECKING:
    from latency import Device, Prediction, Workload
    from nas.costs.networks import Networks
    from nas.report.workload_summary import Costly

MOST_LISTED = 5


def predict(
    device: options.Device,
    architecture: Annotated[Path | None, typer.Option(help="An architecture file.")] = None,
    architectures: Annotated[Path | None, typer.Option(help="A table of architectures.")] = None,
    model: Annotated[
        str | None,
        typer.Option(help="A .mlpackage, or package.module:function that returns a torch module."),
    ] = None,
    shape: Annotated[
        str | None,
        typer.Option(
            help="Inputs of a torch --model or --build, as 1,3,224,224, with a type as 1,77:int64, "
            "with a name as mask=1,77:bool; several by ;."
        ),
    ] = None,
    space: options.MaybeSpace = None,
    task: tasks.Task = None,
    build: tasks.Build = None,
    out: Annotated[
        Path | None, typer.Option(help="A table of the predictions to write (CSV).")
    ] = None,
    json: options.AsJson = False,
) -> None:
    """Predict the latency of architectures or of any network, with 90% bounds."""
    from latency import load_device
    from nas.costs.networks import read_architecture, read_architectures, read_model
    from search_spaces import load

    given = [value for value in (architecture, architectures, model) if value is not None]
    if len(given) != 1:
        raise InputError("give one of --architecture, --architectures and --model")
    if shape is not None and model is None and build is None:
        raise InputError("--shape is of a --model, or of a --build; give both")
    if out is not None and model is not None:
        raise InputError("--out is a table of --architectures; leave it out, or print --json")
    if out is not None:
        _check_out(out, device, architecture, architectures)
    chosen = load_device(device)
    if model is not None:
        with redirect_stdout(sys.stderr):  # what the network prints is no result
            workload = read_model(model, shape)
        if not workload.operations:
            raise InputError(f"{model}: runs no operation, so there is nothing to predict")
        _print_model(chosen, workload, json=json)
        return
    within, traces = load(space) if space else None, None
    if (built := tasks.built_task(task, space=space, build=build, shape=shape)) is not None:
        within, traces = built
    if architecture is not None:
        networks = read_architecture(architecture, chosen, within, traces)
    else:
        assert architectures is not None
        networks = read_architectures(architectures, chosen, within, traces)
    _print_networks(chosen, networks, out, json=json)


def _check_out(out: Path, device: str, *inputs: Path | None) -> None:
    """Refuse to write predictions over what they come from, or under another kind's name."""
    if not out.name.endswith(TABLES):
        raise InputError(f"--out {out}: is a table; call it {out.stem}.csv")
    if out.resolve() in {each.resolve() for each in (Path(device), *inputs) if each is not None}:
        raise InputError(f"--out {out}: would be written over what is read; name another file")


def _print_networks(
    device: "Device", networks: "Networks", out: Path | None, *, json: bool
) -> None:
    from nas.tables import columns_in_json, columns_in_words, write_rows

    predictions = device.predict_all(networks.workloads)
    if unmeasured := device.unmeasured_options(networks.workloads):
        listed = ", ".join(unmeasured[:MOST_LISTED]) + (" ..." if unmeasured[MOST_LISTED:] else "")
        print_note(f"{device.name} never measured {listed}: check the spelling, or expect errors")
    if out is not None:
        write_rows(out, networks.predicted(predictions, device.unit.lower()))
    if json:
        found: dict[str, Any] = {"predictions": [_plain(each, device) for each in predictions]}
        if networks.table is not None:
            found["columns"] = columns_in_json(networks.table)
        print_json(found)
        return
    if networks.table is not None:  # the device, or the space, has decided what is a choice
        print_note(columns_in_words(networks.table)[0])
    if out is not None:
        least, most = (f(p.latency_ms for p in predictions) for f in (min, max))
        span = f"{least:.4g} to {most:.4g} {device.unit}"
        print_line(f"{len(predictions)} networks, {span} on {device.name}: {out}")
        return
    ids = networks.ids
    columns = [">row", *(["id"] if ids else []), f">{_what(device)} {device.unit}", ">low", ">high"]
    rows = []
    for index, p in enumerate(predictions):
        named = [ids[index]] if ids else []
        times = (f"{ms:.4g}" for ms in (p.latency_ms, p.low_ms, p.high_ms))
        rows.append((networks.first_row + index, *named, *times))
    print_table(columns, rows)


def _parts_of_bounds(device: "Device", workload: "Workload") -> dict[str, float] | None:
    """What of a prediction's 90% bounds is what, as factors; None where it is not told apart."""
    spread = device.spread(workload)
    drift = {"drift": device.drift.factor} if device.drift else {}
    return {**(spread.factors if spread else {}), **drift} or None


def _print_model(device: "Device", workload: "Workload", *, json: bool) -> None:
    from nas.report.workload_summary import costliest, kinds

    prediction = device.predict(workload)
    memory_mb = device.memory_mb(workload)
    summary: dict[str, Any] = {
        "predictions": [_plain(prediction, device)],
        "bounds": _parts_of_bounds(device, workload),
        "workload": {
            "operations": len(workload.operations),
            "gflops": workload.flops / 1e9,
            "parameters": workload.parameters,
            "weights_mb": workload.weight_bytes / 1e6,
            "peak_activations_mb": workload.peak_bytes / 1e6,
            "memory_mb": memory_mb,
            "memory_limit_mb": device.memory_limit_mb,
            "kinds": [vars(kind) for kind in kinds(workload)],
            "costliest": [vars(row) for row in costliest(device, workload)],
        },
    }
    if json:
        print_json(summary)
        return
    print_line(
        f"{prediction.latency_ms:.4g} {device.unit} on {device.name} "
        f"({prediction.low_ms:.4g} to {prediction.high_ms:.4g} {device.unit})"
    )
    if bounds := summary["bounds"]:
        listed = ", ".join(f"{name} x{factor:.2f}" for name, factor in bounds.items())
        print_line(f"90% bounds: {listed}")
    limit = device.memory_limit_mb
    fits = "" if limit is None else ", fits in " if memory_mb <= limit else ", DOES NOT FIT in "
    print_line(
        f"{len(workload.operations)} operations, {workload.flops / 1e9:.4g} GFLOPs, "
        f"{summary['workload']['parameters']:,} parameters; {memory_mb:.4g} MB of weights and peak "
        f"activations there{fits}{'' if limit is None else f'{limit:g} MB'}"
    )
    print_table(
        ["kind", ">count", ">GFLOPs", ">traffic MB"],
        ((k.kind, int(k.count), f"{k.gflops:.4g}", f"{k.traffic_mb:.4g}") for k in kinds(workload)),
    )
    print_table(
        ["costliest operations", "shape", ">GFLOPs", ">MB", f">{device.unit}, about"],
        (
            (
                c.kind,
                " x ".join(map(str, c.shape)),
                f"{c.gflops:.4g}",
                f"{c.traffic_mb:.4g}",
                _ms(c),
            )
            for c in costliest(device, workload)
        ),
    )


def _ms(row: "Costly") -> str:
    return "-" if row.latency_ms is None else f"{row.latency_ms:.3g}"


def _what(device: "Device") -> str:
    return "energy" if device.unit == "mJ" else "latency"


def _plain(prediction: "Prediction", device: "Device") -> dict[str, float]:
    unit = device.unit.lower()
    return {
        f"{_what(device)}_{unit}": prediction.latency_ms,
        f"low_{unit}": prediction.low_ms,
        f"high_{unit}": prediction.high_ms,
    }
