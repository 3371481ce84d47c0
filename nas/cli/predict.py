"""`nas predict`: latency with bounds."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from nas.cli import options
from nas.cli.output import print_json, print_line, print_table
from search_spaces.errors import InputError

if TYPE_CHECKING:
    from latency import Device, Prediction, Workload
    from nas.workload_summary import Costly
    from search_spaces import SearchSpace


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
        typer.Option(help="Input shapes of a torch --model, as 1,3,224,224 (several by ;)."),
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
    predictions = [chosen.predict(workload) for workload in workloads]
    if json:
        print_json({"predictions": [_plain(prediction) for prediction in predictions]})
        return
    print_table(
        [">row", ">latency ms", ">low", ">high"],
        (
            (row, f"{p.latency_ms:.4g}", f"{p.low_ms:.4g}", f"{p.high_ms:.4g}")
            for row, p in enumerate(predictions, start=1)
        ),
    )


def _workloads(
    device: "Device", architecture: Path | None, architectures: Path | None, space: str | None
) -> "Iterator[Workload]":
    from latency import from_choices
    from nas.costs import SpaceCosts, workload_of
    from search_spaces import TemporalSpace, load, read_table

    chosen: SearchSpace | None = load(space) if space else None
    if architecture is not None:
        chosen = chosen or load("moving_digits")
        found = [chosen.read_architecture(architecture)]
    else:
        assert architectures is not None
        table = read_table(architectures, chosen, measured=False)
        if table.of_blocks:
            raise InputError(f"{architectures}: holds blocks; --architectures wants networks")
        found = table.architectures
    if chosen is None:  # the device knows which of its columns were numbers; a few rows don't
        return (from_choices(str(a), list(a.items()), device.numeric) for a in found)
    costs = SpaceCosts(chosen) if isinstance(chosen, TemporalSpace) else None
    return (workload_of(chosen, each, costs) for each in found)


def _workload(model: str, shape: str | None) -> "Workload":
    """Of a Core ML package, read; of a torch module, traced, or found in the cache."""
    if model.endswith(".mlpackage"):
        if shape is not None:
            raise InputError(f"{model}: a package has its shapes; leave --shape out")
        from latency.package import read_package

        return read_package(Path(model))
    if shape is None:
        raise InputError(f"--model {model}: a torch module needs --shape, as 1,3,224,224")
    return _traced(model, shape)


def _traced(model: str, shape: str) -> "Workload":
    import torch

    from latency.cache import traced
    from search_spaces.loading import import_object

    function = import_object(model, "model")
    if not callable(function):
        raise InputError(f"model {model!r} is not callable")
    try:
        with torch.device("meta"):
            module = function()
    except Exception as error:  # whatever somebody's code raises
        raise InputError(f"model {model!r} raised {type(error).__name__}: {error}") from error
    if not isinstance(module, torch.nn.Module):
        raise InputError(f"model {model!r} returned a {type(module).__name__}, no torch module")
    number = next((p.dtype for p in module.parameters() if p.is_floating_point()), torch.float32)
    inputs = [torch.empty(sizes, dtype=number, device="meta") for sizes in _shapes(shape)]
    return traced(module, inputs, name=model)


def _shapes(shape: str) -> "Iterator[list[int]]":
    for text in shape.split(";"):
        try:
            sizes = [int(size) for size in text.split(",")]
        except ValueError:
            raise InputError(f"shape {text!r}: expected whole numbers as 1,3,224,224") from None
        if min(sizes) < 1:
            raise InputError(f"shape {text!r}: sizes are at least 1")
        yield sizes


def _print_model(device: "Device", workload: "Workload", *, json: bool) -> None:
    from nas.workload_summary import costliest, kinds

    prediction = device.predict(workload)
    memory_mb = device.memory_mb(workload)
    summary: dict[str, Any] = {
        "predictions": [_plain(prediction)],
        "workload": {
            "operations": len(workload.operations),
            "gflops": workload.flops / 1e9,
            "parameters": workload.weight_bytes // workload.number_bytes,
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
        f"{prediction.latency_ms:.4g} ms on {device.name} "
        f"({prediction.low_ms:.4g} to {prediction.high_ms:.4g} ms)"
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
        ["costliest operations", "shape", ">GFLOPs", ">MB", ">ms, about"],
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


def _sizes(shape: tuple[int, ...]) -> str:
    return " x ".join(map(str, shape))


def _ms(row: "Costly") -> str:
    return "-" if row.latency_ms is None else f"{row.latency_ms:.3g}"


def _plain(prediction: "Prediction") -> dict[str, float]:
    return {
        "latency_ms": prediction.latency_ms,
        "low_ms": prediction.low_ms,
        "high_ms": prediction.high_ms,
    }
