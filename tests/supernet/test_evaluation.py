"""The exam, its standard errors, and races between networks."""

import math
from dataclasses import dataclass, field

import numpy as np
import pytest
import torch
from torch import Tensor

from search_spaces import InputError, UNetShape
from search_spaces.shipped.moving_digits import UNET
from supernet import Clips, MovingDigits, Validation
from supernet.evaluation.estimates import Estimate, mean_over_times
from supernet.evaluation.racing import tell_apart
from supernet.flow_matching import spread_times
from temporal_bundle.closeness import check_close

DIGITS = MovingDigits(UNET, "validation")


def zeros(x: Tensor, *_: Tensor) -> Tensor:
    return torch.zeros_like(x)


@pytest.mark.kernels
def test_every_network_sits_the_same_exam() -> None:
    exam = Validation(DIGITS, clips=20)
    seen: list[Tensor] = []

    def denoise(x: Tensor, *_: Tensor) -> Tensor:
        seen.append(x.clone())
        return torch.zeros_like(x)

    first, second = exam.losses(denoise), exam.losses(denoise)
    assert first.shape == (20,)
    assert torch.equal(first, second)
    half = len(seen) // 2
    assert all(torch.equal(a, b) for a, b in zip(seen[:half], seen[half:], strict=True))
    assert torch.equal(first, Validation(DIGITS, clips=20).losses(denoise))
    assert not torch.equal(first, Validation(DIGITS, clips=20, seed=1).losses(denoise))


@pytest.mark.kernels
def test_more_clips_begin_with_the_same() -> None:
    """Whatever is asked for, in whatever parts, even where a source draws otherwise."""
    whole = Validation(DIGITS, clips=37).losses(zeros)
    exam = Validation(DIGITS)
    parts = [exam.losses(zeros, *ends) for ends in ((0, 3), (3, 3), (3, 21), (21, 37))]
    check_close(torch.cat(parts), whole)
    check_close(Validation(DIGITS, clips=5).losses(zeros), whole[:5])


@dataclass
class Counted:
    """Large clips, of which it is counted how many are drawn at a time."""

    drawn: list[int] = field(default_factory=list)

    def clips(self, count: int, seed: int) -> Clips:
        self.drawn.append(count)
        generator = torch.Generator().manual_seed(seed)
        x = torch.rand(count, 3, 16, 64, 64, generator=generator)
        return Clips(x, torch.zeros(count, 1, 1))


def test_large_clips_are_drawn_one_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    source = Counted()
    exam = Validation(source, clips=6)
    first = exam.losses(zeros)
    assert source.drawn == [1] * 7, "one to learn the size"
    exam.losses(zeros)
    assert len(source.drawn) == 7, "what fits is kept"
    monkeypatch.setattr("supernet.evaluation.evaluation.KEPT_BYTES", 2 * 3 * 16 * 64 * 64 * 4)
    short = Validation(source, clips=6)
    short.losses(zeros)
    assert torch.equal(short.losses(zeros), first)
    assert len(source.drawn) == 7 + 1 + 6 + 4, "what does not is drawn again"


@pytest.mark.parametrize("count", [4, 16, 64, 256])
@pytest.mark.parametrize("first", [0, 3, 100])
def test_every_beginning_of_the_times_is_stratified(first: int, count: int) -> None:
    def uniform(shift: float) -> Tensor:
        return torch.special.ndtr(torch.logit(spread_times(first, count, shift).double()))

    slices = (uniform(1e-4) * count).floor().sort().values
    assert slices.tolist() == list(range(count)), "one in each slice"
    gaps = uniform(0.37).sort().values.diff()
    assert float(gaps.max()) < 2 / count
    assert torch.equal(spread_times(0, 300, 0.37)[first : first + 9], spread_times(first, 9, 0.37))


@pytest.mark.slow
def test_means_of_spread_times_know_their_errors() -> None:
    """600 exams of a loss that depends on the time, with chance that depends on it too."""
    rng = np.random.default_rng(0)
    found: list[Estimate] = []
    naive = []
    for _ in range(600):
        time = spread_times(0, 512, rng.random())
        chance = torch.tensor(rng.normal(size=512)) * (0.1 + 0.3 * time)
        value = 3 * (time - 0.4) ** 2 + time + chance
        found.append(mean_over_times(value, time))
        naive.append(float(value.std()) / math.sqrt(512))
    values = np.array([each.value for each in found])
    errors = np.array([each.error for each in found])
    assert np.sqrt(np.mean(errors**2)) / values.std() == pytest.approx(1, abs=0.1)
    assert np.mean(naive) / values.std() > 1.3, "the spread over all clips says too much"
    from scipy.stats import t

    truth = values.mean()
    reach = t.isf(0.05, found[0].degrees_of_freedom) * errors
    assert np.mean(np.abs(values - truth) < reach) == pytest.approx(0.9, abs=0.04)


def test_an_estimate_of_one_clip_has_no_error() -> None:
    alone = mean_over_times(torch.tensor([2.0]), torch.tensor([0.5]))
    assert alone.value == 2
    assert math.isnan(alone.error)
    assert str(Estimate(0.5, 0.01, 4)) == "0.5000 ± 0.0100"


def test_pairing_takes_the_clips_out_of_a_difference() -> None:
    exam = Validation(DIGITS, clips=64)
    first, second = (
        exam.losses(lambda x, time, _, s=share: s * x * time.view(-1, 1, 1, 1, 1))
        for share in (0.50, 0.52)
    )
    difference = exam.estimate(first - second)
    alone = math.hypot(exam.estimate(first).error, exam.estimate(second).error)
    assert abs(difference.value) > 5 * difference.error
    assert difference.error < alone / 5


@dataclass(frozen=True)
class Drawn(Validation):
    """Losses of networks that are no networks: a number for each, and chance."""

    table: np.ndarray = field(default_factory=lambda: np.zeros((1, 1)))

    def losses(self, denoiser: object, first: int = 0, stop: int | None = None) -> Tensor:
        assert isinstance(denoiser, int)
        return torch.tensor(self.table[denoiser, first:stop])


def race(rng: np.random.Generator, worse: list[float], limit: int = 1024, tail: bool = False):  # noqa: ANN201
    """Networks whose losses share most of their chance; each is worse than the first by so much."""
    own = rng.normal(size=(len(worse), limit))
    if tail:  # leaning to one side, as losses do
        own = rng.exponential(size=own.shape) - 1
    table = np.array(worse)[:, None] + 0.1 * own + rng.normal(size=limit)
    exam = Drawn(DIGITS, table=table)
    return tell_apart({name: name for name in range(len(worse))}, exam, limit)


def test_a_race_uses_no_more_clips_than_it_takes() -> None:
    rng = np.random.default_rng(0)
    clear = race(rng, [0.0, 0.5, 0.6, 0.7])
    assert clear.best == 0
    assert clear.decided
    assert clear.clips == 4 * 32
    mixed = race(rng, [0.0, 0.015, 0.5, 0.6])
    assert mixed.best == 0
    assert mixed.decided
    assert mixed.standings[1].loss.clips >= 128
    assert mixed.standings[2].loss.clips == 32
    assert mixed.standings[2].dropped
    assert mixed.standings[2].behind.value == pytest.approx(0.5, abs=0.1)
    assert mixed.standings[0].behind == Estimate(0, 0, mixed.standings[0].loss.clips)
    tied = race(rng, [0.0, 0.0, 0.5])
    assert not tied.decided
    assert tied.clips == 2 * 1024 + 32


@pytest.mark.slow
@pytest.mark.parametrize("tail", [False, True])
def test_the_best_is_seldom_dropped(tail: bool) -> None:
    """With twelve networks almost alike, where repeated looks without a correction would fail."""
    rng = np.random.default_rng(1)
    near = [0.0, *([0.001] * 11)]
    lost = sum(race(rng, near, 256, tail).standings[0].dropped for _ in range(100))
    assert lost <= 0.05 * 100 + 2 * math.sqrt(0.05 * 0.95 * 100)


def test_a_race_of_real_networks_ends() -> None:
    denoisers = {
        name: lambda x, *_, s=scale: s * torch.ones_like(x)
        for name, scale in {"near": 0.1, "far": 1.0, "farther": 2.0}.items()
    }
    verdict = tell_apart(denoisers, Validation(DIGITS), 128)
    assert verdict.best == "near"
    assert verdict.decided
    alone = tell_apart({"one": zeros}, Validation(DIGITS), 64)
    assert alone.best == "one"
    assert alone.clips == 32


def test_a_race_without_sense_is_refused() -> None:
    with pytest.raises(InputError, match="no network"):
        tell_apart({}, Validation(DIGITS))
    for limit, confidence in ((1, 0.95), (64, 1.0)):
        with pytest.raises(InputError, match="at least 2 clips and a confidence between 0 and 1"):
            tell_apart({"a": zeros}, Validation(DIGITS), limit, confidence)


def test_shapes_of_a_users_source_are_its_own() -> None:
    shape = UNetShape(1, (8,), 2, 8, 8, 2, 10)
    assert Validation(MovingDigits(shape, "test"), clips=3).losses(zeros).shape == (3,)
