"""`nas export --pipeline`: a text encoder, a bundle's network and a decoder for a phone."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nas.cli.output import palettes_in_words, print_json, print_line, print_note, print_table
from nas.cli.resume import stoppable
from search_spaces.files.errors import InputError

if TYPE_CHECKING:
    from nas.bundle import Bundle
    from nas.phone.writing import PipelineReport, Wishes


def export_pipeline(
    opened: "Bundle", out: Path, wishes: "Wishes", *, replace: bool, json: bool
) -> "PipelineReport":
    """Write the folder, and say what is in it."""
    from nas.export import ExportError
    from nas.phone.writing import export_pipeline as write
    from nas.progress import Progress

    try:
        with stoppable():
            report = write(opened, out, wishes, replace=replace, progress=Progress(3))
    except ExportError as error:
        print_note(str(error))
        sys.exit(1)
    if json:
        print_json(report.to_json())
    else:
        _print(report, wishes)
    return report


def wished(
    opened: "Bundle",
    told: dict[str, str],
    *,
    text_encoder: Path | None,
    steps: int | None,
    guidance: float | None,
    space: str | None,
    fps: float | None,
    **others: Any,
) -> "Wishes":
    """What the flags ask for; `told` says which weights of the bundle are taken.

    Raises:
        InputError: no text encoder, a network that takes none, or a sampler that the weights are
            not for.
    """
    from nas.phone.parts import check_asked_by_text
    from nas.phone.writing import Wishes
    from nas.sampling.files import frames_per_s
    from nas.sampling.sampler import sampler_of
    from search_spaces.shipped.loading import load_temporal

    check_asked_by_text(opened)
    if text_encoder is None:
        raise InputError("--pipeline: prompts go through a text encoder; give --text-encoder")
    tuned = told["which"] == "tuned"
    sampler = sampler_of(opened, tuned=tuned, steps=steps, guidance=guidance)
    own = load_temporal(space) if space else None
    others["fps"] = fps or frames_per_s(opened)
    return Wishes(text_encoder, sampler=sampler, tuned=tuned, weights=told, space=own, **others)


def _print(report: "PipelineReport", wishes: "Wishes") -> None:
    from nas.phone.calls import calls_in_words

    print_table(
        ["part", ">MB", ">products", ">GFLOPs a call", ">calls", ">seconds"],
        (
            (
                report.manifest[name]["package"],
                f"{part.size_mb:.1f}",
                part.products,
                f"{part.flops / 1e9:.2f}",
                report.manifest[name]["calls"],
                f"{part.seconds:.0f}",
            )
            for name, part in report.parts.items()
        ),
    )
    size_mb = sum(part.size_mb for part in report.parts.values())
    print_line(
        f"{report.folder}: {size_mb:.1f} MB, {report.seconds:.0f} s, peak {report.peak_gb:.1f} GB "
        "of memory; every package was read back: as traced"
    )
    if wishes.palettise:
        plain_mb = sum(part.float16_mb for part in report.parts.values())
        print_line(palettes_in_words(wishes.palettise, plain_mb))
    print_line(f"weights: {wishes.weights['says']}; {wishes.sampler.words}")
    print_line(f"network calls for a clip: {calls_in_words(report.manifest)}")
    print_line(f"on a Mac: python {report.folder / 'run.py'} --prompt TEXT --out clip.mp4")
