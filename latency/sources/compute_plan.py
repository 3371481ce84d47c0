"""Core ML compute plans: where each operation would run. A static model's estimate, no measurement.

A row of a plan holds shares and counts and no latency; calibrating needs times beside it.
"""

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from latency.sources import apple
from latency.sources.placement import Placement
from search_spaces import InputError

# coremltools' classes of compute devices -> how tables spell them
DEVICES = {
    "MLNeuralEngineComputeDevice": "ne",
    "MLGPUComputeDevice": "gpu",
    "MLCPUComputeDevice": "cpu",
}
SPELLINGS = tuple(DEVICES.values())


def placement(plan: Any) -> Placement:
    """The placement of an `MLComputePlan` of coremltools."""
    costs, kinds = [], []
    program = plan.model_structure.program
    if program is None:
        raise InputError("is no ML program; convert the network for iOS 15 or later")
    for operation in _operations(program):
        kinds.append(operation.operator_name)
        cost = plan.get_estimated_cost_for_mlprogram_operation(operation)
        usage = plan.get_compute_device_usage_for_mlprogram_operation(operation)
        if cost is not None and usage is not None:
            costs.append((spelled(usage.preferred_compute_device), float(cost.weight)))
    return Placement.of(costs, kinds)


def spelled(device: Any) -> str:
    """The spelling of a compute device of coremltools."""
    return DEVICES[type(device).__name__]


def read_plan(
    path: Path, compute_units: str = "all", toolkit: "apple.Toolkit | None" = None
) -> list[dict[str, Any]]:
    """The row of a model (.mlmodelc, or .mlpackage) by its compute plan on this Mac.

    Raises:
        InputError: no such model; it is no ML program; this is no Mac.
    """
    if not path.is_dir():
        raise InputError(f"{path}: no such folder; a model is an .mlmodelc or an .mlpackage folder")
    toolkit = toolkit or apple.toolkit(f"reading the compute plan of {path.name}")
    units = apple.units_of(toolkit, compute_units)
    with tempfile.TemporaryDirectory() as folder:
        try:
            compiled = str(path)
            if path.suffix == ".mlpackage":
                compiled = toolkit.compile_model(compiled, str(Path(folder) / "model.mlmodelc"))
            found = placement(toolkit.ComputePlan.load_from_path(compiled, units))
        except InputError as error:
            raise InputError(f"{path}: {error}") from error
        except Exception as error:  # whatever Core ML raises of a damaged model
            raise InputError(f"{path}: Core ML cannot plan it: {apple.reason(error)}") from error
    shares = {f"{name}_pct": round(100 * found.shares.get(name, 0.0), 2) for name in SPELLINGS}
    return [
        {
            "id": path.stem,
            "operations_count": sum(found.operations.values()),
            **shares,
            **apple.mac_facts(),
            "compute_unit": compute_units,
            "source": "Core ML compute plan",
            "notes": found.text,
        }
    ]


def _operations(program: Any) -> Iterator[Any]:
    """Every operation of every function, those in the branches of others too."""
    blocks = [function.block for function in program.functions.values()]
    while blocks:
        for operation in blocks.pop().operations:
            yield operation
            blocks += operation.blocks
