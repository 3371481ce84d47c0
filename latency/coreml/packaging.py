"""Write Core ML packages to disk atomically: one, or a chain of chunks."""

import json
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from latency.coreml.convert import Exported, convert_program
from latency.coreml.package import CHAIN, model_file
from latency.coreml.palette import palettise
from search_spaces import InputError
from search_spaces.files import document
from search_spaces.files.targets import folder_target, made_folder

PARTS_KEY = "temporal-nas.parts"  # of a package's metadata: what names of operations begin with
FORMAT, VERSION = "temporal-nas/coreml-chain", "1.0"
Check = Callable[[list[Path]], None]
Notes = Mapping[str, str]  # of a package's metadata, by their keys


def write_package(
    found: Exported,
    path: Path,
    *,
    target: str = "iOS18",
    bits: int = 0,
    notes: Notes | None = None,
    check: Check | None = None,
) -> Path:
    """Convert a program to an .mlpackage that takes the place of what stands at `path`.

    Args:
        found: the program.
        path: a name that ends in .mlpackage, which coremltools insists on.
        target: the oldest system to run on.
        bits: of a palettised weight; 0 leaves weights in float16.
        notes: for the package's metadata.
        check: called with what was written, before it takes its place; what it raises goes
            through, and nothing is left.

    Raises:
        InputError: no room on the disk, or no right to write there; nothing is left then.
    """
    with staging_folder(path) as staging:
        package = staging / path.name
        _write(found, package, target, bits, notes or {})
        if check:
            check([package])
        document.replace_folder(package, path)
    return path


def write_chain(
    chunks: Sequence[Exported],
    path: Path,
    *,
    target: str = "iOS18",
    bits: int = 0,
    notes: Notes | None = None,
    check: Check | None = None,
) -> list[Path]:
    """Convert chunks to packages in a folder, with `chain.json` that says how they follow.

    Raises:
        InputError: as `write_package`.
    """
    names = [f"chunk{index}.mlpackage" for index in range(len(chunks))]
    with staging_folder(path) as staging:
        folder = staging / "chain"
        folder.mkdir()
        entries = []
        for name, chunk in zip(names, chunks, strict=True):
            entries.append({"package": name, **_inputs_and_outputs(chunk)})
            _write(chunk, folder / name, target, bits, notes or {})
        text = document.dumps({"format": FORMAT, "version": VERSION, "chunks": entries})
        (folder / CHAIN).write_text(text, encoding="utf-8")
        if check:
            check([folder / name for name in names])
        document.replace_folder(folder, path)
    return [path / name for name in names]


def check_writable(path: Path) -> None:
    """Check, before minutes of conversion, that something can be written at a path.

    Raises:
        InputError: a file or a device stands there, or its folder takes no files.
    """
    with staging_folder(path):
        pass


@contextmanager
def staging_folder(path: Path) -> Iterator[Path]:
    """Make a folder beside `path` for whatever is written on the way; it is gone in the end."""
    target = folder_target(path)
    staging: Path | None = None
    system = tempfile.tempdir
    try:
        folder = made_folder(path, target)
        staging = Path(tempfile.mkdtemp(dir=folder, prefix=f".{target.name}."))
        # Coremltools writes weights to the system's temporary folder first: on a disk of another
        # size, and left there when it fails.
        tempfile.tempdir = str(staging)
        yield staging
    except OSError as error:
        raise _unwritable(path, error.strerror or str(error)) from None
    except RuntimeError as error:
        if "FileWriter" not in str(error):  # coremltools' weights, written in C++
            raise
        raise _unwritable(path, "the weights did not fit") from None
    finally:
        tempfile.tempdir = system
        if staging is not None:
            shutil.rmtree(staging, ignore_errors=True)


def _inputs_and_outputs(found: Exported) -> dict[str, list[dict[str, Any]]]:
    """Names and shapes of inputs and outputs, for JSON."""
    given, made = found.shapes()
    sides = {"inputs": (found.inputs, given), "outputs": (found.outputs, made)}
    return {
        side: [{"name": n, "shape": list(s)} for n, s in zip(names, shapes, strict=True)]
        for side, (names, shapes) in sides.items()
    }


def _unwritable(path: Path, why: str) -> InputError:
    return InputError(
        f"{path}: cannot be written ({why}); nothing was left there: make room, or name another "
        "disk (an export needs its package's size two to three times while it runs)"
    )


def _write(found: Exported, path: Path, target: str, bits: int, notes: Notes) -> None:
    plain = path.with_name(f"plain-{path.name}") if bits else path
    model = convert_program(found, target, plain)
    if bits:
        small = palettise(model, bits)
        del model
        shutil.move(small.package_path, path)
        shutil.rmtree(plain)
    _annotate(path, {PARTS_KEY: json.dumps(found.parts), **notes})


def _annotate(package: Path, notes: Notes) -> None:
    """Write notes into the metadata of a package."""
    from coremltools.proto import Model_pb2

    file = model_file(package)
    model: Any = Model_pb2.Model()
    model.ParseFromString(file.read_bytes())
    model.description.metadata.userDefined.update(notes)
    file.write_bytes(model.SerializeToString())
