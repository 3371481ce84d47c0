"""The bundle of a task's network."""

from pathlib import Path
from typing import Any

from nas.bundle.programs import export_network_program
from nas.bundle.writing import write_network_bundle
from nas.task.networks import called_by_place, example_inputs, network_of, shapes_of
from nas.task.task import Task
from search_spaces import Architecture
from temporal_bundle import NetworkInput


def write_task_bundle(
    path: Path,
    task: Task,
    architecture: Architecture,
    latency: dict[str, Any],
    report_html: str,
    study: dict[str, Any],
) -> None:
    """Write the bundle of one of a task's networks.

    Raises:
        InputError: it cannot be built, or torch.export cannot take it.
    """
    module = called_by_place(task, network_of(task, architecture))
    tensors = example_inputs(task, module)
    program = export_network_program(module, tensors)
    inputs = [
        NetworkInput(
            shape.name or f"input_{place}", tuple(x.shape), str(x.dtype).removeprefix("torch.")
        )
        for place, (shape, x) in enumerate(zip(shapes_of(task), tensors, strict=True))
    ]
    weights = {name: tensor.detach() for name, tensor in module.state_dict().items()}
    write_network_bundle(path, weights, architecture, program, inputs, latency, study, report_html)
