"""The manifests of a bundle: what they must say, and whether the files are as they say.

A hash shows that nothing changed since a file was written, not who wrote it.
"""

import hashlib
import json
import re
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any

from search_spaces import InputError
from search_spaces.files import document
from search_spaces.files.document import Json

FORMAT, VERSION, MAJOR = "temporal-nas/bundle", "1.0", 1
FINETUNED_FORMAT = "temporal-nas/finetuned"
MANIFEST, FINETUNED = "bundle.json", "finetuned.json"
SCHEMAS = {FORMAT: "schema.json", FINETUNED_FORMAT: "finetuned.schema.json"}
MOST_BYTES = 4 * 2**20  # of a JSON file; ours have kilobytes
FILE_NAME = re.compile(r"[A-Za-z0-9_][\w.-]{0,99}", re.ASCII)


def read_manifest(folder: Path) -> Json:
    """The bundle.json of a folder, once every file that it lists was found to be as it says.

    Raises:
        InputError: no bundle, a newer version, a field that is missing or wrong, a missing or a
            changed file, a name or a link that leads elsewhere.
    """
    return _read(folder, MANIFEST, FORMAT)


def read_finetuned(folder: Path) -> Json | None:
    """The finetuned.json of a bundle, checked in the same way; None where there is none.

    Raises:
        InputError: as `read_manifest`, or it belongs to another bundle.
    """
    path = folder / FINETUNED
    if not path.is_file():
        return None
    found = _read(folder, FINETUNED, FINETUNED_FORMAT)
    if found["bundle"] != sha256(folder / MANIFEST):
        raise InputError(f"{path}: was tuned from another bundle than the one beside it")
    return found


def schema(format_name: str = FORMAT) -> Json:
    """The JSON schema of a manifest."""
    found: Json = json.loads((Path(__file__).parent / SCHEMAS[format_name]).read_text("utf-8"))
    return found


def sha256(file: Path) -> str:
    """Of a file of any size."""
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def check_json_file(path: Path) -> None:
    """Refuse, before it is read, what is no plain file of a size that JSON may have.

    Raises:
        InputError: a link, a folder, a device, or megabytes.
    """
    if path.is_symlink():
        raise InputError(f"{path}: is a link; a bundle holds its files itself")
    if path.exists() and not path.is_file():
        raise InputError(f"{path}: is no file")
    if path.is_file() and path.stat().st_size > MOST_BYTES:
        raise InputError(f"{path}: larger than {MOST_BYTES // 2**20} MiB; no bundle needs that")


def _read(folder: Path, name: str, format_name: str) -> Json:
    path = folder / name
    check_json_file(path)
    manifest = document.read(path, format_name, MAJOR)
    for where, complaint in _complaints(manifest, format_name):
        raise InputError(f"{path}: {where}: {complaint}")
    for file, digest in manifest["files"].items():
        if not FILE_NAME.fullmatch(file):
            raise InputError(f"{path}: {file[:80]!a} is no file name")
        _check(folder / file, digest)
    return manifest


def _complaints(manifest: Json, format_name: str) -> Iterator[tuple[str, str]]:
    """What the schema says against a manifest: where, and one line of what."""
    for error in _validator(format_name).iter_errors(manifest):
        where = ".".join(map(str, error.absolute_path)) or "the document"
        yield _line(where), _line(error.message)


def _line(text: str) -> str:
    return " ".join(text.split()).encode("ascii", "backslashreplace").decode()[:200]


@lru_cache
def _validator(format_name: str) -> Any:
    from jsonschema import Draft202012Validator

    return Draft202012Validator(schema(format_name))


def _check(file: Path, digest: str) -> None:
    if file.is_symlink():
        raise InputError(f"{file}: is a link; a bundle holds its files itself")
    if not file.is_file():
        raise InputError(f"{file.parent}: lacks {file.name}")
    if sha256(file) != digest:
        raise InputError(f"{file}: was changed since it was written; make it again")
