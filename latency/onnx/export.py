"""Export torch modules to ONNX files of fixed shapes, in float32 or float16."""

import tempfile
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from latency.onnx.packages import imported, quiet
from search_spaces import InputError

SUFFIX = ".onnx"
PRECISIONS = {"float32": torch.float32, "float16": torch.float16}


def check_exporter() -> None:
    """Check that the exporter's packages are here.

    Raises:
        NotHereError: one of them is not.
    """
    for name in ("onnx", "onnxscript"):
        imported(name, "exporting to ONNX")


def save(
    module: nn.Module, inputs: Sequence[Tensor], path: Path, precision: str = "float32"
) -> None:
    """Write a module at the shapes of `inputs` as an ONNX file; it is whole, or not there.

    Weights of 2 GB and more go to a file beside it, `NAME.onnx.data`. The module is left in the
    precision that is asked for.

    Raises:
        InputError: ONNX has no operation for something in it; no such precision.
        NotHereError: the exporter's packages are not installed.
    """
    dtype = dtype_of(precision)
    check_exporter()
    moved = tuple(cast(x, dtype) for x in inputs)
    try:
        with quiet(), torch.no_grad():
            program = torch.onnx.export(module.eval().to(dtype), moved, dynamo=True, verbose=False)
    except Exception as error:  # of torch.export, of the exporter, of an operator
        raise InputError(f"cannot be exported to ONNX: {_reason(error)}") from error
    assert program is not None  # without a file, torch returns the program
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=".") as folder:
        half = Path(folder) / path.name
        program.save(half)
        others = [each for each in half.parent.iterdir() if each != half]
        for each in (*others, half):  # the file that names the others comes last
            each.rename(path.with_name(each.name))


def dtype_of(precision: str) -> torch.dtype:
    """The type of weights and inputs; InputError for a precision that is none of `PRECISIONS`."""
    if precision not in PRECISIONS:
        raise InputError(f"precision {precision!r}: ONNX is written in {' or '.join(PRECISIONS)}")
    return PRECISIONS[precision]


def check_file(precision: str, path: Path) -> None:
    """Check that a file is in this precision, by its inputs.

    Raises:
        InputError: it is in another, or is no ONNX file.
    """
    onnx = imported("onnx", "reading ONNX")
    try:
        inputs = onnx.load(path, load_external_data=False).graph.input
        held = {onnx.helper.tensor_dtype_to_np_dtype(x.type.tensor_type.elem_type) for x in inputs}
    except Exception as error:  # of protobuf, of onnx
        raise InputError(f"{path}: is no ONNX file: {_reason(error)}; remove it") from error
    others = {str(dtype) for dtype in held} & PRECISIONS.keys() - {precision}
    if others:
        raise InputError(
            f"{path}: is there in {others.pop()}, and {precision} was asked for; choose another "
            "folder"
        )


def cast(x: Tensor, dtype: torch.dtype) -> Tensor:
    """An input as the exported module takes it."""
    return x.to(dtype) if x.is_floating_point() else x


def _reason(error: BaseException) -> str:
    """What the exporter found at the bottom of it, on one line: its own lines are instructions."""
    while error.__cause__ is not None:
        error = error.__cause__
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__
