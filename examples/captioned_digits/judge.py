"""How many of the digits that captions ask for are in what a bundle generates.

    python -m examples.captioned_digits.judge BUNDLE

Of captions of test clips: the data's own clips, 25 guided steps of the weights that the search
left, and the few steps of the tuned ones, where the bundle has some. The judge is a digit
classifier that has seen the digits of the training split alone.
"""

import argparse
from pathlib import Path

import torch
from torch import Tensor

from examples.captioned_digits.data import open_clips
from examples.captioned_digits.space import UNET
from nas.bundle import Bundle
from nas.sampling.noise import drawn
from nas.sampling.sampler import sampler_of
from supernet.evaluation.sampling import Samples

CHUNK = 16


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("bundle", type=Path)
    parser.add_argument("--clips", type=int, default=256)
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()
    bundle = Bundle.load(asked.bundle)
    samples = Samples(open_clips(UNET, "test"), asked.clips, asked.seed)
    print(f"real clips: digits found {_found(samples, samples.real.x_BCTHW)}")
    for tuned in (False, True)[: 1 if bundle.finetuned is None else 2]:
        sampler = sampler_of(bundle, tuned=tuned, steps=None, guidance=None)
        made = generated(bundle, samples, tuned=tuned)
        words = f"{bundle.weights_in_words(finetuned=tuned)}; {sampler.words}"
        print(f"{words}: digits found {_found(samples, made)}")


@torch.inference_mode()
def generated(bundle: Bundle, samples: Samples, *, tuned: bool) -> Tensor:
    """Clips for the contexts of test clips, by the sampler that the weights are for."""
    sampler = sampler_of(bundle, tuned=tuned, steps=None, guidance=None)
    network = bundle.network(finetuned=tuned)
    made = []
    for place, context_BLC in enumerate(torch.split(samples.real.context_BLC, CHUNK)):
        draw = drawn(samples.seed + place, (len(context_BLC), *samples.real.x_BCTHW.shape[1:]))
        made.append(sampler.clips(network, context_BLC, samples.empty, draw))
    return torch.cat(made)


def _found(samples: Samples, x_BCTHW: Tensor) -> str:
    found = samples.found(x_BCTHW)
    assert found is not None
    return f"{found.value:.3f} +- {found.error:.3f}"


if __name__ == "__main__":
    main()
