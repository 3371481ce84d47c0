"""Hardware-aware neural architecture search, of temporal layers of video models or any network.

What is exported here is the public API; it loads when it is first asked for.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from nas.bundle import Bundle, NetworkBundle
    from nas.costs.limits import Budget
    from nas.costs.networks import read_architectures, read_model
    from nas.evaluators.workers import Workers
    from nas.pipeline.search import SearchResult
    from nas.run.results import Found
    from nas.searching import search
    from nas.task.task import Task
    from nas.temporal.settings import Settings
    from nas.training.training_workers import train_on_workers

__all__ = [
    "Budget",
    "Bundle",
    "Found",
    "NetworkBundle",
    "SearchResult",
    "Settings",
    "Task",
    "Workers",
    "read_architectures",
    "read_model",
    "search",
    "train_on_workers",
]

_HOMES = {
    "Budget": "nas.costs.limits",
    "Bundle": "nas.bundle",
    "Found": "nas.run.results",
    "NetworkBundle": "nas.bundle",
    "SearchResult": "nas.pipeline.search",
    "Settings": "nas.temporal.settings",
    "Task": "nas.task.task",
    "Workers": "nas.evaluators.workers",
    "read_architectures": "nas.costs.networks",
    "read_model": "nas.costs.networks",
    "search": "nas.searching",
    "train_on_workers": "nas.training.training_workers",
}
_MODULES = ("benchmark", "strategies", "testing")


def __getattr__(name: str) -> Any:
    """Import the module that holds a public name, or a public module."""
    import importlib

    if name in _MODULES:
        return importlib.import_module(f"nas.{name}")
    if name in _HOMES:
        return getattr(importlib.import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'nas' has no attribute {name!r}")
