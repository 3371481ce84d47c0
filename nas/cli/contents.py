"""What a file or a folder holds, by its kind: all that the toolkit writes, and what it reads."""

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from search_spaces.files.errors import InputError
from search_spaces.files.git_lfs import refuse_pointer

if TYPE_CHECKING:
    from nas.bundle import Bundle
    from search_spaces import Table

Content = dict[str, Any]
TABLES = (".csv", ".csv.gz", ".parquet")
CORE_ML = (".mlpackage", ".mlmodelc", ".mlmodel")
VIDEOS = (".mp4", ".mov", ".mkv", ".avi", ".webm", ".m4v")
OUTCOMES = ("winner", "latency_ms", "validation_loss", "trials", "verdict")
# What is not opened: by the end of a name, what it is and who shows it.
ELSEWHERE = {
    ".html": "a report for people; open it in a browser",
    ".png": "a picture; open it in a viewer",
    ".gif": "a picture; open it in a viewer",
    ".db": "the study of a run; nas dashboard on its folder shows it",
    ".pt2": "a program of torch.export; its bundle's folder says what it is",
    ".mlperf": "a performance report of Xcode; nas import makes a table of it",
    **dict.fromkeys(VIDEOS, "a video; nas encode and nas search take its folder"),
}


def content_of(path: Path) -> Content:
    """What is there, in a few words by their names.

    Raises:
        InputError: nothing is there, or it is damaged, or no kind that is known here.
    """
    if not path.exists():
        raise InputError(f"{path}: no such file or folder")
    if not (path.is_file() or path.is_dir()):
        raise InputError(f"{path}: is a device, a pipe or a socket; name a file or a folder")
    refuse_pointer(path)
    if path.suffix in CORE_ML:
        return _core_ml(path)
    for ending, what in ELSEWHERE.items():
        if path.name.endswith(ending):
            return {"file": str(path), "what": what}
    if path.is_dir():
        return _folder(path)
    if path.name.endswith(TABLES):
        from search_spaces import read_table

        return table_content(read_table(path, measured=False))
    readers = {".safetensors": _tensors, ".jsonl": _journal}
    return readers.get(path.suffix, _document)(path)


# The file that tells what a folder is.
MARKERS = (
    "run.json", "latents.json", "chain.json", "config.json", "architecture.json", "index.json",
    "pipeline.json",
)  # fmt: skip


def _folder(path: Path) -> Content:
    """A folder, by the file that tells what it is."""
    if (path / "bundle.json").exists():
        return _bundle(path)
    for marker in MARKERS:
        if (path / marker).exists():
            return _document(path / marker)
    splits = sorted(path.glob("*/index.json"))
    if splits:
        held = {file.parent.name: _document(file) for file in splits}
        return {"folder of": "clips", **{name: _short(said) for name, said in held.items()}}
    clips = sorted(path.glob("*.safetensors"))
    if clips:
        held = {file.stem: _tensors(file) for file in clips}
        return {"folder of": "safetensors", **{name: _short(said) for name, said in held.items()}}
    videos = sum(file.suffix.lower() in VIDEOS for file in path.rglob("*"))
    if videos:
        return {"folder of": "videos", "videos": videos, "what": ELSEWHERE[".mp4"]}
    raise InputError(
        f"{path}: no folder that temporal-nas writes or reads: a run, a bundle, latents, clips, "
        "videos, a Core ML package, a U-Net of diffusers"
    )


def _pipeline(path: Path) -> Content:
    from nas.phone.calls import calls_in_words
    from nas.phone.manifest import read_pipeline

    found = read_pipeline(path)
    parts = [found[name] for name in ("text_encoder", "denoiser", "decoder") if found[name]]
    return {
        "pipeline for a phone": str(path),
        "packages": [part["package"] for part in parts],
        "hashes": "packages and tokenizer are as when the pipeline was written (not: by whom)",
        "weights": found["weights"],
        "sampler": found["sampler"],
        "network calls for a clip": calls_in_words(found),
        "video": found["video"],
        "what": "python run.py in it makes a video on a Mac",
    }


def _short(content: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} {value}" for name, value in content.items() if name != "file")


def _bundle(path: Path) -> Content:
    from nas.bundle import Bundle, NetworkBundle
    from nas.bundle.network import is_network

    if is_network(path):
        network = NetworkBundle.load(path)
        return {
            "bundle of a network": str(path),
            "files": sorted(network.manifest["files"]),
            "hashes": "every file is as it was when the bundle was written (not: by whom)",
            "inputs": [vars(each) for each in network.opened.inputs],
            "versions": network.manifest["versions"],
            "weights": network.weights_in_words(),
        }
    bundle = Bundle.load(path)
    manifest = bundle.manifest
    return {
        "bundle": str(path),
        "files": sorted(manifest["files"]),
        "hashes": "every file is as it was when the bundle was written (not: by whom)",
        "versions": manifest["versions"],
        "weights": _weights(bundle),
        "tuned": (bundle.finetuned or {}).get("sampler", "not yet"),
    }


def _weights(bundle: "Bundle") -> str:
    """Which weights an export takes; half of a tuning is named."""
    try:
        return bundle.weights_in_words()
    except InputError as error:
        return str(error)


def _core_ml(path: Path) -> Content:
    if path.suffix != ".mlpackage":
        return {"file": str(path), "what": "a Core ML model, compiled or of the old kind"}
    from latency.coreml.package import open_package
    from nas.export import weights_noted

    opened = open_package(path)
    workload = opened.workload
    return {
        "Core ML package": str(path),
        "operations": len(workload.operations),
        "GFLOPs": round(workload.flops / 1e9, 3),
        "weights_mb": round(workload.weight_bytes / 1e6, 3),
        "weights": weights_noted(opened.metadata),
        "what": "nas predict tells how long it takes, nas lint what keeps it off a Neural Engine",
    }


def _tensors(path: Path) -> Content:
    """Checkpoints, clips, latents, weights: by their notes, and the shapes of their tensors."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="np") as file:
            notes = file.metadata() or {}
            shapes = {name: file.get_slice(name).get_shape() for name in file.keys()}  # noqa: SIM118
    except (OSError, SafetensorError) as error:
        raise InputError(f"{path}: not a whole safetensors file: {error}") from None
    numbers = sum(math.prod(shape) for shape in shapes.values())
    content: Content = {"file": str(path)}
    if "temporal-nas" in notes:
        from supernet import checkpoint

        own = checkpoint.read(path).notes
        space = own.get("space") or {}
        return content | {"holds": own.get("holds"), "space": space.get("name"), "numbers": numbers}
    if "clips" in shapes or "contexts" in shapes:
        held = {name: "x".join(map(str, shape)) for name, shape in shapes.items()}
        return content | {"holds": "clips", **held, "numbers": numbers}
    if (path.parent / "bundle.json").exists():
        tuned = path.name.startswith("finetuned")
        whose = "the network as a training package tuned it" if tuned else "the network"
        return content | {"holds": f"weights of {whose}", "numbers": numbers}
    return content | {"holds": f"{len(shapes)} tensors", "numbers": numbers}


def table_content(table: "Table") -> Content:
    """What a table holds: its networks, choices, metrics and reserved columns."""
    from nas.tables import columns_in_json, described

    path = table.path
    content: Content = {"table": str(path), **described(table)}
    content |= {f"{role} columns": list(names) for role, names in table.columns_by_role.items()}
    content["columns"] = columns_in_json(table)
    if (path.with_suffix(".json")).exists() and {"strategy", "trial"} <= set(table.reserved):
        content["results of"] = f"nas bench; {path.with_suffix('.json').name} says of what"
    return content


def _journal(path: Path) -> Content:
    """A measurement that was left: its first line says of what, each other is a visit."""
    lines = path.read_bytes().splitlines()
    header = _parsed(path, lines[0] if lines else b"")
    if header.get("format") != "temporal-nas/measurement":
        raise InputError(f"{path}: no measurement that nas profile left")
    return {
        "measurement": str(path),
        "visits": len(lines) - 1,
        "settings": header.get("settings", {}),
        "what": "left unfinished; nas profile goes on with it by --resume",
    }


def _parsed(path: Path, text: bytes) -> dict[str, Any]:
    try:
        found = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path}: is neither JSON nor a table: {error}") from None
    if not isinstance(found, dict):
        raise InputError(f"{path}: JSON, but no object, which all that temporal-nas reads is")
    return found


def _document(path: Path) -> Content:
    """A JSON document, by its format."""
    found = _parsed(path, path.read_bytes())
    kind = str(found.get("format", ""))
    whole = {"temporal-nas/device": _device, "temporal-nas/search-space": _space}
    if kind in whole:
        return whole[kind](path)
    beside = {"temporal-nas/bundle": _bundle, "temporal-nas/pipeline": _pipeline}
    if kind in beside:
        return beside[kind](path.parent)
    said = {
        "temporal-nas/architecture": _architecture,
        "temporal-nas/run": _run,
        "temporal-nas/benchmark": _benchmark,
        "temporal-nas/latents": _latents,
        "temporal-nas/clips": _clips,
        "temporal-nas/coreml-chain": _chain,
        "temporal-nas/finetuned": _finetuned,
    }
    if kind in said:
        try:
            return {"file": str(path), **said[kind](found)}
        except (AttributeError, KeyError, TypeError) as error:
            raise InputError(f"{path}: {kind}, and damaged: {error!r}") from None
    if kind.startswith("temporal-nas/"):
        return {"file": str(path), "what": f"kept for later calls ({kind})"}
    if "_class_name" in found:
        what = "a part of a pipeline of diffusers; a U-Net's folder may be given as `backbone=`"
        return {"file": str(path), "is": found["_class_name"], "what": what}
    if {"device", "slots", "pipeline_ms"} <= found.keys():
        kept = ("device", "pipeline_ms", "image_ms", "parameters", "memory_mb")
        return {"file": str(path), "prediction of": "a bundle", **_some(found, kept)}
    raise InputError(f"{path}: JSON of another format ({kind or 'it names none'})")


def _some(found: Mapping[str, Any], names: tuple[str, ...]) -> Content:
    return {name: found[name] for name in names if name in found}


def _device(path: Path) -> Content:
    from latency import read_device
    from nas.calibration.validated import trust

    device = read_device(path)
    return {
        "device": device.name,
        "measurements": len(device.measurements),
        "measured blocks": len(device.blocks),
        "trust": trust(device),
    }


def _space(path: Path) -> Content:
    from search_spaces import load

    space = load(str(path))
    networks = space.size if math.isfinite(space.size) else "not to be counted"
    return {"space": space.name, "choices": len(space.choices), "networks": networks}


def _architecture(found: Content) -> Content:
    return {"architecture of": found.get("space"), "choices": found.get("choices")}


def _run(found: Content) -> Content:
    results = found.get("results", {})
    state = "finished" if "winner" in results else "unfinished; go on by --resume"
    outcome = _some(results, OUTCOMES)
    return {"run": found.get("study"), "state": state, **outcome, "seconds": found.get("seconds")}


def _benchmark(found: Content) -> Content:
    settings, runs = found.get("settings", {}), found.get("runs", [])
    finished: dict[str, int] = {}
    for run in runs:
        finished[run["strategy"]] = finished.get(run["strategy"], 0) + 1
    kept = _some(settings, ("objectives", "known", "at_most", "reference", "goal", "region"))
    return {"benchmark on": settings.get("table"), **kept, "runs of": finished}


def _clips(found: Content) -> Content:
    sizes = {name: "x".join(map(str, found[f"{name}_shape"])) for name in ("clip", "context")}
    return {
        "holds": f"clips, {found['split']}",
        "clips": f"{found['clips']} of {sizes['clip']} in {len(found['shards'])} files",
        "contexts": f"{sum(each['contexts'] for each in found['contexts'])} of {sizes['context']}",
    }


def _latents(found: Content) -> Content:
    return {
        "videos as latents": len(found["files"]),
        **_some(found, ("channels", "height", "width", "fps")),
    }


def _chain(found: Content) -> Content:
    return {"Core ML packages in a row": [chunk.get("file") for chunk in found.get("chunks", [])]}


def _finetuned(found: Content) -> Content:
    return {"tuned weights": sorted(found.get("files", {})), "sampler": found.get("sampler")}
