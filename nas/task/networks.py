"""A task's networks as torch modules, with example inputs."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from latency.tracing.building import InputShape, input_shapes
from nas.problem.errors import in_a_line
from nas.task.task import Task
from search_spaces import Architecture, InputError

HOPELESS = 20  # networks that cannot be built, where none could


class Named(nn.Module):
    """A module whose inputs have names, called by their places."""

    def __init__(self, module: nn.Module, names: Sequence[str | None]) -> None:
        super().__init__()
        self.module = module
        self.names = tuple(names)

    def forward(self, *inputs: Tensor) -> Any:
        """What the module answers."""
        placed = [x for x, name in zip(inputs, self.names, strict=True) if name is None]
        named = {name: x for x, name in zip(inputs, self.names, strict=True) if name is not None}
        return self.module(*placed, **named)


def network_of(task: Task, architecture: Architecture) -> nn.Module:
    """The module of an architecture, for use: its weights are the task's, where it has some.

    Raises:
        InputError: `build` or `weights` raises, or weights are not those of the module.
    """
    assert task.build is not None
    try:
        module = task.build(architecture)
    except Exception as error:  # whatever somebody's code raises
        raise InputError(f"build of {architecture} raised {in_a_line(error)}") from error
    if not isinstance(module, nn.Module):
        raise InputError(f"build returned a {type(module).__name__}, no torch module")
    if task.weights is not None:
        try:
            found = task.weights(architecture)
            tensors = {name: torch.as_tensor(tensor) for name, tensor in found.items()}
            module.load_state_dict(tensors, strict=True)
        except Exception as error:
            raise InputError(f"weights of {architecture}: {in_a_line(error)}") from error
        for name, tensor in tensors.items():
            if tensor.is_floating_point() and not tensor.isfinite().all():
                raise InputError(f"weights of {architecture}: {name} holds NaN or infinities")
    return module.eval()


class Builds:
    """Which of a task's networks can be built: each is tried once, on the meta device first.

    Args:
        task: that builds.
    """

    def __init__(self, task: Task) -> None:
        self._task = task
        self._known: dict[Architecture, bool] = {}

    def __call__(self, architecture: Architecture) -> bool:
        """Whether one can be built.

        Raises:
            InputError: none of the first could.
        """
        if architecture not in self._known:
            why = self._why_not(architecture)
            self._known[architecture] = not why
            if not any(self._known.values()) and len(self._known) >= HOPELESS:
                raise InputError(
                    f"{HOPELESS} of {HOPELESS} networks cannot be built; the last: {why}"
                )
        return self._known[architecture]

    def _why_not(self, architecture: Architecture) -> str:
        assert self._task.build is not None
        try:
            with torch.device("meta"):
                module = self._task.build(architecture)
        except Exception:  # many constructors read numbers, which meta has none of
            try:
                module = self._task.build(architecture)
            except Exception as error:
                return f"build of {architecture} raised {in_a_line(error)}"
        if not isinstance(module, nn.Module):
            return f"build returned a {type(module).__name__}, no torch module"
        return ""


def called_by_place(task: Task, module: nn.Module) -> nn.Module:
    """The module, or one around it where inputs have names."""
    names = [shape.name for shape in shapes_of(task)]
    return module if not any(names) else Named(module, names)


def shapes_of(task: Task) -> list[InputShape]:
    """The shapes of a task's example inputs."""
    assert task.shape is not None
    return input_shapes(task.shape)


def example_inputs(task: Task, module: nn.Module) -> tuple[Tensor, ...]:
    """Random inputs; whole numbers and truth values are 0."""
    floats = (p.dtype for p in module.parameters() if p.is_floating_point())
    number = next(floats, torch.get_default_dtype())
    found = []
    for shape in shapes_of(task):
        dtype = shape.dtype or number
        random = dtype.is_floating_point
        found.append(
            torch.randn(shape.sizes).to(dtype) if random else torch.zeros(shape.sizes, dtype=dtype)
        )
    return tuple(found)


def measured_as(task: Task, architecture: Architecture) -> tuple[nn.Module, tuple[Tensor, ...]]:
    """The module and the inputs that are timed."""
    module = network_of(task, architecture)
    return called_by_place(task, module), example_inputs(task, module)
