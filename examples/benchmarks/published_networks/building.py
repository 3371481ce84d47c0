"""How a published network is built: timm without torchvision, and norms as they are measured."""

import importlib.abc
import importlib.machinery
import sys
import types
from collections.abc import Callable, Sequence

from torch import Tensor, nn

Built = tuple[nn.Module, tuple[Tensor, ...]]  # a network, and the inputs of one run
Build = Callable[[], Built]


class _AnyName(type):
    """A class whose attributes are their own names: enough for a module that is only imported."""

    def __getattr__(cls, name: str) -> str:
        if name.startswith("__"):
            raise AttributeError(name)
        return name


class _StandIn(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Answers `import torchvision...` while timm loads: no build of it goes with a CPU torch.

    timm names classes of it for data sets and checkpoints, which no network here has.
    """

    def find_spec(
        self, name: str, path: Sequence[str] | None, target: types.ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        if name.partition(".")[0] != "torchvision":
            return None
        return importlib.machinery.ModuleSpec(name, self, is_package=True)

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> types.ModuleType:
        module = types.ModuleType(spec.name)

        def named(name: str) -> type:
            if name.startswith("__"):
                raise AttributeError(name)
            return _AnyName(name, (), {})

        module.__dict__["__getattr__"] = named
        return module

    def exec_module(self, module: types.ModuleType) -> None:
        pass


def import_timm() -> None:
    """Import timm without torchvision; afterwards torchvision is as absent as before."""
    stand_in = _StandIn()
    sys.meta_path.insert(0, stand_in)
    try:
        import timm  # noqa: F401
    finally:
        sys.meta_path.remove(stand_in)
        for name in [n for n in sys.modules if n.partition(".")[0] == "torchvision"]:
            del sys.modules[name]


def fold_norms(module: nn.Module) -> nn.Module:
    """Batch norms become part of the convolutions before them, as Core ML's converter does."""
    for name, child in list(module.named_children()):
        norm = isinstance(child, nn.modules.batchnorm._BatchNorm)  # noqa: SLF001
        if norm or type(child).__name__ == "DetrFrozenBatchNorm2d":
            kept = getattr(child, "act", None)  # timm's norms may carry their activation
            setattr(module, name, kept if kept is not None else nn.Identity())
        else:
            fold_norms(child)
    return module


class FirstOutput(nn.Module):
    """A network of transformers with its first output alone."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: Tensor) -> Tensor:
        first: Tensor = self.network(x)[0]
        return first
