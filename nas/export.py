"""A network to Core ML: converted, read back, compared with what was traced, and looked over."""

import json
import resource
import sys
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from latency import Workload
from latency.coreml.chunks import split, split_to_fit
from latency.coreml.convert import Exported, export_program
from latency.coreml.lint import Lint, lint, merged
from latency.coreml.package import CHAIN, open_package
from latency.coreml.packaging import Notes, check_writable, write_chain, write_package
from latency.coreml.palette import BITS, float16_mb
from latency.tracing.tracing import trace
from nas.bundle.runnable import Runnable
from nas.progress import Progress
from search_spaces import InputError

CHUNKS = ".chunks"  # what the folder of several packages ends in
WEIGHTS_KEY = "temporal-nas.weights"  # of a package's metadata: which of a bundle went into it
PRODUCTS = frozenset({"convolution", "depthwise", "matmul", "attention"})
FLOAT16_BITS = 16


class ExportError(Exception):
    """What was written is not what was traced: a fault of this toolkit, and nothing is left."""


@dataclass(frozen=True)
class ExportReport:
    """What an export made, and what it took."""

    packages: tuple[Path, ...]
    lint: Lint
    bits: int  # of a palettised weight; 0 for float16
    size_mb: float  # of all packages, in MB (1e6 bytes)
    float16_mb: float  # of weights that are in no palette
    seconds: float
    peak_gb: float  # of this process so far, in GB (1e9 bytes)
    products: int  # convolutions, matrix products and attentions, as traced
    flops: int  # of one run

    def to_json(self) -> dict[str, Any]:
        """For scripts."""
        plain = {n: v for n, v in vars(self).items() if n not in {"packages", "lint"}}
        return {
            "packages": [str(path) for path in self.packages],
            **plain,
            "lint": self.lint.to_json(),
        }


def export_network(
    network: Runnable,
    out: Path,
    *,
    palettise: int = 0,
    chunks: int = 1,
    chunk_mb: float | None = None,
    notes: Notes | None = None,
    replace: bool = False,
    progress: Progress | None = None,
    title: str = "export to Core ML",
) -> ExportReport:
    """Write a network as a Core ML package for its inputs, float16, iOS 18 and later.

    Coremltools folds scales of 1 and shifts of 0 away: an untrained network has fewer operations
    than a trained one, but all of its products.

    Args:
        network: with the weights that count.
        out: the .mlpackage; several chunks go to the folder beside it that ends in .chunks.
        palettise: bits of a weight, 8, 6 or 4; 0 for float16.
        chunks: in how many packages.
        chunk_mb: instead, the most MB of weights in each.
        notes: for the packages' metadata.
        replace: whether packages that stand there may go.
        progress: who is told, and ...
        title: ... of what.

    Raises:
        InputError: settings that contradict each other, no room on the disk.
        ExportError: the package's operations are not those that were traced.
    """
    check_settings(out, palettise, chunks, chunk_mb, replace=replace)
    for target in targets(out, chunks, chunk_mb):
        check_writable(target)
    begun = time.monotonic()
    progress = progress or Progress()
    with progress.stage(title, 3) as advance:
        wanted = trace(network.module, *network.inputs)
        found = export_program(network.module, network.inputs, network.part_of, network.names)
        parts = _split(found, palettise, chunks, chunk_mb)
        advance(1)
        report: list[Lint] = []
        plain_mb: list[float] = []

        def check(packages: list[Path]) -> None:
            advance(2)
            opened = [open_package(package) for package in packages]
            compare(wanted, [each.workload for each in opened])
            plain_mb.extend(map(float16_mb, opened))
            report.append(merged([lint(package) for package in packages]))
            for finding in report[0].findings:
                if finding.refused:
                    raise ExportError(
                        f"{finding.part}: {finding.count} x {finding.rule}: {finding.says}; "
                        "nothing was written"
                    )

        if len(parts) == 1:
            packages = [write_package(found, out, bits=palettise, notes=notes, check=check)]
        else:
            folder = out.with_suffix(CHUNKS)
            packages = write_chain(parts, folder, bits=palettise, notes=notes, check=check)
        advance(3)
    return ExportReport(
        packages=tuple(packages),
        lint=report[0],
        bits=palettise,
        size_mb=sum(size_mb(package) for package in packages),
        float16_mb=sum(plain_mb),
        seconds=time.monotonic() - begun,
        peak_gb=peak_gb(),
        products=sum(_products(wanted).values()),
        flops=wanted.flops,
    )


def compare(wanted: Workload, found: list[Workload]) -> None:
    """Refuse packages that hold other products than were traced, each with its FLOPs.

    Raises:
        ExportError: with the first that differs.
    """
    traced, packaged = _products(wanted), Counter[tuple[str, int]]()
    for workload in found:
        packaged += _products(workload)
    for kind, flops in sorted((traced - packaged) | (packaged - traced)):
        raise ExportError(
            f"the package holds {packaged[kind, flops]} of kind {kind} with {flops} FLOPs, traced "
            f"were {traced[kind, flops]}: the conversion changed the network; nothing was written"
        )


def _products(workload: Workload) -> Counter[tuple[str, int]]:
    return Counter((o.kind, o.flops) for o in workload.operations if o.kind in PRODUCTS)


def check_settings(
    out: Path, palettise: int, chunks: int, chunk_mb: float | None, *, replace: bool
) -> None:
    """Check, before anything is opened, that settings can be kept.

    Raises:
        InputError: which cannot; or a package stands there, or something else.
    """
    if palettise and palettise not in BITS:
        raise InputError(f"`palettise={palettise}`: give {', '.join(map(str, BITS))}")
    if chunks < 1:
        raise InputError(f"`chunks={chunks}`: give 1 or more")
    if chunk_mb is not None and (chunks > 1 or not chunk_mb > 0):
        raise InputError("`chunk_mb=`: give a size above 0, and no `chunks=` beside it")
    if out.suffix != ".mlpackage":
        raise InputError(f"`out=` {out}: give a name that ends in .mlpackage")
    for path in targets(out, chunks, chunk_mb):
        if not path.is_dir() or not any(path.iterdir()):
            continue
        if not any((path / name).is_file() for name in (CHAIN, "Manifest.json")):
            raise InputError(f"{path}: holds something else than packages; give another `out=`")
        if not replace:
            raise InputError(f"{path}: stands there already; give another `out=`, or `replace=`")


def targets(out: Path, chunks: int, chunk_mb: float | None) -> list[Path]:
    """Where an export may write: the package, the folder of chunks, or either."""
    folder = out.with_suffix(CHUNKS)
    if chunk_mb is not None:
        return [out, folder]
    return [folder] if chunks > 1 else [out]


def _split(found: Exported, bits: int, chunks: int, chunk_mb: float | None) -> list[Exported]:
    if chunk_mb is None:
        return split(found, chunks)
    return split_to_fit(found, chunk_mb, bits or FLOAT16_BITS)


def weights_noted(metadata: Mapping[str, str]) -> Any:
    """Which weights of a bundle a package says that it holds, by its metadata."""
    try:
        return json.loads(metadata.get(WEIGHTS_KEY, '"not said"'))
    except ValueError:
        return "not said"


def size_mb(package: Path) -> float:
    """Of all files of a package, in MB (1e6 bytes)."""
    return sum(file.stat().st_size for file in package.rglob("*") if file.is_file()) / 1e6


def peak_gb() -> float:
    """The most memory that this process has had, in GB (1e9 bytes)."""
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e9
