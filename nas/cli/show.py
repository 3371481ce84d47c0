"""`nas spaces` and `nas show`: what there is."""

import json as json_
import math
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from nas.cli import options
from nas.cli.output import print_json, print_line, print_table
from search_spaces.files.errors import InputError
from search_spaces.files.git_lfs import refuse_pointer

if TYPE_CHECKING:
    from search_spaces import Operator


def spaces(json: options.AsJson = False) -> None:
    """List the shipped search spaces."""
    from search_spaces import TemporalSpace, load
    from search_spaces.shipped.loading import SHIPPED, twin_of

    rows: list[dict[str, Any]] = []
    for name in SHIPPED:
        space = load(name)
        row: dict[str, Any] = {"name": name, "networks": space.size}
        if isinstance(space, TemporalSpace):
            row["slots"] = [slot.name for slot in space.slots]
            row["options"] = [str(block) for block in space.blocks()]
            row["operators"] = [_spelled(operator) for operator in space.operators]
            unet = space.unet
            row["clip"] = [unet.in_channels, unet.frames, unet.height, unet.width]
            row["twin"] = twin_of(name)
        rows.append(row)
    if json:
        print_json({"spaces": rows})
        return
    print_table(
        ["space", ">networks", "a clip", "slots", ">blocks", "operators, with their sizes"],
        (
            (
                r["name"],
                f"{r['networks']:,}" if r["networks"] < 1e9 else f"{r['networks']:.3g}",
                "x".join(map(str, r.get("clip", ()))),
                "\n".join(r.get("slots", ())),
                len(r.get("options", ())),
                "\n".join(r.get("operators", ())),
            )
            for r in rows
        ),
    )


def _spelled(operator: "Operator") -> str:
    """An operator with all options of its sizes."""
    sizes = ", ".join(f"{s.name} {'|'.join(map(str, s.options))}" for s in operator.settings)
    return f"{operator.name}: {sizes}" if sizes else operator.name


def show(
    path: Annotated[Path, typer.Argument(help="A run, a bundle, a device, a space, a table ...")],
    json: options.AsJson = False,
) -> None:
    """Say what a file or folder of this toolkit holds."""
    content = _content(path)
    if json:
        print_json(content)
        return
    for key, value in content.items():
        print_line(f"{key}: {value if isinstance(value, str) else json_.dumps(value)}")


def _content(path: Path) -> dict[str, Any]:
    if not path.exists():
        raise InputError(f"{path}: no such file or folder")
    if path.is_dir():
        return _folder(path)
    if path.suffix == ".safetensors":
        return _checkpoint(path)
    if path.name.endswith((".csv", ".csv.gz", ".parquet")):
        return _table(path)
    return _document(path)


def _folder(path: Path) -> dict[str, Any]:
    if (path / "bundle.json").exists():
        from nas.bundle import Bundle

        bundle = Bundle.load(path)
        manifest = bundle.manifest
        return {
            "bundle": str(path),
            "files": sorted(manifest["files"]),
            "hashes": "every file is as it was when the bundle was written (not: by whom)",
            "versions": manifest["versions"],
            "tuned": (bundle.finetuned or {}).get("sampler", "not yet"),
        }
    if (path / "run.json").exists():
        from nas.run.run_folder import FORMAT, MAJOR
        from search_spaces.files import document

        found = document.read(path / "run.json", FORMAT, MAJOR)
        results = found.get("results", {})
        finished = "winner" in results
        content = {"run": str(path), "state": "finished" if finished else "unfinished; --resume"}
        content |= {
            name: results[name]
            for name in ("winner", "latency_ms", "validation_loss", "trials")
            if name in results
        }
        return content | {"seconds": found.get("seconds", {})}
    raise InputError(f"{path}: neither a run nor a bundle (no run.json, no bundle.json)")


def _checkpoint(path: Path) -> dict[str, Any]:
    from supernet import checkpoint

    found = checkpoint.read(path)
    space = found.notes.get("space") or {}
    count = sum(tensor.numel() for tensor in found.tensors.values())
    return {"holds": found.notes.get("holds"), "space": space.get("name"), "numbers": count}


def _table(path: Path) -> dict[str, Any]:
    from search_spaces import read_table

    table = read_table(path)
    content: dict[str, Any] = {
        "table": str(path),
        "rows": len(table.choices),
        "of": "blocks" if table.of_blocks else "networks",
        "metrics": list(table.metrics.columns),
    }
    if not table.of_blocks and not table.choices.empty:
        size = table.space.size
        content["networks in its space"] = size if math.isfinite(size) else "not to be counted"
    return content


def _document(path: Path) -> dict[str, Any]:
    refuse_pointer(path)
    try:
        found = json_.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, ValueError, RecursionError) as error:
        raise InputError(f"{path}: nothing that temporal-nas writes: {error}") from None
    kind = found.get("format") if isinstance(found, dict) else None
    if kind == "temporal-nas/device":
        from latency import read_device
        from nas.calibration.validated import trust

        device = read_device(path)
        return {
            "device": device.name,
            "measurements": len(device.measurements),
            "measured blocks": len(device.blocks),
            "trust": trust(device),
        }
    if kind == "temporal-nas/search-space":
        from search_spaces import load

        space = load(str(path))
        networks = space.size if math.isfinite(space.size) else "not to be counted"
        return {"space": space.name, "choices": len(space.choices), "networks": networks}
    if kind == "temporal-nas/architecture":
        return {"architecture of": found.get("space"), "choices": found.get("choices")}
    raise InputError(f"{path}: nothing that temporal-nas writes (format {kind!r})")
