"""Image networks of timm: measured on this machine, read from a table, traced."""

import csv
import io
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch
from published_networks.building import import_timm
from torch import Tensor, nn

import latency
from latency import Measurement
from latency.sources.contract import Job, Protocol, Source
from latency.sources.journal import Journal, journal_path
from latency.sources.visits import gather, visits
from nas.progress import Progress
from search_spaces import InputError
from search_spaces.files.document import write_atomically

# Small ones, each of a design of its own or of another size; one image takes a core 10 to 200 ms.
NAMES = """
    mobilenetv3_small_100 resnet18 vit_tiny_patch16_224 lcnet_100 convnext_atto levit_128s
    regnetx_002 efficientnet_b0 mixer_s32_224 mobilevit_xxs ghostnet_100 pit_ti_224 resnet50
    xcit_nano_12_p16_224 cs3darknet_focus_s gernet_s tinynet_c mobilenetv4_conv_small
    edgenext_xx_small poolformer_s12 rexnet_100 pvt_v2_b0 skresnet18 deit_small_patch16_224
    regnety_008 resmlp_12_224 mixnet_s efficientvit_b1 dla34 crossvit_9_240 hgnetv2_b0
    mobilenetv2_100 convnextv2_atto visformer_tiny mnasnet_100 fbnetv3_b resnext50_32x4d
    tiny_vit_5m_224 nf_regnet_b0 repghostnet_100
"""
NETWORKS = NAMES.split()
USUAL_SIZE = 224
SIZE_OF = {  # what others were made for
    "tinynet_c": 184,
    "mobilevit_xxs": 256,
    "crossvit_9_240": 240,
    "edgenext_xx_small": 256,
    "cs3darknet_focus_s": 256,
}
# Column of our tables, or of timm's own benchmark (results/benchmark-infer-*.csv there).
SIZES = ("image_size", "infer_img_size")
LATENCY, RATE = "latency_ms", "infer_samples_per_sec"
LARGEST_SIZE = 4096


@dataclass(frozen=True)
class Row:
    """What one image took."""

    model: str
    image_size: int
    latency_ms: float

    @property
    def name(self) -> str:
        return f"{self.model}@{self.image_size}"


def built(model: str, image_size: int) -> tuple[nn.Module, tuple[Tensor, ...]]:
    """A network by its name in timm, without weights to download, and one image."""
    import timm

    if not timm.is_model(model):  # other names may stand for what would be downloaded
        raise InputError(f"{model!r}: timm has no such model")
    try:
        network = timm.create_model(model, img_size=image_size)
    except TypeError:  # convolutions take images of any size
        network = timm.create_model(model)
    return network.eval(), (torch.zeros(1, 3, image_size, image_size),)


def traced(rows: Sequence[Row], left_out: Callable[[str], None]) -> list[Measurement]:
    """Trace each; `left_out` is told of what cannot be traced."""
    import_timm()
    found = []
    with Progress().stage("trace", len(rows)) as advance:
        for done, row in enumerate(rows, 1):
            try:
                with torch.device("meta"):
                    network, inputs = built(row.model, row.image_size)
                workload = latency.traced(
                    network, inputs, row.name, key=row.name, packages=("timm",)
                )
                found.append(Measurement(workload, row.latency_ms))
            except (AssertionError, InputError, RuntimeError, ValueError) as error:
                left_out(f"{row.name}: {str(error).splitlines()[0] if str(error) else error!r}")
            advance(done)
    return found


def read(path: Path) -> list[Row]:
    """Read a table of ours, or of timm's benchmark.

    Raises:
        InputError: no such file, columns are missing, a number is none, or a network twice.
    """
    try:
        lines = csv.DictReader(io.StringIO(path.read_text(encoding="utf-8")))
        rows = [_row(entry, f"{path}, line {number}") for number, entry in enumerate(lines, 2)]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{path}: cannot be read: {error}") from None
    seen: set[str] = set()
    for row in rows:
        if row.name in seen:
            raise InputError(f"{path}: {row.name!r} stands there twice; keep one row of it")
        seen.add(row.name)
    return rows


def _row(entry: Mapping[str, str | None], where: str) -> Row:
    model = entry.get("model")
    size = next((entry[column] for column in SIZES if entry.get(column)), str(USUAL_SIZE))
    try:
        image_size = int(size or "")
        if LATENCY in entry:
            latency_ms = float(entry[LATENCY] or "")
        else:  # of a batch, so that an image takes its share of it
            latency_ms = 1000 / float(entry[RATE] or "")
    except KeyError:
        raise InputError(f"{where}: expected a column {LATENCY}, or timm's {RATE}") from None
    except (ValueError, ZeroDivisionError):
        raise InputError(f"{where}: a latency or an image size is no number") from None
    if not model:
        raise InputError(f"{where}: expected a column model, a name of timm's")
    if not (math.isfinite(latency_ms) and latency_ms > 0 and 0 < image_size <= LARGEST_SIZE):
        raise InputError(f"{where}: {latency_ms:g} ms at {image_size} pixels is out of range")
    return Row(model, image_size, latency_ms)


def measured(models: Sequence[str], source: Source, protocol: Protocol, out: Path) -> list[Row]:
    """Measure what is not measured yet, one image at a time, and write the table.

    Raises:
        InputError: a measurement of others was left there, or a network cannot be run.
    """
    import_timm()
    if out.exists():
        rows = read(out)
        if [row.model for row in rows] != list(models):
            raise InputError(
                f"{out}: holds other networks than were asked for; choose another file"
            )
        return rows
    sizes = {model: SIZE_OF.get(model, USUAL_SIZE) for model in models}
    jobs = {model: Job(partial(built, model, size)) for model, size in sizes.items()}
    settings = {
        "networks": list(models),
        "rounds": protocol.rounds,
        "runs_per_visit": protocol.runs_per_visit,
        "seed": protocol.seed,
        **source.facts(),
    }
    with Journal(journal_path(out), settings) as journal:
        with Progress().stage("measure", len(jobs) * protocol.rounds) as advance:
            advance(len(journal.visits))
            for visit in visits(source, jobs, protocol, journal.done):
                journal.append(visit)
                advance(len(journal.visits))
        timings = {name: each.timing for name, each in gather(journal.visits).items()}
        text = io.StringIO()
        columns = {name: timings[name].columns() for name in models}
        fields = ["model", "image_size", *columns[models[0]], *source.facts()]
        table = csv.DictWriter(text, fields, lineterminator="\n")
        table.writeheader()
        for model, size in sizes.items():
            row = {"model": model, "image_size": size, **columns[model], **source.facts()}
            table.writerow(row)
        write_atomically(out, text.getvalue())
        journal.remove()
    return read(out)
