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
    from search_spaces import SearchSpace


def predict(
    device: options.Device,
    architecture: Annotated[Path | None, typer.Option(help="An architecture file.")] = None,
    architectures: Annotated[Path | None, typer.Option(help="A table of architectures.")] = None,
    model: Annotated[
        str | None, typer.Option(help="package.module:function that returns a torch module.")
    ] = None,
    shape: Annotated[
        str | None, typer.Option(help="Input shapes of --model, as 1,3,224,224 (several by ;).")
    ] = None,
    space: options.MaybeSpace = None,
    json: options.AsJson = False,
) -> None:
    """Predict the latency of architectures, or of any torch module, with 90% bounds."""
    from latency import load_device

    given = [value for value in (architecture, architectures, model) if value is not None]
    if len(given) != 1:
        raise InputError("give one of --architecture, --architectures and --model")
    if (shape is None) != (model is None):
        raise InputError("--model and --shape go together")
    chosen = load_device(device)
    if model is not None:
        assert shape is not None
        _print_model(chosen, _traced(model, shape), json=json)
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


def _traced(model: str, shape: str) -> "Workload":
    import torch

    from latency.tracing import trace
    from search_spaces.loading import import_object

    if model.endswith(".mlpackage"):
        raise InputError(
            f"{model}: this version traces torch modules; give package.module:function"
        )
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
    inputs = []
    for text in shape.split(";"):
        try:
            sizes = [int(size) for size in text.split(",")]
        except ValueError:
            raise InputError(f"shape {text!r}: expected whole numbers as 1,3,224,224") from None
        if min(sizes) < 1:
            raise InputError(f"shape {text!r}: sizes are at least 1")
        inputs.append(torch.empty(sizes, device="meta"))
    return trace(module, *inputs, name=model)


def _print_model(device: "Device", workload: "Workload", *, json: bool) -> None:
    prediction = device.predict(workload)
    per_kind: dict[str, list[float]] = {}
    for operation in workload.operations:
        row = per_kind.setdefault(operation.kind, [0, 0.0, 0.0])
        row[0] += 1
        row[1] += operation.flops / 1e9
        row[2] += (operation.bytes_moved + operation.weight_bytes) / 1e6
    summary: dict[str, Any] = {
        "predictions": [_plain(prediction)],
        "workload": {
            "operations": len(workload.operations),
            "gflops": workload.flops / 1e9,
            "weights_mb": workload.weight_bytes / 1e6,
            "peak_activations_mb": workload.peak_bytes / 1e6,
            "kinds": {
                kind: {"count": count, "gflops": gflops, "traffic_mb": traffic_mb}
                for kind, (count, gflops, traffic_mb) in per_kind.items()
            },
        },
    }
    if json:
        print_json(summary)
        return
    print_line(
        f"{prediction.latency_ms:.4g} ms on {device.name} "
        f"({prediction.low_ms:.4g} to {prediction.high_ms:.4g} ms)"
    )
    print_line(
        f"{len(workload.operations)} operations, {workload.flops / 1e9:.4g} GFLOPs, "
        f"{workload.weight_bytes / 1e6:.4g} MB of weights, "
        f"at most {workload.peak_bytes / 1e6:.4g} MB of activations"
    )
    costliest = sorted(per_kind.items(), key=lambda item: -item[1][2])
    print_table(
        ["kind", ">count", ">GFLOPs", ">traffic MB"],
        ((kind, int(n), f"{g:.4g}", f"{mb:.4g}") for kind, (n, g, mb) in costliest),
    )


def _plain(prediction: "Prediction") -> dict[str, float]:
    return {
        "latency_ms": prediction.latency_ms,
        "low_ms": prediction.low_ms,
        "high_ms": prediction.high_ms,
    }
