"""Torch modules to Core ML packages, on Linux as on a Mac."""

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from latency.quiet import import_coremltools


def convert(module: nn.Module, inputs: Sequence[Tensor], target: str = "iOS18") -> Any:
    """A Core ML model (coremltools' MLModel) of a module at the shapes of `inputs`, in float16.

    `target` is coremltools' name of the oldest system to run on (iOS16, iOS17, iOS18).
    Inputs are named input_0, input_1, ...; save the result with `.save(path)`.
    """
    coremltools = import_coremltools()
    program = torch.export.export(module.eval(), tuple(inputs)).run_decompositions({})
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return coremltools.convert(
            program,
            inputs=[
                coremltools.TensorType(f"input_{i}", tuple(x.shape), dtype=np.float16)
                for i, x in enumerate(inputs)
            ],
            outputs=[coremltools.TensorType(dtype=np.float16)],
            minimum_deployment_target=getattr(coremltools.target, target),
            compute_precision=coremltools.precision.FLOAT16,
            skip_model_load=True,
        )


def save(module: nn.Module, inputs: Sequence[Tensor], path: Path, target: str = "iOS18") -> None:
    """Convert a module and save it as an .mlpackage."""
    convert(module, inputs, target).save(str(path))
