"""Manifests (bundle.json, finetuned.json): format, version, and the sha256 of every file.

A hash shows that nothing changed since a file was written, not who wrote it.
"""

import hashlib
import json
import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from temporal_bundle.errors import BundleError

Json = dict[str, Any]
FORMAT, FINETUNED_FORMAT = "temporal-nas/bundle", "temporal-nas/finetuned"
NETWORK_FORMAT = "temporal-nas/network"  # of a bundle of any network
VERSION, MAJOR = "1.0", 1  # of all of them
MANIFEST, FINETUNED = "bundle.json", "finetuned.json"
WEIGHTS, TUNED_WEIGHTS = "weights.safetensors", "finetuned.safetensors"
DENOISER, FEATURES = "denoiser.pt2", "features.pt2"
NETWORK = "network.pt2"
ARCHITECTURE, LATENCY = "architecture.json", "latency.json"
MOST_CLIPS = 4096  # that a program takes at once
# Of a sampler, as finetuned.schema.json has them.
MOST_TIMES, MOST_GUIDANCE = 1000, 100
LISTED = {
    FORMAT: (ARCHITECTURE, WEIGHTS, DENOISER, FEATURES, LATENCY),
    FINETUNED_FORMAT: (TUNED_WEIGHTS,),
    NETWORK_FORMAT: (ARCHITECTURE, WEIGHTS, NETWORK, LATENCY),
}
SCHEMAS = {
    FORMAT: "bundle.schema.json",
    FINETUNED_FORMAT: "finetuned.schema.json",
    NETWORK_FORMAT: "network.schema.json",
}
MOST_BYTES = 4 * 2**20  # of a JSON file; ours have kilobytes
LFS_POINTER = b"version https://git-lfs.github.com/spec/v1"
LFS_WORDS = "is a Git LFS pointer in place of the file itself; fetch it: git lfs pull"
FILE_NAME = re.compile(r"[A-Za-z0-9_][\w.-]{0,99}", re.ASCII)


def read_manifest(file: Path, format_name: str) -> Json:
    """Read a manifest, and hold every file that it lists against its hash.

    Raises:
        BundleError: another format, a newer version, a missing or a changed file, a name or a link
            that leads elsewhere.
    """
    manifest = read_json(file)
    if manifest.get("format") != format_name:
        found = str(manifest.get("format"))[:80]
        raise BundleError(f"{file}: expected format {format_name!r}, found {found!r}")
    _check_version(manifest.get("version"), file)
    files, listed = manifest.get("files"), LISTED[format_name]
    if not isinstance(files, dict) or not files.keys() >= set(listed):
        raise BundleError(f"{file}: files must list the sha256 of {', '.join(listed)}")
    check_files(files, file)
    return manifest


def read_json(file: Path) -> Json:
    """A JSON object out of a bundle.

    Raises:
        BundleError: a link, no plain file of a size that JSON may have, or no JSON object.
    """
    check_json_file(file)
    try:
        content = file.read_text(encoding="utf-8")
        found = json.loads(content, parse_float=_finite, parse_constant=_finite)
    except (OSError, ValueError, RecursionError) as error:
        raise BundleError(f"{file}: not valid JSON: {one_line(str(error))}") from None
    if not isinstance(found, dict):
        raise BundleError(f"{file}: expected a JSON object")
    return found


def check_json_file(file: Path) -> None:
    """Refuse, before it is read, what is no plain file of a size that JSON may have.

    Raises:
        BundleError: a link, a folder, a device, nothing, or megabytes.
    """
    _check_plain(file)
    if file.stat().st_size > MOST_BYTES:
        raise BundleError(f"{file}: larger than {MOST_BYTES // 2**20} MiB; no bundle needs that")


def check_files(files: Mapping[str, object], where: Path) -> None:
    """Hold files beside a manifest against the hashes that it lists.

    Raises:
        BundleError: one is missing, was changed, is a link, or stands elsewhere.
    """
    for name, digest in files.items():
        if not FILE_NAME.fullmatch(name):
            raise BundleError(f"{where}: {name[:80]!a} is no file name")
        file = where.with_name(name)
        _check_plain(file)
        if sha256(file) != digest:
            raise BundleError(f"{file}: was changed since it was written; make it again")


def schema(format_name: str = FORMAT) -> Json:
    """The JSON schema of a manifest."""
    found: Json = json.loads((Path(__file__).parent / SCHEMAS[format_name]).read_text("utf-8"))
    return found


def sha256(file: Path) -> str:
    """Of a file of any size."""
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def is_lfs_pointer(file: Path) -> bool:
    """Whether Git LFS left a few lines in place of a large file that was not fetched."""
    with file.open("rb") as stream:
        return stream.read(len(LFS_POINTER)) == LFS_POINTER


def one_line(text: str) -> str:
    """What somebody else's words say, in one line of plain letters that is not long."""
    return " ".join(text.split()).encode("ascii", "backslashreplace").decode()[:200]


def _check_plain(file: Path) -> None:
    if file.is_symlink():
        raise BundleError(f"{file}: is a link; a bundle holds its files itself")
    if not file.exists():
        raise BundleError(f"{file.parent}: lacks {file.name}")
    if not file.is_file():
        raise BundleError(f"{file}: is no file")
    if is_lfs_pointer(file):
        raise BundleError(f"{file}: {LFS_WORDS}")


def _check_version(version: object, file: Path) -> None:
    major = re.fullmatch(r"(\d{1,9})\.\d{1,9}", str(version), re.ASCII)
    if major is None:
        raise BundleError(f"{file}: version {str(version)[:20]!r} is not MAJOR.MINOR")
    if int(major[1]) > MAJOR:
        raise BundleError(
            f"{file}: version {version} is newer than the {MAJOR}.x that this version of "
            "temporal-bundle reads; upgrade temporal-bundle"
        )
    if int(major[1]) < MAJOR:
        raise BundleError(f"{file}: version {version} is none of {MAJOR}.x; make the bundle again")


def _finite(number: str) -> float:
    """A number as it is spelt; 1e999 is as infinite as Infinity."""
    found = float(number)
    if not math.isfinite(found):
        raise ValueError(f"{number} is not allowed")
    return found
