"""Export a whole pipeline: packages, tokenizer, pipeline.json, run.py and a README, or nothing."""

import dataclasses
import json
import math
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from latency.coreml.lint import Lint, merged
from latency.coreml.package import open_package
from latency.coreml.palette import BITS
from nas.bundle import Bundle
from nas.bundle.folder import VIDEO_INPUTS
from nas.bundle.runnable import Runnable
from nas.export import CHUNKS, WEIGHTS_KEY, ExportReport, export_network, peak_gb
from nas.phone.calls import priced
from nas.phone.manifest import MANIFEST, strangers, write_manifest
from nas.phone.parts import DECODER, DENOISER, TEXT, Parts, open_parts
from nas.progress import Progress
from nas.run.run_folder import versions
from nas.sampling.sampler import Sampler
from search_spaces import InputError, TemporalSpace
from search_spaces.files import document
from search_spaces.files.document import Json
from supernet.text.clip_tokenizer import WHOLE, ClipTokenizer, tokenizer_files
from supernet.text.opening import text_encoder_parts

RUN, README = "run.py", "README.md"
WORDS = "tokenizer"  # the folder of its files
BESIDE = Path(__file__).parent
NOISE = "numpy.random.default_rng(seed).standard_normal, float32"


@dataclass(frozen=True)
class Wishes:
    """What a pipeline is asked to be.

    Args:
        text_encoder: a folder, as `open_text_encoder` takes it.
        vae: what decodes; None for a network of pixels.
        sampler: of the denoiser's weights.
        tuned: whether those are the tuned ones.
        weights: what they are, for the packages' metadata.
        fps: frames a second of the video.
        palettise: bits of a weight, 8, 6 or 4; 0 for float16.
        decoder_mb: the most that the decoder may take, weights as float16; None for frame by frame.
        chunks: of the denoiser: in how many packages.
        chunk_mb: of it: instead, the most MB of weights in each.
        space: the bundle's, where operators are a user's own.
    """

    text_encoder: Path
    vae: Path | None
    sampler: Sampler
    tuned: bool
    weights: dict[str, str]
    fps: float = 8
    palettise: int = 0
    decoder_mb: float | None = None
    chunks: int = 1
    chunk_mb: float | None = None
    space: TemporalSpace | None = None

    def __post_init__(self) -> None:
        if self.decoder_mb is not None and not self.decoder_mb > 0:
            raise InputError(f"`decoder_mb={self.decoder_mb:g}`: give a size above 0, or inf")


@dataclass(frozen=True)
class PipelineReport:
    """What an export of a pipeline made, and what it took."""

    folder: Path
    parts: dict[str, ExportReport]
    manifest: Json
    seconds: float
    peak_gb: float  # of this process so far, in GB (1e9 bytes)

    @property
    def lint(self) -> Lint:
        """Of all packages."""
        return merged([part.lint for part in self.parts.values()])

    def to_json(self) -> dict[str, Any]:
        """For scripts."""
        return {
            "folder": str(self.folder),
            "parts": {name: part.to_json() for name, part in self.parts.items()},
            "pipeline": self.manifest,
            "size_mb": sum(part.size_mb for part in self.parts.values()),
            "seconds": self.seconds,
            "peak_gb": self.peak_gb,
        }


def check_target(out: Path, palettise: int, *, replace: bool) -> None:
    """Check, before anything is opened, that a pipeline can be written there.

    Raises:
        InputError: something else stands there, a pipeline that was not to be replaced, or one with
            files of a user's own beside it or in it.
    """
    if palettise and palettise not in BITS:
        raise InputError(f"`palettise={palettise}`: give {', '.join(map(str, BITS))}")
    if not out.is_dir() or not any(out.iterdir()):
        return
    if not (out / MANIFEST).is_file():
        raise InputError(f"{out}: holds something else than a pipeline; give another `out=`")
    if not replace:
        raise InputError(f"{out}: stands there already; give another `out=`, or `replace=`")
    if own := strangers(out):
        more = f" and {len(own) - 1} more" if own[1:] else ""
        raise InputError(
            f"{out / own[0]}{more}: not as the pipeline was exported there, and would be lost with "
            "it; move it elsewhere, or give another `out=`"
        )


def export_pipeline(
    bundle: Bundle,
    out: Path,
    wishes: Wishes,
    *,
    replace: bool = False,
    progress: Progress | None = None,
) -> PipelineReport:
    """Write a folder that makes videos of prompts on a Mac or a phone.

    The parts are converted one after another, each as `export_network` does it: read back, compared
    with what was traced, and looked over.

    Raises:
        InputError: parts that do not belong to each other, no room on the disk; nothing is left.
        ExportError: a package's operations are not those that were traced.
    """
    check_target(out, wishes.palettise, replace=replace)
    begun = time.monotonic()
    parts = open_parts(bundle, wishes.text_encoder, wishes.vae)
    frames = parts.decoder_frames(wishes.decoder_mb)
    done: dict[str, ExportReport] = {}
    with _new_folder(out) as folder:
        for name, network in _networks(bundle, parts, frames, wishes):
            of_denoiser: dict[str, Any] = {
                "notes": {WEIGHTS_KEY: json.dumps(wishes.weights)},
                "chunks": wishes.chunks,
                "chunk_mb": wishes.chunk_mb,
            }
            report = export_network(
                network,
                folder / f"{name}.mlpackage",
                palettise=wishes.palettise,
                progress=progress,
                title=f"{name.replace('_', ' ')} to Core ML",
                **(of_denoiser if name == DENOISER else {}),
            )
            final = tuple(out / package.relative_to(folder) for package in report.packages)
            done[name] = dataclasses.replace(report, packages=final)
        write_tokenizer(folder / WORDS, parts.text.tokenizer, wishes.text_encoder)
        shutil.copyfile(BESIDE / RUN, folder / RUN)
        content = _content(folder, parts, frames, wishes)
        content |= priced(bundle, wishes.sampler.calls)
        (folder / README).write_text(_readme(content), encoding="utf-8")
        manifest = write_manifest(folder, content)
        check_target(out, wishes.palettise, replace=replace)  # minutes later: a video, perhaps
    return PipelineReport(out, done, manifest, time.monotonic() - begun, peak_gb())


@contextmanager
def _new_folder(out: Path) -> Iterator[Path]:
    """The folder that takes its place in the end; no message names the one on the way."""
    try:
        with document.replacing_folder(out) as folder:
            try:
                yield folder
            except InputError as error:
                raise InputError(str(error).replace(str(folder), str(out))) from None
    except OSError as error:
        raise InputError(
            f"{out}: cannot be written ({error.strerror or error}); nothing was changed there"
        ) from None


def _networks(
    bundle: Bundle, parts: Parts, frames: int, wishes: Wishes
) -> Iterator[tuple[str, Runnable]]:
    """One at a time: first the one that is yet to be opened, and may be refused."""
    yield DENOISER, bundle.runnable(wishes.space, finetuned=wishes.tuned)
    yield TEXT, parts.text_network()
    if parts.decoder is not None:
        yield DECODER, parts.decoder_network(frames)


def write_tokenizer(folder: Path, words: ClipTokenizer, text_encoder: Path) -> None:
    """The tokenizer as one file of the tokenizers library, and the files that it was made of."""
    folder.mkdir()
    own = tokenizer_files(text_encoder_parts(text_encoder)[1])
    for path in own:
        shutil.copyfile(path, folder / path.name)
    (folder / WHOLE).write_text(words.tokenizer.to_str(), encoding="utf-8")


def _content(folder: Path, parts: Parts, frames: int, wishes: Wishes) -> Json:
    """The manifest but for what every manifest has."""
    words, decoder, sampler = parts.text.tokenizer, parts.decoder, wishes.sampler
    _, length, height, width = parts.clip_shape
    pixels = 1 if decoder is None else decoder.factor
    decoding = {"frames": frames, "calls": math.ceil(length / frames)}
    return {
        TEXT: {**_package(folder, TEXT), "calls": 1 if sampler.guidance == 1 else 2},
        "tokenizer": {
            "file": f"{WORDS}/{WHOLE}",
            **{name: getattr(words, name) for name in ("begin", "end", "pad", "length")},
        },
        DENOISER: {**_denoiser(folder), "calls": sampler.calls},
        DECODER: None if decoder is None else {**_package(folder, DECODER), **decoding},
        "sampler": {
            "kind": sampler.kind,
            "times": list(sampler.times),
            "guidance": sampler.guidance,
            "noise": NOISE,
        },
        "latents": {
            "shape": list(parts.clip_shape),
            "scaling": 1.0 if decoder is None else decoder.scaling,
            "shift": 0.0 if decoder is None else decoder.shift,
        },
        "video": {
            "frames": length,
            "height": height * pixels,
            "width": width * pixels,
            "fps": wishes.fps,
        },
        "palettised": wishes.palettise,
        "weights": wishes.weights,
        "versions": versions(),
    }


def _denoiser(folder: Path) -> Json:
    """The same of the denoiser, which may be chunks that run one after the other."""
    if not (chunks := folder / f"{DENOISER}{CHUNKS}").is_dir():
        return _package(folder, DENOISER)
    count = len(list(chunks.glob("*.mlpackage")))
    parts = [_package(folder, f"{chunks.name}/chunk{place}") for place in range(count)]
    taken = {each["name"]: each for part in parts for each in part["inputs"]}
    return {
        "package": chunks.name,
        "chunks": parts,
        "inputs": [taken[name] for name in VIDEO_INPUTS],
        "outputs": [each for each in parts[-1]["outputs"] if each["name"] == "output"],
    }


def _package(folder: Path, name: str) -> Json:
    """What a package takes and answers, as it was written."""
    file = f"{name}.mlpackage"
    opened = open_package(folder / file)
    sides = {"inputs": opened.inputs, "outputs": opened.outputs}
    listed = {
        side: [{**asdict(each), "shape": list(each.shape)} for each in features]
        for side, features in sides.items()
    }
    return {"package": file, **listed}


def _readme(content: Json) -> str:
    """The README of the folder."""
    import jinja2

    loader = jinja2.FileSystemLoader(BESIDE)
    environment = jinja2.Environment(  # noqa: S701 (Markdown of our own numbers)
        loader=loader, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True,
        keep_trailing_newline=True,
    )  # fmt: skip
    return environment.get_template("README.md.jinja").render(content)
