"""Motion and flicker of clips whose answers are known."""

import math

import pytest
import torch
from torch import Tensor

from search_spaces import InputError
from search_spaces.shipped.moving_digits import UNET
from supernet import MovingDigits
from supernet.evaluation.temporal_metrics import (
    Playback,
    flicker,
    load_metric,
    motion,
    ratio_of_means,
)

PICTURE = torch.rand(1, 1, 1, 8, 8, generator=torch.Generator().manual_seed(0)) * 2 - 1
TIME = torch.arange(9.0).view(1, 1, 9, 1, 1)


def test_a_still_clip() -> None:
    still = PICTURE.expand(2, 3, 9, 8, 8)
    assert motion(still).tolist() == [0, 0]
    assert flicker(still).tolist() == [0, 0]


def test_even_motion() -> None:
    """A slope of brightness that moves a pixel a frame: each pixel changes evenly."""
    slope = torch.arange(8.0).view(1, 1, 1, 1, 8)
    moving = (0.05 * (slope - TIME)).expand(1, 1, 9, 8, 8)
    assert float(motion(moving)) == pytest.approx(0.05)
    assert float(motion(-2 * moving)) == pytest.approx(0.10)
    assert float(flicker(moving)) == pytest.approx(0, abs=1e-6)


def test_alternating_frames() -> None:
    alternating = PICTURE + 0.3 * (TIME % 2)
    assert float(motion(alternating)) == pytest.approx(0.3)
    assert float(flicker(alternating)) == pytest.approx(1)


def test_noise() -> None:
    noise = torch.randn(4, 1, 40, 32, 32, generator=torch.Generator().manual_seed(1))
    assert torch.allclose(flicker(noise), torch.tensor(0.75), atol=0.02)
    assert torch.allclose(motion(noise), torch.tensor(2 / math.sqrt(math.pi)), atol=0.02)
    walk = noise.cumsum(dim=2)
    assert torch.allclose(flicker(walk), torch.tensor(0.5), atol=0.02)


def test_the_error_of_a_ratio() -> None:
    generator = torch.Generator().manual_seed(2)
    found = []
    for _ in range(400):
        under = 2 + torch.rand(64, generator=generator)
        over = 0.8 * under + 0.3 * torch.randn(64, generator=generator)
        found.append(ratio_of_means(over, under))
    values = torch.tensor([each.value for each in found])
    errors = torch.tensor([each.error or 0.0 for each in found])
    assert float(values.mean()) == pytest.approx(0.8, abs=0.005)
    assert float(errors.mean() / values.std()) == pytest.approx(1, abs=0.12)
    assert math.isnan(ratio_of_means(over, torch.zeros(64)).value)


def test_a_network_that_knows_the_data_moves_as_it() -> None:
    playback = Playback(MovingDigits(UNET, "validation"), clips=16, seed=3)
    real = playback.source.clips(16, 3).x_BCTHW
    done = 0

    def knowing(x: Tensor, time: Tensor, _: Tensor) -> Tensor:
        nonlocal done
        begin = done // playback.steps * len(x)
        done += 1
        return (x - real[begin : begin + len(x)]) / time.view(-1, 1, 1, 1, 1)

    def nearest(generated: Tensor, wanted: Tensor) -> Tensor:
        return (generated - wanted).abs().flatten(1).amax(1)

    metrics = {"nearest": nearest, "one of all": lambda a, _: a.mean()}
    exact = playback.measure(knowing, metrics)
    assert list(exact) == ["motion", "flicker", "nearest", "one of all"]
    for name in ("motion", "flicker"):
        assert exact[name].value == pytest.approx(1, abs=1e-3)
        assert exact[name].error == pytest.approx(0, abs=1e-3)
    assert exact["nearest"].value < 1e-4
    assert exact["one of all"].error is None
    # Noise that stays noise changes far more, and is undone at once.
    idle = playback.measure(lambda x, *_: torch.zeros_like(x), {})
    assert idle["motion"].value > 5
    assert idle["flicker"].value > 1
    assert idle["motion"] == playback.measure(lambda x, *_: torch.zeros_like(x), {})["motion"]


def test_a_metric_of_the_wrong_kind_is_refused() -> None:
    playback = Playback(MovingDigits(UNET, "validation"), clips=4, steps=1)
    with pytest.raises(InputError, match=r"metric 'wide': returned shape \(4, 1\).*\(4,\)"):
        playback.measure(lambda x, *_: x, {"wide": lambda x, _: x.flatten(1).mean(1, keepdim=True)})
    with pytest.raises(InputError, match="metric 'words': returned str"):
        playback.measure(lambda x, *_: x, {"words": lambda *_: "good"})
    with pytest.raises(InputError, match="unknown metric 'fvd'"):
        load_metric("fvd")
    assert load_metric("supernet.evaluation.temporal_metrics:motion") is motion
    with pytest.raises(InputError, match="metric 'broken': ZeroDivisionError: "):
        playback.try_out({"fine": lambda a, _: a.mean(), "broken": lambda *_: 1 / 0})
