"""What a pipeline runs once a clip beside the denoising network: a text encoder, a decoder.

Their times come from a user, or from publications (`fixed_parts.csv`): one device each. On another
device they are scaled as the predicted time of the image U-Net is.
"""

import csv
import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from latency import Device, Workload
from latency.shipped import load_device
from search_spaces import InputError, TemporalSpace

TABLE = Path(__file__).with_name("fixed_parts.csv")
FRAME_PIXELS = 4096  # of the latent frames that the table's decoders were timed on: 64 x 64


@dataclass(frozen=True)
class FixedPart:
    """A part that runs once a clip."""

    name: str
    latency_ms: float
    source: str = "given"

    def __post_init__(self) -> None:
        if not self.name or not (math.isfinite(self.latency_ms) and self.latency_ms >= 0):
            raise InputError(
                f"part {self.name!r} of the pipeline cannot take {self.latency_ms} ms; give "
                "NAME=MS, as decoder=540"
            )


def parse_part(text: str) -> FixedPart:
    """A part as a user spells it: NAME=MS."""
    name, _, number = text.partition("=")
    try:
        return FixedPart(name.strip(), float(number))
    except ValueError:
        raise InputError(
            f"part {text!r} of the pipeline: expected NAME=MS, as decoder=540"
        ) from None


def published_parts(space: TemporalSpace, device: Device, image: Workload) -> tuple[FixedPart, ...]:
    """The parts that publications name for a space; none for most.

    Args:
        space: its clips' sizes count.
        device: where the pipeline runs.
        image: the image U-Net over one clip, by which times are carried from device to device.
    """
    return tuple(_parts(space, device, image))


def _parts(space: TemporalSpace, device: Device, image: Workload) -> Iterator[FixedPart]:
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
            here_ms, there_ms = (
                each.predict(image).latency_ms for each in (device, load_device(row["device"]))
            )
            latency_ms *= here_ms / there_ms
            source += f"; from {row['device']}, scaled as the image U-Net's predicted time is"
        yield FixedPart(row["part"], latency_ms, source)
