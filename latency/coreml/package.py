"""Core ML packages to workloads: read from the protobuf, on any system; nothing is loaded or run.

A file out of somebody's hands: paths stay inside the package, and every size is checked before
it is used. Weights are not read, only looked for.
"""

import json
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from latency.coreml.mil import AGAIN, Call, short
from latency.coreml.program import Reader
from latency.coreml.quiet import import_coremltools
from latency.workload.workload import Workload
from search_spaces import InputError
from search_spaces.files import git_lfs

BLOB_HEADER = struct.Struct("<IIQQ")  # mark, type, bytes, offset: coremltools' MILBlob
BLOB_MARK = 0xDEADBEEF
CHAIN = "chain.json"  # of a folder of chunks: how they follow


def read_package(path: Path, function: str | None = None) -> Workload:
    """The workload of an .mlpackage that holds an ML Program of fixed shapes.

    Args:
        path: the package, a folder.
        function: which of the model's functions; without it the default one, or `main`.

    Raises:
        InputError: no package, a damaged one, another kind of model, flexible shapes, control
            flow, an unknown operation; one line that begins with the path.
    """
    return open_package(path, function).workload


@dataclass(frozen=True)
class Feature:
    """An input or an output of a package, as whoever runs it must give or takes it."""

    name: str
    shape: tuple[int, ...]
    type: str  # float16, float32, int32; another kind than an array has the kind's name


@dataclass(frozen=True)
class Opened:
    """What was read of a package."""

    workload: Workload
    calls: tuple[Call, ...]  # every operation that runs, in order
    metadata: Mapping[str, str]  # what the package's author noted
    inputs: tuple[Feature, ...]
    outputs: tuple[Feature, ...]


def open_package(path: Path, function: str | None = None) -> Opened:
    """As `read_package`, with each operation as it stands in the program."""
    try:
        return _read(path, function)
    except InputError as error:
        raise InputError(f"{path}: {error}") from None


def _read(path: Path, function: str | None) -> Opened:
    file = model_file(path)
    model = _model(file)
    name, chosen = _function(model, function)
    if chosen.opset not in chosen.block_specializations:
        raise InputError(f"function {short(name)} has no program for its own opset; {AGAIN}")
    reader = Reader(_Weights(path, file.parent).check)
    workload = reader.read(path.name, chosen, chosen.block_specializations[chosen.opset])
    said = model.description
    return Opened(
        workload,
        tuple(reader.calls),
        dict(said.metadata.userDefined),
        tuple(map(_feature, said.input)),
        tuple(map(_feature, said.output)),
    )


def _feature(said: Any) -> Feature:
    """An input or an output by its description (FeatureTypes.proto's ArrayFeatureType)."""
    kind = said.type.WhichOneof("Type") or "nothing"
    if kind != "multiArrayType":
        return Feature(said.name, (), kind.removesuffix("Type"))
    array = said.type.multiArrayType
    number = array.ArrayDataType.Name(array.dataType).lower()
    return Feature(said.name, tuple(array.shape), number)


def model_file(package: Path) -> Path:
    """The model's protobuf, as the manifest names it."""
    if package.suffix == ".mlmodelc":
        raise InputError("is compiled; give the .mlpackage that it was compiled from")
    if package.is_file():
        raise InputError("is a file; an .mlpackage is a folder: convert to an ML Program and save")
    if not package.is_dir():
        raise InputError("no such package")
    if not (package / "Manifest.json").exists() and (instead := _found_instead(package)):
        raise InputError(instead)
    told = _bytes_of(package / "Manifest.json")
    try:
        manifest = json.loads(told.decode())
        root = manifest["rootModelIdentifier"]
        where = manifest["itemInfoEntries"][root]["path"]
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise InputError(
            f"Manifest.json names no model ({type(error).__name__}: {short(str(error))}); {AGAIN}"
        ) from None
    return _inside(package, package / "Data", where)


def _found_instead(folder: Path) -> str | None:
    """What a folder holds that somebody may have meant, and what to do with it."""
    for path in (folder, folder / "bundle"):
        if (path / "bundle.json").is_file():
            what = "is a bundle" if path == folder else "is the folder of a search"
            return f"{what}, and no Core ML package yet; export it first: nas export {path}"
    inside = sorted(folder.glob("*.mlpackage"))
    if (folder / CHAIN).is_file() and inside:
        return f"is a folder of chunks; give one of them, as {inside[0]}"
    return f"is a folder of packages; give one of them, as {inside[0]}" if inside else None


def _inside(package: Path, folder: Path, where: object) -> Path:
    """A file that the package names, which must lie in it."""
    relative = PurePosixPath(where) if isinstance(where, str) else PurePosixPath()
    strange = "\0" in str(relative) or "\\" in str(relative) or ".." in relative.parts
    if not relative.parts or relative.is_absolute() or strange:
        raise InputError(f"names {short(str(where))}, which is no path inside the package; {AGAIN}")
    try:
        found = (folder / relative).resolve()
        within = found.is_relative_to(package.resolve())
        exists = found.is_file()
    except (OSError, ValueError, RuntimeError):  # names that the system does not take
        within, exists = True, False
    if not within:
        raise InputError(f"names {short(str(where))}, a link that leads outside; {AGAIN}")
    if not exists:
        raise InputError(f"names {short(str(where))}, which is not there; {AGAIN}")
    return found


def _bytes_of(file: Path) -> bytes:
    if git_lfs.is_pointer(file):
        raise InputError(f"{file.name} {git_lfs.WORDS}")
    try:
        return file.read_bytes()
    except OSError as error:
        raise InputError(f"{file.name} cannot be read ({error.strerror}); {AGAIN}") from None


def _model(file: Path) -> Any:
    """The protobuf (Model.proto's Model) of a model file that holds an ML Program."""
    import_coremltools()
    from coremltools.proto import Model_pb2
    from google.protobuf.message import DecodeError  # type: ignore[import-untyped]

    model = Model_pb2.Model()
    try:
        model.ParseFromString(_bytes_of(file))
        whole = model.ByteSize()
        model.DiscardUnknownFields()
    except (DecodeError, RecursionError):
        raise InputError(f"{file.name} is damaged: no whole protobuf message; {AGAIN}") from None
    if model.ByteSize() != whole:
        raise InputError(
            f"{file.name} has fields that this coremltools does not know: it is damaged or newer; "
            f"{AGAIN}, or upgrade coremltools"
        )
    kind = model.WhichOneof("Type")
    if kind != "mlProgram":
        mend = "convert it with coremltools.convert(..., convert_to='mlprogram')"
        if kind is None:
            mend = AGAIN
        elif kind.startswith("pipeline"):
            mend = "give one of the pipeline's models"
        raise InputError(f"holds {kind or 'no model'} where an ML Program is read; {mend}")
    return model


def _function(model: Any, wanted: str | None) -> tuple[str, Any]:
    functions = model.mlProgram.functions
    default = model.description.defaultFunctionName
    names = [wanted] if wanted else [default, "main", *(functions if len(functions) == 1 else ())]
    for name in names:
        if name in functions:
            return name, functions[name]
    there = ", ".join(short(name) for name in sorted(functions)) or "none"
    raise InputError(f"has no function {short(names[-1])}; its functions: {there}; name one")


@dataclass(frozen=True)
class _Weights:
    """The files that hold a package's weights; looked at, never read whole."""

    package: Path
    folder: Path  # what @model_path stands for

    def check(self, name: str, offset: int, size: int) -> None:
        """Refuse a weight whose bytes are not where the program says."""
        file = _inside(self.package, self.folder, name.removeprefix("@model_path/"))
        header = b""
        length = file.stat().st_size
        if offset + BLOB_HEADER.size <= length:
            with file.open("rb") as stream:
                stream.seek(offset)
                header = stream.read(BLOB_HEADER.size)
        if len(header) == BLOB_HEADER.size:
            mark, _, stored, begin = BLOB_HEADER.unpack(header)
            if mark == BLOB_MARK and stored == size and begin + stored <= length:
                return
        if git_lfs.is_pointer(file):
            raise InputError(f"{file.name} {git_lfs.WORDS}")
        raise InputError(
            f"{file.name} does not hold the {size} bytes of a weight at {offset}: it is cut short "
            f"or of another model; {AGAIN}"
        )
