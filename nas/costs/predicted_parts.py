"""The latency, memory and size of a text encoder or a decoder, predicted by what it is.

The network of a user's folder is traced, and the trace priced as a searched network's is.
"""

from dataclasses import dataclass, replace
from pathlib import Path

from latency import Device, Workload
from nas.costs.fixed_parts import FixedPart, PartFolder, plain_name
from search_spaces import InputError, SearchSpace, TemporalSpace


@dataclass(frozen=True, kw_only=True)
class PredictedPart(FixedPart):
    """A part that was traced.

    Args:
        low_ms: from where it may take, of all calls together ...
        high_ms: ... and to where: the bounds of one call, times the calls.
        memory_mb: weights and peak activations of a call.
        weights_mb: as the device stores them.
        calls: for one clip.
    """

    low_ms: float
    high_ms: float
    memory_mb: float
    weights_mb: float
    calls: int = 1

    @property
    def kind(self) -> str:
        """Where its time comes from."""
        return "predicted"

    @property
    def bounds_ms(self) -> tuple[float, float]:
        """From where to where it may take."""
        return self.low_ms, self.high_ms


def predicted(
    part: PartFolder, space: SearchSpace, device: Device, most_mb: float | None
) -> PredictedPart:
    """What a part takes on a device for one clip of a space; a decoder, frame by frame.

    That is how a decoder is exported, too, unless more is asked for.

    Args:
        part: a text encoder, or a decoder.
        space: of the network between the two.
        device: that predicts.
        most_mb: that may be taken at once; None where nobody says.

    Raises:
        InputError: nothing there, of another width or other channels than the space has, more
            than may be taken, or a device that knows nothing of such a network.
    """
    if not isinstance(space, TemporalSpace):
        raise InputError(
            f"part {part.name}={part.path}: space {space.name!r} has no clips and no context, so "
            "nothing says how large its inputs are; give NAME=MS"
        )
    unet, path = space.unet, Path(part.path)
    from nas.costs.part_modules import decoder_workload, text_workload

    if plain_name(part.name) == "decoder":
        how = f"{unet.frames} frames, one a call"
        return _priced(part, decoder_workload(path, unet), device, most_mb, unet.frames, how)
    how = f"{unet.context_tokens} tokens"
    return _priced(part, text_workload(path, unet), device, most_mb, 1, how)


def _priced(
    part: PartFolder,
    workload: Workload,
    device: Device,
    most_mb: float | None,
    calls: int,
    how: str,
) -> PredictedPart:
    needed_mb = device.memory_mb(workload)
    if most_mb is not None and needed_mb > most_mb:
        raise InputError(
            f"part {part.name}={part.path}: needs {needed_mb:.0f} MB on {device.name}, where "
            f"{most_mb:g} MB are allowed; give a smaller one, or raise `memory_mb=`"
        )
    call = device.predict(workload)
    return PredictedPart(
        part.name,
        calls * call.latency_ms,
        f"predicted by what {Path(part.path).name} is: {how}",
        low_ms=calls * call.low_ms,
        high_ms=calls * call.high_ms,
        memory_mb=needed_mb,
        weights_mb=device.memory_mb(replace(workload, peak_bytes=0)),
        calls=calls,
    )
