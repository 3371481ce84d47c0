"""The bundle of a task's network."""

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from nas.bundle.programs import export_network_program
from nas.bundle.writing import write_network_bundle
from nas.task.networks import called_by_place, example_inputs, network_of, shapes_of
from nas.task.task import Task
from search_spaces import Architecture, InputError
from temporal_bundle import BundleError, NetworkInput
from temporal_bundle.manifest import NETWORK
from temporal_bundle.program_archive import open_program


@dataclass(frozen=True)
class Made:
    """What a bundle holds of a network: it was opened once, as a reader opens it."""

    program: bytes
    weights: dict[str, Tensor]
    inputs: tuple[NetworkInput, ...]


def made_of(task: Task, architecture: Architecture) -> Made:
    """Build and export one of a task's networks.

    Raises:
        InputError: it cannot be built, torch.export cannot take it, or no reader would.
    """
    module = called_by_place(task, network_of(task, architecture))
    tensors = example_inputs(task, module)
    program = export_network_program(module, tensors)
    _check(program)
    inputs = tuple(
        NetworkInput(
            shape.name or f"input_{place}", tuple(x.shape), str(x.dtype).removeprefix("torch.")
        )
        for place, (shape, x) in enumerate(zip(shapes_of(task), tensors, strict=True))
    )
    # Tied weights stand under each of their names: a file of tensors knows no ties.
    weights = {name: tensor.detach().clone() for name, tensor in module.state_dict().items()}
    return Made(program, weights, inputs)


def write_task_bundle(
    path: Path,
    made: Made,
    architecture: Architecture,
    latency: dict[str, Any],
    report_html: str,
    study: dict[str, Any],
) -> None:
    """Write the bundle of one of a task's networks."""
    write_network_bundle(
        path, made.weights, architecture, made.program, made.inputs, latency, study, report_html
    )


def _check(program: bytes) -> None:
    """Open a program as a reader does, who takes functions of tensors and nothing else."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / NETWORK
        file.write_bytes(program)
        try:
            open_program(file, "cpu")
        except BundleError as error:
            raise InputError(str(error).replace(f"{file}: ", "its program ", 1)) from None
