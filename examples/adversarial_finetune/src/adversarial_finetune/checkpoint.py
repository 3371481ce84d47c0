"""Training state in safetensors: numbers and strings alone, written whole or not at all."""

import json
import os
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from adversarial_finetune.errors import InputError
from adversarial_finetune.room import check_ordinary

NOTES = "adversarial-finetune"


class Stateful(Protocol):
    """What a checkpoint can hold."""

    def state(self) -> dict[str, Tensor]:
        """Everything that it takes to go on, by name."""
        ...

    def restore(self, state: Mapping[str, Tensor]) -> None:
        """Go on from `state()`."""
        ...


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A file for the body to write, which then takes the place of `path`.

    Raises:
        InputError: what stands there is no ordinary file.
    """
    check_ordinary(path)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        temporary.chmod(0o644)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def save(path: Path, tensors: Mapping[str, Tensor], notes: Mapping[str, Any]) -> None:
    """Write tensors, and notes as JSON."""
    plain = {name: tensor.detach().contiguous().cpu() for name, tensor in tensors.items()}
    with replacing(path) as temporary:
        try:
            save_file(plain, temporary, {NOTES: json.dumps(notes)})
        except SafetensorError as error:
            raise OSError(f"{path}: {error}") from None


def load(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Tensors and notes of `save`.

    Raises:
        InputError: no such file, or none of ours.
    """
    with _reading(path) as file:
        return {name: file.get_tensor(name) for name in file.keys()}, _notes(file)  # noqa: SIM118


def notes(path: Path) -> dict[str, Any]:
    """The notes of `save` alone.

    Raises:
        InputError: as `load`.
    """
    with _reading(path) as file:
        return _notes(file)


@contextmanager
def _reading(path: Path) -> Iterator[Any]:
    try:
        with safe_open(path, framework="pt") as file:
            yield file
    except FileNotFoundError:
        raise InputError(f"{path}: no such file") from None
    except (OSError, SafetensorError, KeyError, ValueError) as error:
        raise InputError(f"{path}: no checkpoint of this package: {error}") from None


def _notes(file: Any) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((file.metadata() or {})[NOTES])
    return found


def states_of(parts: Mapping[str, Stateful]) -> dict[str, Tensor]:
    """What it takes to go on with several parts, of all processes; all of them have to ask."""
    return {
        f"{name}/{key}": tensor
        for name, each in parts.items()
        for key, tensor in each.state().items()
    }


def restore(path: Path, parts: Mapping[str, Stateful]) -> tuple[int, float]:
    """Go on from what `states_of` was saved: the finished steps, and the seconds that they took."""
    tensors, notes = load(path)
    for name, part in parts.items():
        start = f"{name}/"
        part.restore(
            {key.removeprefix(start): t for key, t in tensors.items() if key.startswith(start)}
        )
    return int(notes["step"]), float(notes["seconds"])
