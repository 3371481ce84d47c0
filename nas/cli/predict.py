"""`nas predict`: latency with bounds."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from nas.cli import options
from nas.cli.output import print_json, print_line, print_note, print_table
from search_spaces.files.errors import InputError

if TYPE_CHECKING:
    from latency import Device, Prediction, Workload
    from nas.report.workload_summary import Costly
    from search_spaces import SearchSpace


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
            help="Inputs of a torch --model, as 1,3,224,224, with a type as 1,77:int64, with a "
            "name as mask=1,77:bool; several by ;."
        ),
    ] = None,
    space: options.MaybeSpace = None,
    json: options.AsJson = False,
) -> None:
    """Predict the latency of architectures or of any network, with 90% bounds."""
    from latency import load_device

    given = [value for value in (architecture, architectures, model) if value is not None]
    if len(given) != 1:
        raise InputError("give one of --architecture, --architectures and --model")
    if shape is not None and model is None:
        raise InputError("--shape is of a --model; give both")
    chosen = load_device(device)
    if model is not None:
        _print_model(chosen, _workload(model, shape), json=json)
        return
    workloads = _workloads(chosen, architecture, architectures, space)
    predictions = chosen.predict_all(workloads)
    if unmeasured := chosen.unmeasured_options(workloads):
        listed = ", ".join(unmeasured[:MOST_LISTED]) + (" ..." if unmeasured[MOST_LISTED:] else "")
        print_note(f"{chosen.name} never measured {listed}: check the spelling, or expect errors")
    if json:
        print_json({"predictions": [_plain(prediction, chosen) for prediction in predictions]})
        return
    print_table(
        [">row", f">{_what(chosen)} {chosen.unit}", ">low", ">high"],
        (
            (row, f"{p.latency_ms:.4g}", f"{p.low_ms:.4g}", f"{p.high_ms:.4g}")
            for row, p in enumerate(predictions, start=1)
        ),
    )


def _workloads(
    device: "Device", architecture: Path | None, architectures: Path | None, space: str | None
) -> "list[Workload]":
    from nas.costs.workloads import SpaceCosts, workload_of
    from search_spaces import TemporalSpace, load, read_table

    chosen: SearchSpace | None = load(space) if space else None
    if chosen is None and device.choices:  # of a table; the device knows its columns
        if architecture is not None:
            return [_of_file(device, architecture)]
        assert architectures is not None
        return _of_table(device, architectures)
    if architecture is not None:
        chosen = chosen or load("moving_digits")
        found = [chosen.read_architecture(architecture)]
    else:
        assert architectures is not None
        if chosen is None:
            raise InputError(
                f"{architectures}: device {device.name!r} knows no table's choices; give the "
                "--space that the networks are of"
            )
        table = read_table(architectures, chosen, measured=False)
        if table.of_blocks:
            raise InputError(f"{architectures}: holds blocks; --architectures wants networks")
        found = table.architectures
    costs = SpaceCosts(chosen) if isinstance(chosen, TemporalSpace) else None
    return [workload_of(chosen, each, costs) for each in found]


def _of_file(device: "Device", path: Path) -> "Workload":
    """An architecture whose choices are the device's own."""
    from search_spaces.files import document
    from search_spaces.space.architecture import FORMAT, MAJOR, choices_of

    decided = choices_of(document.read(path, FORMAT, MAJOR), str(path))
    return _tabular(device, decided, str(path))


def _of_table(device: "Device", path: Path) -> "list[Workload]":
    """The rows of a table whose columns are the device's own choices."""
    from search_spaces import read_table

    table = read_table(path, measured=False, choice_columns=device.choices)
    columns = list(table.choices.columns)
    _check_choices(device, columns, str(path))
    if missing := [name for name in device.choices if name not in columns]:
        raise InputError(
            f"{path}: has no column {missing[0]!r}, a choice that device {device.name!r} was "
            "calibrated on; add it, empty where it doesn't matter"
        )
    return [
        _tabular(device, decided, f"{path}, row {row}")
        for row, decided in enumerate(table.decisions, start=2)
    ]


def _check_choices(device: "Device", names: "Iterable[str]", where: str) -> None:
    for name in names:
        if name not in device.choices:
            raise InputError(
                f"{where}: device {device.name!r} knows nothing of {name!r}; it knows "
                f"{', '.join(device.choices)}"
            )


def _tabular(device: "Device", decided: "Mapping[str, object]", where: str) -> "Workload":
    """One network by what it decides, numbers as the device was calibrated on them."""
    from latency import from_choices

    _check_choices(device, decided, where)
    for name, option in decided.items():
        if not isinstance(option, (str, int, float)):
            raise InputError(f"{where}: choice {name!r} is {option!r}, no string or number")
    for name in device.numeric:
        if isinstance(decided.get(name, 0), (str, bool)):
            raise InputError(f"{where}, column {name!r}: {decided[name]!r} is not a number")
    if not decided:
        raise InputError(f"{where}: decides nothing; fill the columns {', '.join(device.choices)}")
    spelled = " ".join(f"{name}={option}" for name, option in decided.items())
    return from_choices(spelled, list(decided.items()), device.numeric)


def _workload(model: str, shape: str | None) -> "Workload":
    """Of a Core ML package, read; of a torch module, traced, or found in the cache."""
    if model.endswith(".mlpackage"):
        if shape is not None:
            raise InputError(f"{model}: a package has its shapes; leave --shape out")
        from latency.coreml.package import read_package

        return read_package(Path(model))
    if shape is None:
        raise InputError(f"--model {model}: a torch module needs --shape, as 1,3,224,224")
    return _traced(model, shape)


def _traced(model: str, shape: str) -> "Workload":
    from latency.tracing.building import input_shapes, trace_built
    from search_spaces.shipped.loading import import_object

    return trace_built(import_object(model, "model"), input_shapes(shape), model)


def _print_model(device: "Device", workload: "Workload", *, json: bool) -> None:
    from nas.report.workload_summary import costliest, kinds

    prediction = device.predict(workload)
    memory_mb = device.memory_mb(workload)
    summary: dict[str, Any] = {
        "predictions": [_plain(prediction, device)],
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
