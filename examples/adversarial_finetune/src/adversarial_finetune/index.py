"""Indexes: JSON that lists files of tensors beside it, with their rows and sha256."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from adversarial_finetune.errors import InputError
from adversarial_finetune.rows import COPY_AGAIN, Shard, tensor_shapes
from temporal_bundle import LFS_WORDS, is_lfs_pointer
from temporal_bundle.manifest import FILE_NAME, Json, one_line


def read_document(file: Path, sha: str | None = None) -> Any:
    """JSON of any size, held against its hash where one is listed.

    Raises:
        InputError: no such file, a changed one, or no JSON.
    """
    if not file.is_file():
        raise InputError(f"{file}: no such file; {COPY_AGAIN}")
    if is_lfs_pointer(file):
        raise InputError(f"{file}: {LFS_WORDS}")
    Shard(file, 1, sha).check_hash()
    try:
        return json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(f"{file}: not valid JSON: {one_line(str(error))}") from None


def check_format(file: Path, index: Json, format_name: str, major: str) -> None:
    """Refuse what another program wrote, or another version.

    Raises:
        InputError: what it is instead.
    """
    if index.get("format") != format_name:
        found = str(index.get("format"))[:80]
        raise InputError(f"{file}: expected format {format_name!r}, found {found!r}")
    version = str(index.get("version"))
    if version.partition(".")[0] != major:
        raise InputError(
            f"{file}: version {version[:20]!r} is none of {major}.x, which this version of "
            "adversarial-finetune reads"
        )


def listed_file(file: Path, entry: object) -> tuple[Path, str]:
    """A file beside the index, and the hash that it lists.

    Raises:
        InputError: no name of one.
    """
    name = entry.get("file") if isinstance(entry, dict) else None
    sha = entry.get("sha256") if isinstance(entry, dict) else None
    if not isinstance(name, str) or not FILE_NAME.fullmatch(name) or not isinstance(sha, str):
        raise InputError(f"{file}: {str(name)[:80]!a} is no file name with its sha256")
    return file.with_name(name), sha


def listed_shards(file: Path, index: Json, name: str, rows: str) -> list[Shard]:
    """The files under a name of the index, which says in `rows` how many each holds.

    Raises:
        InputError: it lists none.
    """
    listed = index.get(name)
    if not isinstance(listed, list) or not listed:
        raise InputError(f"{file}: {name} must list files; {COPY_AGAIN}")
    found = []
    for each in listed:
        shard, sha = listed_file(file, each)
        count = each.get(rows)
        if type(count) is not int or count < 1:
            raise InputError(f"{file}: says not how many {rows} {shard.name} holds")
        found.append(Shard(shard, count, sha))
    return found


def check_tensors(
    file: Path, shard: Shard, wanted: Mapping[str, tuple[str, tuple[int, ...]]]
) -> None:
    """Hold a shard's header against what the index says: the kind and shape of a row, by name.

    Raises:
        InputError: what it lacks.
    """
    found = tensor_shapes(shard.file)
    for name, (kind, row) in wanted.items():
        shape = (shard.rows, *row)
        if found.get(name) != (kind, shape):
            raise InputError(
                f"{shard.file}: holds no {name} of {shape} in {kind}, and {file.name} says so; "
                f"{COPY_AGAIN}"
            )
