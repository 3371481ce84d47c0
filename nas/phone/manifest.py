"""pipeline.json: what a phone needs to know of its pipeline's parts, and the hash of each file.

It holds its own hash, too (`sealed`). A hash shows that nothing changed since a file was written,
not who wrote it.
"""

import hashlib
import json
from functools import lru_cache
from pathlib import Path
from typing import Any

from search_spaces import InputError
from search_spaces.files import document
from search_spaces.files.document import Json
from temporal_bundle import sha256
from temporal_bundle.manifest import one_line

FORMAT, VERSION, MAJOR = "temporal-nas/pipeline", "1.0", 1
FOR_PEOPLE = {"run.py", "README.md"}  # which an app begins from, and git may write anew
LEFT_BEHIND = {"__pycache__", ".DS_Store"}  # by Python and by the Finder
SEAL = "sha256"  # of the manifest itself
MANIFEST = "pipeline.json"
SCHEMA = Path(__file__).with_name("pipeline.schema.json")


def hashes(folder: Path) -> dict[str, str]:
    """The sha256 of every file but the manifest, by its path in the folder."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    names = {path.relative_to(folder).as_posix(): path for path in files}
    return {name: sha256(path) for name, path in names.items() if name != MANIFEST}


def write_manifest(folder: Path, content: Json) -> Json:
    """Write the manifest of a folder whose other files are there; it comes back whole."""
    whole = sealed({"format": FORMAT, "version": VERSION, "files": hashes(folder), **content})
    check(whole, folder / MANIFEST)
    (folder / MANIFEST).write_text(document.dumps(whole), encoding="utf-8")
    return whole


def strangers(folder: Path) -> list[str]:
    """The files in a pipeline's folder that are not as its export wrote them: a user's own.

    Raises:
        InputError: no pipeline, or none that can be read.
    """
    manifest = document.read(folder / MANIFEST, FORMAT, MAJOR)
    listed = manifest.get("files")
    known = listed if isinstance(listed, dict) else {}
    untouched = sealed(manifest)[SEAL] == manifest.get(SEAL)

    def ours(name: str, path: Path) -> bool:
        return (name == MANIFEST and untouched) or (
            path.is_file() and known.get(name) == sha256(path)
        )

    paths = [path for path in folder.rglob("*") if path.is_symlink() or not path.is_dir()]
    inside = sorted((path.relative_to(folder), path) for path in paths)
    return [
        place.as_posix() for place, path in inside
        if not LEFT_BEHIND & {*place.parts} and not ours(place.as_posix(), path)
    ]  # fmt: skip


def sealed(manifest: Json) -> Json:
    """A manifest with its own sha256: of JSON in ASCII, keys sorted, without spaces and itself."""
    rest = {name: value for name, value in manifest.items() if name != SEAL}
    canonical = json.dumps(rest, sort_keys=True, separators=(",", ":"))
    return {**rest, SEAL: hashlib.sha256(canonical.encode()).hexdigest()}


def read_pipeline(folder: Path) -> Json:
    """The manifest of a pipeline's folder; it and what is run are as they were written.

    Raises:
        InputError: no pipeline, a newer one, a missing or a changed file.
    """
    file = folder / MANIFEST
    manifest = document.read(file, FORMAT, MAJOR)
    check(manifest, file)
    if sealed(manifest) != manifest:
        raise InputError(f"{file}: is not what was exported; export the pipeline again")
    for name, wanted in manifest["files"].items():
        path = folder / name
        if name in FOR_PEOPLE:
            continue
        if not path.is_file() or not path.resolve().is_relative_to(folder.resolve()):
            raise InputError(f"{path}: is missing, and {MANIFEST} lists it; export it again")
        if sha256(path) != wanted:
            raise InputError(
                f"{path}: is not the file that {MANIFEST} was written for; export it again"
            )
    return manifest


def check(manifest: Json, file: Path) -> None:
    """Hold a manifest against the schema; InputError with where it differs."""
    for error in _validator().iter_errors(manifest):
        where = ".".join(map(str, error.absolute_path)) or "the document"
        raise InputError(f"{file}: {one_line(where)}: {one_line(error.message)}")


@lru_cache
def _validator() -> Any:
    from jsonschema import Draft202012Validator

    return Draft202012Validator(json.loads(SCHEMA.read_text(encoding="utf-8")))
