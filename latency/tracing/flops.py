"""FLOPs of one operation of an exported graph, as torch's FlopCounterMode counts them.

The operation is run under the counter on fake tensors, so that whatever it is made of is counted
as torch counts it: einsum, recurrent layers, attention, somebody's own operator. Nothing is
computed.
"""

import math
import warnings
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import Tensor
from torch._ops import HigherOrderOperator, OpOverload
from torch.fx import Node
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils._pytree import tree_leaves, tree_map_only
from torch.utils.flop_counter import FlopCounterMode, flop_registry, sdpa_flop

from search_spaces import InputError

aten = torch.ops.aten


def _of_first(first: int) -> Callable[..., int]:
    """Every number of the given factor is multiplied and added once."""

    def count(*shapes: Any, **_: object) -> int:
        return 2 * int(math.prod(shapes[first]))

    return count


def _of_matrices(first: int) -> Callable[..., int]:
    def count(*shapes: Any, **_: object) -> int:
        return 2 * int(math.prod(shapes[first])) * int(shapes[first + 1][-1])

    return count


# Products that torch's counter takes for free.
MISSING: dict[Any, Callable[..., int]] = {
    aten.mv: _of_first(0),
    aten.addmv: _of_first(1),
    aten.dot: _of_first(0),
    aten.vdot: _of_first(0),
    aten.addbmm: _of_matrices(1),
    aten._int_mm: _of_matrices(0),  # noqa: SLF001 - torch's name of a public operation
    aten._scaled_dot_product_flash_attention_for_cpu: sdpa_flop,  # noqa: SLF001
}
# Products that neither torch nor we have a formula of.
UNKNOWN = (
    *("_trilinear", "_native_multi_head_attention", "_transformer_encoder_layer_fwd"),
    *("mkldnn_rnn_layer", "_cudnn_rnn", "miopen_rnn", "_grouped_mm", "_scaled_grouped_mm"),
    *("_weight_int4pack_mm", "_weight_int4pack_mm_for_cpu", "_weight_int8pack_mm"),
)


class FlopCounts:
    """Counts nodes; equal operations on equal shapes are counted once."""

    def __init__(self) -> None:
        self._known: dict[object, int] = {}
        self._formulas = dict(MISSING)
        for name in UNKNOWN:
            if hasattr(aten, name):
                self._formulas[getattr(aten, name)] = _refusal(name)

    def of(self, node: Node) -> int:
        """FLOPs of one run of the node; to be called within `plain_paths`.

        Raises:
            InputError: an operation that may be a matrix product, and no formula of it is known.
        """
        if not isinstance(node.target, OpOverload | HigherOrderOperator):
            return 0  # Python's own: getitem, arithmetic on sizes
        args, kwargs = tree_map_only(Node, lambda n: n.meta.get("val"), (node.args, node.kwargs))
        key = (str(node.target), repr(tree_map_only(Tensor, _described, (args, kwargs))))
        if key not in self._known:
            if isinstance(node.target, HigherOrderOperator):
                self._known[key] = _of_higher_order(node, args, kwargs)
            else:
                self._known[key] = self._of_operation(node.target, args, kwargs)
        return self._known[key]

    def _of_operation(self, target: OpOverload, args: Any, kwargs: Any) -> int:
        registered = target.overloadpacket in flop_registry
        ours = target.namespace in {"aten", "prims", "prim", "quantized_decomposed"}
        if not (ours or registered or target._can_decompose()):  # noqa: SLF001 - no public name
            raise InputError(_no_formula(str(target).replace(".", "::", 1)))
        tensors = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)]
        counter = FlopCounterMode(display=False, custom_mapping=self._formulas)
        with ExitStack() as stack:
            fake = next((t.fake_mode for t in tensors if hasattr(t, "fake_mode")), None)
            if fake is not None:
                stack.enter_context(fake)
            stack.enter_context(counter)
            target(*args, **kwargs)
        return int(counter.get_total_flops())


@contextmanager
def plain_paths() -> Iterator[None]:
    """Within, attention and recurrent layers are made of the products that torch counts.

    Their fused kernels are single operations that no formula is known of; which of them runs
    depends on the machine, and a workload must not.
    """
    fastpath = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(value=False)
    try:
        with (
            warnings.catch_warnings(action="ignore"),
            torch.no_grad(),
            sdpa_kernel(SDPBackend.MATH),
            torch.backends.mkldnn.flags(enabled=False),
        ):
            yield
    finally:
        torch.backends.mha.set_fastpath_enabled(value=fastpath)


def _of_higher_order(node: Node, args: Any, kwargs: Any) -> int:
    formula = flop_registry.get(node.target)
    if formula is None:
        raise InputError(
            f"{node.target}: what runs depends on the data (a branch or a loop), so that there "
            "is no one workload; trace the part that runs, or write the loop out in Python"
        )
    return int(formula(*args, **kwargs, out_val=node.meta.get("val")))


def _described(tensor: Tensor) -> tuple[object, ...]:
    return (tuple(tensor.shape), tensor.stride(), tensor.dtype, tensor.device.type)


def _refusal(name: str) -> Callable[..., int]:
    def count(*_: object, **__: object) -> int:
        raise InputError(_no_formula(f"aten::{name}"))

    return count


def _no_formula(name: str) -> str:
    return (
        f"{name}: it may be a matrix product, and no formula of its FLOPs is known; register one "
        "with torch.utils.flop_counter.register_flop_formula (0 for what is elementwise)"
    )
