"""Graph partitioning: split an exported program into chunks that run one after another.

A chunk is a program of its own, small enough for a limit: what crosses a cut (the features, and
the skips of a U-Net) is an output of one and an input of others.
"""

import itertools
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import torch
from torch.export import ExportedProgram, ModuleCallEntry, ModuleCallSignature
from torch.export.graph_signature import (
    ExportGraphSignature,
    InputKind,
    InputSpec,
    OutputKind,
    OutputSpec,
    TensorArgument,
)
from torch.fx import Graph, Node
from torch.utils import _pytree as pytree

from latency.coreml.convert import Exported, inputs_and_outputs
from search_spaces import InputError

SLACK = 0.2  # of an even share of the weights: how far a cut may move to where less crosses


def split(found: Exported, count: int) -> list[Exported]:
    """Split into `count` chunks of about equal weights, cut where the fewest numbers cross.

    Raises:
        InputError: more chunks than operations.
    """
    if count == 1:
        return [found]
    sequence = _OperationSequence(found)
    if not 1 <= count <= len(sequence.running):
        raise InputError(f"{count} chunks: give 1 to {len(sequence.running)}, one an operation")
    return sequence.chunks(sequence.balanced_cuts(count))


def split_to_fit(found: Exported, chunk_mb: float, bits: int = 16) -> list[Exported]:
    """Split into as few even chunks as keep each one's weights, stored in `bits`, under a limit.

    Raises:
        InputError: a single operation has more weights than that.
    """
    limit = chunk_mb * 1e6 * 8 / bits
    sequence = _OperationSequence(found)
    largest = max(sequence.weights)
    if largest > limit:
        least = math.ceil(largest * bits / 8 / 1e6)
        raise InputError(
            f"chunks of {chunk_mb:g} MB: a single operation has {least} MB of weights; give at "
            f"least {least}, or fewer bits a weight"
        )
    fewest = max(1, math.ceil(sum(sequence.weights) / limit))
    for count in range(fewest, len(sequence.running) + 1):
        edges = [0, *sequence.balanced_cuts(count), len(sequence.running)]
        held = [sum(sequence.weights[a:b]) for a, b in itertools.pairwise(edges)]
        if max(held) <= limit:
            return sequence.chunks(edges[1:-1])
    return sequence.chunks(list(range(1, len(sequence.running))))


@dataclass(frozen=True)
class _OperationSequence:
    """An exported program as a sequence of operations; a cut k stands before the operation k."""

    found: Exported

    @property
    def nodes(self) -> Iterable[Node]:
        """All, in order."""
        nodes: Iterable[Node] = self.found.program.graph_module.graph.nodes
        return nodes

    @cached_property
    def given(self) -> list[Node]:
        """The inputs."""
        return inputs_and_outputs(self.found.program)[0]

    @cached_property
    def made(self) -> list[Node]:
        """The outputs."""
        return inputs_and_outputs(self.found.program)[1]

    @cached_property
    def running(self) -> list[Node]:
        """Operations on inputs; those on weights alone are constants, made where they are read."""
        fed = set(self.given)
        for node in self.nodes:
            if any(n in fed for n in node.all_input_nodes):
                fed.add(node)
        return [node for node in self.nodes if node in fed and node.op == "call_function"]

    @cached_property
    def position(self) -> dict[Node, int]:
        """Index of each running operation in the sequence."""
        return {node: index for index, node in enumerate(self.running)}

    @cached_property
    def weights(self) -> list[int]:
        """How many numbers of weights each running operation is the first to read."""
        seen: set[Node] = set()
        found = []
        for node in self.running:
            new = {n for n in self._constants_of(node) if n.op == "placeholder"} - seen
            seen |= new
            found.append(sum(n.meta["val"].numel() for n in new))
        return found

    @cached_property
    def cut_sizes(self) -> list[float]:
        """How many numbers cross each cut; infinite within what makes several tensors."""
        found = [0.0] * (len(self.running) + 1)
        for node, index in self.position.items():
            last = max((self.position.get(user, index) for user in node.users), default=index)
            value = node.meta["val"]
            numbers = value.numel() if isinstance(value, torch.Tensor) else math.inf
            for cut in range(index + 1, last + 1):
                found[cut] += numbers
        return found

    def balanced_cuts(self, count: int) -> list[int]:
        """Choose the cuts of `count` chunks: near an even share, where the fewest numbers cross."""
        sums = [0, *itertools.accumulate(self.weights)]
        share = sums[-1] / count
        found = [0]
        for index in range(1, count):
            most = len(self.running) - (count - index)  # an operation at least for those behind
            allowed = range(found[-1] + 1, most + 1)
            near = [k for k in allowed if abs(sums[k] - index * share) <= SLACK * share]
            near = near or [min(allowed, key=lambda k: abs(sums[k] - index * share))]
            best = min(near, key=lambda k: (self.cut_sizes[k], k))
            if math.isinf(self.cut_sizes[best]):
                raise InputError(
                    f"{count} chunks: the network cannot be cut in so many about equal parts; "
                    "choose fewer"
                )
            found.append(best)
        return found[1:]

    def chunks(self, cuts: Sequence[int]) -> list[Exported]:
        """Extract the programs between the cuts."""
        names = dict(zip(self.given, self.found.inputs, strict=True))
        names |= {
            n: name or "output" for n, name in zip(self.made, self.found.outputs, strict=True)
        }
        chunks = []
        for begin, end in itertools.pairwise([0, *cuts, len(self.running)]):
            body = self.running[begin:end]
            read = dict.fromkeys(n for node in body for n in node.all_input_nodes)
            enters = [n for n in read if n in self.given or self.position.get(n, end) < begin]
            leaves = [
                n
                for n in body
                if n in self.made or any(self.position.get(user, 0) >= end for user in n.users)
            ]
            constants = {n for node in body for n in self._constants_of(node)}
            program = self._program(constants, enters, body, leaves)
            inputs, outputs = (
                tuple(names.get(n, n.name) for n in side) for side in (enters, leaves)
            )
            chunks.append(replace(self.found, program=program, inputs=inputs, outputs=outputs))
        return chunks

    def _program(
        self, constants: set[Node], enters: list[Node], body: list[Node], leaves: list[Node]
    ) -> ExportedProgram:
        """Extract the program of some operations: their weights come first, then what enters."""
        whole = self.found.program
        specs = {spec.arg.name: spec for spec in whole.graph_signature.input_specs}
        weights = [n for n in self.nodes if n in constants and n.op == "placeholder"]
        graph, copies = Graph(), dict[Node, Node]()
        for node in (*weights, *enters):
            copies[node] = graph.placeholder(node.name)
            copies[node].meta = dict(node.meta)
            # What comes out of another package lies in its own order, whatever made it.
            copies[node].meta["val"] = node.meta["val"].contiguous()
        inside = {n for n in constants if n.op != "placeholder"} | set(body)
        for node in self.nodes:
            if node in inside:
                copies[node] = graph.node_copy(node, copies.__getitem__)
        graph.output(tuple(copies[n] for n in leaves))
        taken = [specs[n.name] for n in weights]
        inputs = [
            InputSpec(InputKind.USER_INPUT, TensorArgument(copies[n].name), None) for n in enters
        ]
        outputs = [
            OutputSpec(OutputKind.USER_OUTPUT, TensorArgument(copies[n].name), None) for n in leaves
        ]
        targets = {spec.target for spec in taken}
        enter_spec = pytree.tree_structure((tuple(enters), {}))
        leave_spec = pytree.tree_structure(tuple(leaves))
        call = ModuleCallSignature([], [], enter_spec, leave_spec)
        return ExportedProgram(
            torch.nn.Module(),
            graph,
            ExportGraphSignature([*taken, *inputs], outputs),
            {name: value for name, value in whole.state_dict.items() if name in targets},
            {},
            [ModuleCallEntry("", call)],
            constants={name: v for name, v in whole.constants.items() if name in targets},
        )

    def _constants_of(self, node: Node) -> list[Node]:
        """The constants and weights that an operation reads, with what these are made of."""
        found: dict[Node, None] = {}
        todo = [n for n in node.all_input_nodes if n not in self.position and n not in self.given]
        while todo:
            n = todo.pop()
            if n not in found:
                found[n] = None
                todo += n.all_input_nodes
        return list(found)
