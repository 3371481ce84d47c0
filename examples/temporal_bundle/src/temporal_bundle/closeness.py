"""Compare the outputs of networks by the scale of what is compared.

Processors, kernels and numbers of threads add in other orders: float32 answers differ in their last
digits, by more the larger the numbers on the way. A fixed tolerance therefore means something else
for every network and machine; a share of the answers' standard deviation does not.
"""

import math
from collections.abc import Iterable

import torch
from torch import Tensor

SHARE = 1e-4  # float32 through our deepest networks is exact to 1e-5 of the standard deviation


def difference(found: Tensor, wanted: Tensor) -> float:
    """The largest absolute difference, as a share of the standard deviation of what is wanted.

    What does not vary is measured by its own size instead. Not-a-number equals nothing.
    """
    assert found.shape == wanted.shape, f"{tuple(found.shape)}, expected {tuple(wanted.shape)}"
    found, wanted = found.detach().double(), wanted.detach().double()
    largest = float((found - wanted).abs().max())
    if largest == 0:
        return 0.0
    deviation = float(wanted.std(correction=0))
    scale = deviation or float(wanted.abs().max())
    share = largest / scale if scale else math.inf
    return math.inf if math.isnan(share) else share


def check_close(found: Tensor, wanted: Tensor, where: object = "", share: float = SHARE) -> None:
    """Assert that two answers of networks are equal but for rounding."""
    assert found.dtype == wanted.dtype, f"{where}: {found.dtype}, expected {wanted.dtype}"
    apart = difference(found, wanted)
    assert apart <= share, f"{where}: off by {apart:.1e} of the standard deviation"


def flat(tensors: Iterable[Tensor]) -> Tensor:
    """All numbers in a row: gradients and weights are judged by the scale of the whole.

    One tensor of them may be nothing but rounding, as the gradient of a key's bias is.
    """
    return torch.cat([tensor.detach().flatten() for tensor in tensors])
