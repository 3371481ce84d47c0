"""`nas export` and `nas lint`: Core ML packages, and what keeps the Neural Engine from them."""

import json as json_
import sys
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from nas.cli import options
from nas.cli.output import palettes_in_words, print_json, print_line, print_note, print_table
from nas.cli.resume import stoppable
from search_spaces.files.errors import InputError

if TYPE_CHECKING:
    from latency.coreml.lint import Lint
    from nas.bundle import Bundle
    from nas.bundle.runnable import Runnable


class Format(StrEnum):
    """What a network is exported to."""

    coreml = "coreml"


class Which(StrEnum):
    """Weights of a bundle."""

    best = "best"  # the tuned ones where there are some
    tuned = "tuned"
    searched = "searched"


FINETUNED = {Which.best: None, Which.tuned: True, Which.searched: False}


def export(
    bundle: Annotated[Path, typer.Argument(help="A bundle, the folder that a search leaves.")],
    out: Annotated[
        Path,
        typer.Option(
            "--out",
            help="The .mlpackage to write; of --pipeline, a folder.",
            callback=options.checked_folder,
        ),
    ],
    to: Annotated[Format, typer.Option(help="The format to write.")] = Format.coreml,  # noqa: ARG001
    palettise: Annotated[
        int, typer.Option(help="Bits of a palettised weight: 8, 6 or 4; 0 is float16.")
    ] = 0,
    chunks: Annotated[
        int,
        typer.Option(
            min=1, help="Split the network in so many packages, in a folder that ends in .chunks."
        ),
    ] = 1,
    chunk_mb: Annotated[
        float | None, typer.Option(help="Split so that no package has more MB of weights.")
    ] = None,
    weights: Annotated[
        Which, typer.Option(help="tuned: by a training package; searched: as the search left them.")
    ] = Which.best,
    replace: Annotated[
        bool, typer.Option("--replace", help="Put it in the place of a package that stands there.")
    ] = False,
    space: options.MaybeSpace = None,
    pipeline: Annotated[
        bool,
        typer.Option(
            "--pipeline",
            help="All that makes a video of a prompt: text encoder, network, decoder, tokenizer "
            "and a run.py that needs none of this toolkit.",
        ),
    ] = False,
    text_encoder: Annotated[
        Path | None, typer.Option(help="Of --pipeline: as nas sample takes it.")
    ] = None,
    vae: Annotated[Path | None, typer.Option(help="Of --pipeline: as nas sample takes it.")] = None,
    decoder_mb: Annotated[
        float | None,
        typer.Option(
            help="Of --pipeline: the most MB that the decoder may take, its weights counted as "
            "float16; it decodes as many frames a call as fit, of inf all. One by one without it."
        ),
    ] = None,
    steps: Annotated[
        int | None,
        typer.Option(min=1, help="Of --pipeline: guided steps of weights that were not tuned: 25."),
    ] = None,
    guidance: Annotated[
        float | None, typer.Option(help="Of --pipeline: of these steps: 4; 1 for none.")
    ] = None,
    fps: Annotated[
        float | None, typer.Option(min=1, max=240, help="Of --pipeline: as nas sample takes it.")
    ] = None,
    json: options.AsJson = False,
) -> None:
    """Write a bundle's network as a Core ML package, or a whole pipeline, and look it over."""
    asked: dict[str, Any] = {
        "text_encoder": text_encoder,
        "vae": vae,
        "decoder_mb": decoder_mb,
        "steps": steps,
        "guidance": guidance,
        "fps": fps,
    }
    if pipeline:
        asked |= {
            "space": space, "palettise": palettise, "chunks": chunks, "chunk_mb": chunk_mb,
        }  # fmt: skip
        _pipeline(bundle, out, weights, asked, replace=replace, json=json)
        return
    if strange := [name for name, value in asked.items() if value is not None]:
        raise InputError(f"`{strange[0]}=`: is of a whole pipeline; give --pipeline, too")
    from nas.export import WEIGHTS_KEY, ExportError, check_settings, export_network
    from nas.progress import Progress

    check_settings(out, palettise, chunks, chunk_mb, replace=replace)
    network, told = _opened(bundle, weights, space)
    try:
        with stoppable():
            report = export_network(
                network,
                out,
                palettise=palettise,
                chunks=chunks,
                chunk_mb=chunk_mb,
                notes={WEIGHTS_KEY: json_.dumps(told)},
                replace=replace,
                progress=Progress(),
            )
    except ExportError as error:
        print_note(str(error))
        sys.exit(1)
    if json:
        print_json({**report.to_json(), "weights": told})
        return
    for package in report.packages:
        print_line(str(package))
    print_line(
        f"{report.size_mb:.1f} MB, {report.seconds:.0f} s, peak {report.peak_gb:.1f} GB of memory; "
        f"read back: {report.products} products, {report.flops / 1e9:.2f} GFLOPs, as traced"
    )
    if palettise:
        print_line(palettes_in_words(palettise, report.float16_mb))
    print_line(f"weights: {told['says']}")
    _print_lint(report.lint)


def _pipeline(
    bundle: Path,
    out: Path,
    weights: Which,
    asked: dict[str, Any],
    *,
    replace: bool,
    json: bool,
) -> None:
    """All that makes a video, in a folder."""
    from nas.bundle import Bundle
    from nas.cli.export_pipeline import export_pipeline, wished

    opened = Bundle.load(bundle)
    told = _told(opened, weights)
    wishes = wished(opened, told, **asked)
    report = export_pipeline(opened, out, wishes, replace=replace, json=json)
    if not json:
        _print_lint(report.lint)


def _opened(path: Path, weights: Which, space: str | None) -> "tuple[Runnable, dict[str, str]]":
    """The network of a bundle, and which weights it has."""
    from nas.bundle import Bundle, NetworkBundle
    from nas.bundle.network import is_network
    from search_spaces.shipped.loading import load_temporal

    if is_network(path):
        if weights == Which.tuned:
            raise InputError(f"{path}: holds no tuned weights; leave --weights out")
        found = NetworkBundle.load(path)
        return found.runnable(), found.told()
    own = load_temporal(space) if space else None
    opened = Bundle.load(path)
    told = _told(opened, weights)
    return opened.runnable(own, finetuned=FINETUNED[weights]), told


def _told(opened: "Bundle", weights: Which) -> dict[str, str]:
    """Which weights go into the package, for its metadata too; half of a tuning is named."""
    finetuned = FINETUNED[weights]
    try:
        chosen = opened.chosen(finetuned=finetuned)
    except InputError as error:
        mend = " (`weights=searched`)" if opened.half_tuned else ""
        raise InputError(f"{error}{mend}") from None
    says = opened.weights_in_words(finetuned=finetuned)
    if opened.half_tuned:
        says = f"{says}; a tuning that was not written whole stands beside them"
    elif chosen.which == "searched" and opened.finetuned is not None:
        says = f"{says}; tuned ones stand beside them"
    return {**chosen.to_json(), "says": says}


def lint(
    package: Annotated[Path, typer.Argument(help="An .mlpackage, or a folder of chunks.")],
    json: options.AsJson = False,
) -> None:
    """Say what keeps the Neural Engine from running a Core ML package, slot by slot."""
    from latency.coreml.lint import lint as look_over

    found = look_over(package)
    if json:
        print_json(found.to_json())
    else:
        _print_lint(found)


def _print_lint(found: "Lint") -> None:
    print_table(
        ["part", ">operations", ">reshapes", ">transposes", ">moved MB", ">casts"],
        (
            (p.part, p.operations, p.reshapes, p.transposes, f"{p.moved_mb:.1f}", p.casts)
            for p in (*found.parts, found.total)
        ),
    )
    if not found.findings:
        print_line("nothing found that would leave the Neural Engine")
        return
    print_table(
        ["part", "found", ">times", "why it matters", "first at"],
        (
            (
                f.part,
                f"{f.rule} (refused)" if f.refused else f.rule,
                f.count,
                f.says,
                f.operation,
            )
            for f in found.findings
        ),
    )
