"""What a pipeline runs once a clip beside the denoising network: a text encoder, a decoder.

Their times come from a user, are predicted of what a user's folders hold
(`nas.costs.predicted_parts`), or come from publications (`fixed_parts.csv`): one device each. On
another device these are scaled as the predicted time of the image U-Net is.
"""

import csv
import functools
import math
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from latency import Device, Workload
from latency.predictor.shipped import load_device
from search_spaces import InputError, TemporalSpace, load

TABLE = Path(__file__).with_name("fixed_parts.csv")
NOTHING, GIVEN = "none", "given"
TRACED = ("text encoder", "decoder")  # the parts that are predicted by what they are
FRAME_PIXELS = 4096  # of the latent frames that the table's decoders were timed on: 64 x 64


@dataclass(frozen=True)
class FixedPart:
    """A part that runs once a clip."""

    name: str
    latency_ms: float
    source: str = GIVEN

    def __post_init__(self) -> None:
        if not self.name or not (math.isfinite(self.latency_ms) and self.latency_ms >= 0):
            raise InputError(
                f"part {self.name!r} of the pipeline cannot take {self.latency_ms} ms; give "
                "NAME=MS, as decoder=540"
            )

    @property
    def kind(self) -> str:
        """Where its time comes from."""
        return GIVEN if self.source == GIVEN else "published"

    @property
    def bounds_ms(self) -> tuple[float, float]:
        """From where to where it may take: no further than it is said to."""
        return self.latency_ms, self.latency_ms


@dataclass(frozen=True)
class PartFolder:
    """A part as what it is: a folder, or a file, whose network is traced and predicted."""

    name: str
    path: str

    def __post_init__(self) -> None:
        if plain_name(self.name) not in TRACED:
            raise InputError(
                f"part {self.name}={self.path} of the pipeline: only {' and '.join(TRACED)} are "
                "predicted by what they are; give NAME=MS, as decoder=540"
            )


def parse_part(text: str) -> FixedPart | PartFolder:
    """A part as a user spells it: NAME=MS, or NAME=FOLDER of what it is."""
    name, _, value = (side.strip() for side in text.partition("="))
    try:
        latency_ms = float(value)
    except ValueError:
        return _part_folder(text, name, value)
    return FixedPart(name, latency_ms)


def _part_folder(text: str, name: str, value: str) -> PartFolder:
    path = os.path.expanduser(value)  # noqa: PTH111 (Path's raises where there is no such user)
    if name and value and Path(path).exists():
        return PartFolder(name, path)
    said = f"part {text!r} of the pipeline"
    if value and plain_name(name) in TRACED:
        raise InputError(f"{said}: no such folder: {path}; give one, or NAME=MS, as decoder=540")
    raise InputError(
        f"{said}: expected NAME=MS, as decoder=540, or the text encoder's or decoder's folder, as "
        "decoder=vae"
    )


def parts_of(
    published: Iterable[FixedPart], given: tuple[FixedPart, ...] | None
) -> tuple[FixedPart, ...]:
    """What runs once a clip: the parts that publications name, and those a user gives instead.

    A given part takes the place of the published one of its name; `none=0` alone is for nothing.

    Args:
        published: see `published_parts`.
        given: a user's; None or empty for what is published alone.

    Raises:
        InputError: `none` with a time, or beside other parts.
    """
    named = {plain_name(part.name): part for part in given or ()}
    if NOTHING in named:
        if len(named) > 1 or named[NOTHING].latency_ms:
            raise InputError("part none=0 stands for no parts at all: give it alone, with 0")
        return ()
    return tuple(({plain_name(part.name): part for part in published} | named).values())


def plain_name(name: str) -> str:
    """A name as it is compared: `text-encoder` is the text encoder."""
    return name.replace("-", " ").replace("_", " ").lower()


def published_parts(space: TemporalSpace, device: Device) -> Iterator[FixedPart]:
    """The parts that publications name for a space's clips, on a device."""
    unet = space.unet
    frames = unet.frames * unet.height * unet.width / FRAME_PIXELS
    with TABLE.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    for row in rows:
        if row["space"] != space.name.partition("(")[0]:
            continue
        latency_ms = float(row["latency_ms"]) * (1.0 if row["per"] == "clip" else frames)
        source = row["source"]
        if row["device"] != device.name:
            # By one network for all clips: a text encoder does not see how large they are.
            image = _image(row["space"])
            here_ms, there_ms = (
                each.predict(image).latency_ms for each in (device, load_device(row["device"]))
            )
            latency_ms *= here_ms / there_ms
            source += f"; from {row['device']}, scaled as the image U-Net's predicted time is"
        yield FixedPart(row["part"], latency_ms, source)


@functools.cache
def _image(name: str) -> Workload:
    """The image U-Net of a shipped space over one clip of its default sizes."""
    from nas.costs.workloads import SpaceCosts

    found = load(name)
    assert isinstance(found, TemporalSpace)
    return SpaceCosts(found).backbone.workload
