"""How clips are made of a bundle's weights: by guided steps, or by the few that tuning left."""

from dataclasses import dataclass

from torch import Tensor

from nas.bundle import Bundle
from nas.sampling.noise import Draw
from search_spaces import InputError
from supernet.evaluation.sampling import GUIDANCE, STEPS
from supernet.flow_matching import Denoiser, generate, leap, step_times
from temporal_bundle.made_with import ASKED_BY, NOTHING
from temporal_bundle.manifest import MOST_GUIDANCE


@dataclass(frozen=True)
class Sampler:
    """A sampler of flow matching.

    Args:
        kind: `follow`, Euler steps along the velocity; or `leap`, a guess of the clip at each time,
            noised again to the next.
        times: of the network's calls, from noise.
        guidance: of either; 1 for none, else the network is called twice a step.
    """

    kind: str
    times: tuple[float, ...]
    guidance: float = 1.0

    @property
    def calls(self) -> int:
        """How often the network is called for a clip."""
        return len(self.times) * (1 if self.guidance == 1.0 else 2)

    @property
    def words(self) -> str:
        """The sampler in words."""
        guided = "" if self.guidance == 1.0 else f", guidance {self.guidance:g}"
        return f"{len(self.times)} steps of {self.kind!r}{guided}"

    def clips(
        self, denoiser: Denoiser, context_BLC: Tensor, empty_LC: Tensor, draw: Draw
    ) -> Tensor:
        """Clips (B, C, T, H, W) of noise as `draw` makes it; a leap draws more on the way."""
        if self.kind == "leap":
            return leap(denoiser, draw(), context_BLC, self.times, draw, self.guidance, empty_LC)
        return generate(denoiser, draw(), context_BLC, self.times, self.guidance, empty_LC)


def sampler_of(
    bundle: Bundle, *, tuned: bool, steps: int | None, guidance: float | None
) -> Sampler:
    """The sampler that a bundle's weights are for.

    Args:
        bundle: tuned weights say theirs.
        tuned: whether those are taken.
        steps: of weights as the search left them; None for 25.
        guidance: of these; None for 4, or for none where the network learned without captions.

    Raises:
        InputError: guidance that is no number, or far beyond use; steps or guidance of tuned
            weights, which were tuned for theirs.
    """
    if guidance is not None and not -MOST_GUIDANCE <= guidance <= MOST_GUIDANCE:
        raise InputError(
            f"`guidance={guidance}`: expected a number from {-MOST_GUIDANCE} to {MOST_GUIDANCE}, "
            "1 for none"
        )
    if tuned and bundle.finetuned is not None:
        if steps is not None or guidance is not None:
            raise InputError(
                f"{bundle.path}: its weights were tuned for a sampler of their own; leave `steps=` "
                "and `guidance=` out, or take `weights=searched`"
            )
        said = bundle.finetuned["sampler"]
        times = tuple(float(time) for time in said["times"])
        return Sampler(str(said["kind"]), times, float(said["guidance"]))
    if guidance is None:
        guidance = 1.0 if bundle.made_with.get(ASKED_BY) == NOTHING else GUIDANCE
    return Sampler("follow", tuple(step_times(steps or STEPS)), guidance)
