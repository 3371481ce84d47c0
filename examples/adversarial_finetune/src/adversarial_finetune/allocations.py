"""The most memory that tensors take at one time while something runs, on any device."""

import weakref
from typing import Any

from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_map_only


class Allocations(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Counts the storages that operations make, until nothing refers to them any more.

    What was there before does not count, nor does what a kernel takes for itself.
    """

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.most = 0  # bytes
        self._now = 0
        self._known: set[int] = set()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run an operation, and count what it made."""
        tree_map_only(Tensor, lambda each: self._meet(each, new=False), (args, kwargs))
        made = func(*args, **(kwargs or {}))
        tree_map_only(Tensor, lambda each: self._meet(each, new=True), made)
        return made

    def _meet(self, tensor: Tensor, *, new: bool) -> None:
        storage = tensor.untyped_storage()
        key, size = storage._cdata, storage.nbytes() if new else 0  # noqa: SLF001
        if key in self._known:
            return
        self._known.add(key)
        self._now += size
        self.most = max(self.most, self._now)
        weakref.finalize(storage, self._leave, key, size)

    def _leave(self, key: int, size: int) -> None:
        self._known.discard(key)
        self._now -= size
