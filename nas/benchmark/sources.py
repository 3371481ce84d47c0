"""The digest of a strategy's source: where it differs, runs that stand in a file are of another."""

import hashlib
import sys
from importlib.metadata import version
from pathlib import Path

from search_spaces.shipped.loading import import_object

# What a strategy of ours is made of, beside Optuna.
OURS = ("nas/strategies", "nas/study", "nas/problem", "search_spaces/space")


def source_digest(strategy: str) -> str:
    """Sixteen hexadecimal digits of all sources that a strategy is made of.

    Of a user's these are its module and what that has imported from beside it.

    Args:
        strategy: a name of ours, or package.module:name.

    Raises:
        InputError: nothing of that name.
    """
    if ":" not in strategy:
        root = Path(__file__).parents[2]
        files = [file for folder in OURS for file in (root / folder).glob("*.py")]
        return _digest(f"{strategy} optuna {version('optuna')}", files)
    import_object(strategy, "strategy")
    return _digest(strategy, _beside(strategy.partition(":")[0]))


def _beside(module: str) -> list[Path]:
    """The files of a module, of its package, and of modules in the same folder that are loaded."""
    package, _, _ = module.partition(".")
    top = getattr(sys.modules[package], "__file__", None)
    own = getattr(sys.modules[module], "__file__", None)
    if own is None:  # typed in, or made at run time
        return []
    if top is not None and Path(top).name == "__init__.py":
        return list(Path(top).parent.rglob("*.py"))
    folder = Path(own).parent
    loaded = (getattr(each, "__file__", None) for each in list(sys.modules.values()))
    beside = {Path(file) for file in loaded if file is not None and Path(file).parent == folder}
    return [Path(own), *beside] if folder.name != "site-packages" else [Path(own)]


def _digest(said: str, files: list[Path]) -> str:
    found = hashlib.sha256(said.encode())
    for file in sorted(set(files)):
        if file.suffix == ".py":
            found.update(file.name.encode() + b"\0" + file.read_bytes())
    return found.hexdigest()[:16]
