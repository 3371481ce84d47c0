"""Torch modules to workloads, by way of torch.export; nothing is computed.

A module on the meta device costs no memory, however large.
"""

import itertools
import logging
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.export import ExportedProgram
from torch.nn.parameter import is_lazy
from torch.utils._pytree import tree_leaves, tree_map_only

from latency.tracing.aten import Program
from latency.tracing.flops import FlopCounts, plain_paths
from latency.tracing.reasons import reason_of
from latency.tracing.returned import returned_tensors
from latency.workload.liveness import peak_bytes
from latency.workload.workload import Workload
from search_spaces import InputError


def trace(
    module: nn.Module,
    *inputs: Any,
    name: str = "network",
    keywords: Mapping[str, Any] | None = None,
) -> Workload:
    """The workload of `module(*inputs, **keywords)`, run for inference.

    Args:
        module: any module that torch.export takes; on the meta device it costs no memory.
        inputs: tensors of the shapes and types of a run, or lists and dicts of them; neither their
            values nor their device matter.
        name: what reports call the workload.
        keywords: inputs that are given by name.

    Raises:
        InputError: the module cannot be traced (the text says why, and where), what runs depends
            on the data, or an operation's FLOPs are unknown.
    """
    try:
        exported, given = _exported(module, inputs, keywords or {})
        program = Program.of(exported)
        counts = FlopCounts()
        with plain_paths():
            operations = tuple(program.operation(node, counts) for node in program.running())
        parameters = sum(parameter.numel() for parameter in module.parameters())
    except InputError as error:
        raise InputError(f"{name}: {error}") from error
    except (Exception, SystemExit) as error:  # whatever the module's code raises
        raise InputError(f"{name}: {reason_of(error)}") from error
    floats = (x for x in (*given, *program.activations()) if x.is_floating_point())
    number_bytes = next((x.element_size() for x in floats), 4)
    peak = peak_bytes(program.steps())
    return Workload(name, operations, peak, number_bytes=number_bytes, parameters=parameters)


def _exported(
    module: nn.Module, inputs: tuple[Any, ...], keywords: Mapping[str, Any]
) -> tuple[ExportedProgram, list[Tensor]]:
    """The module's graph, and the tensors that it was given."""
    held = list(itertools.chain(module.named_parameters(), module.named_buffers()))
    for name, tensor in held:
        if is_lazy(tensor):
            raise InputError(
                f"{name} has no shape before the first run (a lazy module); give its sizes, or run "
                "it once before it is returned"
            )
    given = [leaf for leaf in tree_leaves((inputs, keywords)) if isinstance(leaf, Tensor)]
    device = next((x.device for x in (*(x for _, x in held), *given)), torch.device("cpu"))

    def place(x: Tensor) -> Tensor:
        return x if x.device == device else torch.empty_like(x, device=device)

    args, kwargs = tree_map_only(Tensor, place, (inputs, dict(keywords)))
    # What the module makes on its way (positions, masks) stands where its weights stand.
    with ExitStack() as stack:
        for context in (_quiet(), _left_as_it_is(module), plain_paths(), device):
            stack.enter_context(context)
        exported = torch.export.export(_Flat(module), args, kwargs)
        if any("add_batch_dim" in node.name for node in exported.graph.nodes):  # torch.vmap
            exported = exported.run_decompositions({})
        return exported, given


class _Flat(nn.Module):
    """A module that returns tensors alone: torch.export knows few containers."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module

    def forward(self, *args: Any, **kwargs: Any) -> list[Tensor]:
        """The tensors of the output, in order."""
        try:
            found = returned_tensors(self.module(*args, **kwargs))
        except (Exception, SystemExit) as error:  # before torch prints half a graph
            scripted = any(isinstance(part, torch.jit.ScriptModule) for part in self.modules())
            mend = "; it is made of torch.jit's modules: give those of Python" if scripted else ""
            raise InputError(f"{reason_of(error)}{mend}") from error
        if not found:
            raise InputError("returns no tensor, so that nothing of it needs to run")
        return found


@contextmanager
def _left_as_it_is(module: nn.Module) -> Iterator[None]:
    """Every part in evaluation mode, and in the end as it was, whatever `forward` kept in it."""
    before = {part: _state(part) for part in module.modules()}
    for part in before:
        part.training = False
    try:
        yield
    finally:
        for part, state in before.items():
            vars(part).clear()
            vars(part).update(state)


def _state(part: nn.Module) -> dict[str, Any]:
    """The attributes of a module, those that stand in its own dicts (buffers, parts) too."""
    own = {"_parameters", "_buffers", "_modules"}
    return {key: dict(held) if key in own else held for key, held in vars(part).items()}


@contextmanager
def _quiet() -> Iterator[None]:
    """Within, torch does not log what is raised anyway."""
    before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        yield
    finally:
        logging.disable(before)
