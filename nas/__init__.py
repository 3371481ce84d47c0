"""Hardware-aware search for the temporal layers of video diffusion models.

What is exported here is the public API; it loads when it is first asked for.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from nas.bundle import Bundle
    from nas.costs.limits import Budget
    from nas.costs.networks import read_architectures, read_model
    from nas.evaluators.workers import Workers
    from nas.pipeline.search import SearchResult, search
    from nas.run.results import Found
    from nas.run.run_folder import Settings
    from nas.training.training_workers import train_on_workers

__all__ = [
    "Budget",
    "Bundle",
    "Found",
    "SearchResult",
    "Settings",
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
    "SearchResult": "nas.pipeline.search",
    "Settings": "nas.run.run_folder",
    "Workers": "nas.evaluators.workers",
    "read_architectures": "nas.costs.networks",
    "read_model": "nas.costs.networks",
    "search": "nas.pipeline.search",
    "train_on_workers": "nas.training.training_workers",
}


def __getattr__(name: str) -> Any:
    """Import the module that holds a public name."""
    import importlib

    if name in _HOMES:
        return getattr(importlib.import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'nas' has no attribute {name!r}")
