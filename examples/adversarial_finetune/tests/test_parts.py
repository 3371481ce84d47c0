"""Samplers, heads and figures against what is known of them."""

import copy
import math
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from adversarial_finetune.data import ClipFiles, Clips, labels_of
from adversarial_finetune.discriminator import KINDS, Heads, Kind, fooled, gradient_penalty, hinge
from adversarial_finetune.evaluation import _found, flicker_and_motion, frechet_distance
from adversarial_finetune.flow import follow, guess, leap, logit_normal_times, mix, step_times
from adversarial_finetune.layout import find_layout
from adversarial_finetune.learner import Learner
from adversarial_finetune.parallel import Batch
from adversarial_finetune.pooling import Pooling
from adversarial_finetune.rollout import Rollout
from adversarial_finetune.stage_one import StageOne
from adversarial_finetune.stream import Stream
from adversarial_finetune.tables import shares, table
from temporal_bundle.closeness import check_close, difference

CLIP = torch.randn(2, 1, 3, 4, 4, generator=torch.Generator().manual_seed(0))


def towards(x: Tensor, time: Tensor, _: Tensor) -> Tensor:
    """The exact velocity where all data is one clip: every path ends there."""
    return (x - CLIP) / time.view(-1, 1, 1, 1, 1)


@pytest.mark.parametrize("steps", [1, 4, 25])
def test_samplers_end_where_all_data_is(steps: int) -> None:
    noise, context = torch.randn_like(CLIP), torch.zeros(2, 1, 1)
    check_close(follow(towards, noise, context, steps), CLIP)
    generator = torch.Generator().manual_seed(1)
    found = leap(towards, noise, context, step_times(steps), generator)
    check_close(found, CLIP)


def test_a_guess_undoes_a_mix() -> None:
    time = torch.tensor([0.3, 0.9])
    noisy = mix(CLIP, torch.randn_like(CLIP), time)
    check_close(guess(towards, noisy, time, torch.zeros(2, 1, 1)), CLIP)


@pytest.mark.parametrize(("guidance", "calls"), [(1.0, 5), (2.0, 10)])
def test_guidance_doubles_the_calls(guidance: float, calls: int) -> None:
    asked = []

    def counted(x: Tensor, time: Tensor, context: Tensor) -> Tensor:
        asked.append(bool(context.any()))
        return towards(x, time, context)

    follow(counted, torch.randn_like(CLIP), torch.ones(2, 1, 1), 5, guidance)
    assert len(asked) == calls
    assert asked.count(True) == 5


def test_guidance_leads_away_from_what_asks_for_nothing(tmp_path: Path) -> None:
    asked = []

    def noted(x: Tensor, time: Tensor, context: Tensor) -> Tensor:
        asked.append(context)
        return towards(x, time, context)

    empty = torch.tensor([[0.5, -2.0]])
    data = Clips(CLIP, torch.ones(2, 1, 2).half(), empty.half())
    assert torch.equal(data.first(1).nothing, empty)
    assert not Clips(CLIP, torch.ones(2, 1, 2)).nothing.any()
    follow(noted, torch.randn_like(CLIP), data.context_NLC.float(), 1, 2.0, data.nothing)
    assert any(torch.equal(context, empty.expand(2, 1, 2)) for context in asked)
    clips = {"clips": CLIP, "context": torch.ones(2, 1, 2).half(), "empty_context": empty.half()}
    save_file(clips, tmp_path / "train.safetensors")
    stream = Stream(ClipFiles(find_layout(tmp_path, "train")), 0, 1.0)
    stage = StageOne(_Noted(asked), stream, Batch(200), image_share=0.0)  # type: ignore[arg-type]
    asked.clear()
    stage.step(0, 1.0, 0)
    dropped = (asked[0] == empty).flatten(1).all(1)
    assert 0.02 < dropped.float().mean() < 0.25
    assert (asked[0][~dropped] == 1).all()


class _Noted:
    """A learner that notes what it is asked for."""

    def __init__(self, asked: list[Tensor]) -> None:
        self.trained = {"weight": torch.zeros(())}
        self._asked = asked

    def __call__(self, x: Tensor, _: Tensor, context: Tensor) -> Tensor:
        self._asked.append(context)
        return torch.zeros_like(x)

    def add(self, loss: Tensor, _: float) -> None:
        self._loss = float(loss)

    def learn(self, _: int, __: float) -> float:
        return self._loss


def begun(x: Tensor, context: Tensor, calls: int) -> Rollout:
    return Rollout.begin(x, context.clone(), calls, torch.arange(len(x)), len(x))


def test_a_rollout_goes_the_samplers_way() -> None:
    """Carried from step to step, clips end where the sampler's end, of the same noise."""
    noise, times = torch.randn_like(CLIP), step_times(4)
    context, fresh = torch.zeros(2, 1, 1), torch.ones(2, 1, 1)

    def half_way(x: Tensor, time: Tensor, told: Tensor) -> Tensor:
        return towards(x, time, told) / 2 + told.sum()

    wanted = leap(half_way, noise, context, times, torch.Generator().manual_seed(1))
    rollout, generator = begun(torch.full_like(CLIP, 9.0), context, 1), torch.Generator()
    generator.manual_seed(1)
    for call, time in enumerate(times):
        assert rollout.call_B.tolist() == [call, call]
        drawn = noise if call == 0 else torch.randn(CLIP.shape, generator=generator)
        time_B = torch.full((2,), time)
        shown = mix(rollout.x_BCTHW, drawn, time_B)
        made = guess(half_way, shown, time_B, rollout.context_BLC)
        assert torch.equal(rollout.context_BLC, context)
        rollout.move(made, fresh, 4)
    check_close(rollout.x_BCTHW, wanted)
    assert rollout.call_B.tolist() == [0, 0]
    assert torch.equal(rollout.context_BLC, fresh), "who begins anew asks for something else"


def test_a_rollout_stands_before_all_calls() -> None:
    rollout = begun(torch.zeros(6, 1, 1, 1, 1), torch.zeros(6, 1, 1), 4)
    assert rollout.call_B.tolist() == [0, 1, 2, 3, 0, 1]
    rollout.move(torch.ones(6, 1, 1, 1, 1), torch.ones(6, 1, 1), 4)
    assert rollout.call_B.tolist() == [1, 2, 3, 0, 1, 2]
    assert rollout.context_BLC.flatten().tolist() == [0, 0, 0, 1, 0, 0]


@pytest.mark.parametrize("muon", [False, True])
def test_an_optimizer_goes_by_what_weights_mean_and_not_how_they_lie(muon: bool) -> None:
    """Channels last or first: the same steps; every weight moves; a restored one goes on alike."""
    x = torch.randn(4, 9, 6, 6, generator=torch.Generator().manual_seed(0))
    ends = []
    for layout in (torch.contiguous_format, torch.channels_last):
        torch.manual_seed(0)
        module = nn.Sequential(nn.Conv2d(9, 12, 3), nn.SiLU(), nn.Conv2d(12, 8, 1), nn.SiLU(),
                               nn.Conv2d(8, 2, 3), nn.Flatten(), nn.Linear(8, 10))  # fmt: skip
        module.to(memory_format=layout)
        before = {name: p.detach().clone() for name, p in module.named_parameters()}
        learner = Learner(module, 1e-2, 0.9, muon=muon)
        for step in range(3):
            learner.add(module(x).square().mean())
            learner.learn(step)
        assert all(not torch.equal(p, before[name]) for name, p in module.named_parameters())
        twin = copy.deepcopy(module)
        other = Learner(twin, 1e-2, 0.9, muon=muon)
        other.restore({name: t.contiguous() for name, t in learner.state().items()})
        for each, network in ((learner, module), (other, twin)):
            each.add(network(x).square().mean())
            each.learn(3)
        twins = dict(twin.named_parameters())
        assert all(torch.equal(p, twins[name]) for name, p in module.named_parameters())
        ends.append(torch.cat([(p - before[n]).flatten() for n, p in module.named_parameters()]))
    one, last = (each.detach() for each in ends)
    assert (one - last).norm() < 0.01 * one.norm()


def row(sampler: str, calls: int, frechet: float, seed: int) -> dict[str, object]:
    return {
        "sampler": sampler,
        "calls": calls,
        "frechet": frechet,
        "seed": seed,
        "accuracy": 0.5,
        "flicker": 1.0,
        "motion": 1.0,
        "ms_per_clip": 10.0 * calls,
    }


def test_shares_are_taken_seed_by_seed() -> None:
    rows = [
        row("25 steps, guided", 50, 40.0, 0), row("4 steps, untuned", 4, 80.0, 0),
        row("4 steps, tuned", 4, 40.0, 0), row("1 step, tuned", 1, 60.0, 0),
        row("25 steps, guided", 50, 20.0, 1), row("4 steps, untuned", 4, 80.0, 1),
        row("4 steps, tuned", 4, 30.0, 1), row("1 step, tuned", 1, 60.0, 1),
    ]  # fmt: skip
    many, few = shares(rows).splitlines()
    assert many.startswith("4 steps, tuned : 25 steps, guided = 1.25 (1.00 to 1.50) of the")
    assert "4 : 50 network calls, 0.08 of the time" in many
    assert "= 0.44 (0.38 to 0.50)" in few
    printed = table(rows).splitlines()
    assert "35.00 ± 5.00" in printed[3]
    nothing_found = [{**each, "accuracy": 0.0} for each in rows]
    assert " 0.000 " in table(nothing_found).splitlines()[3], "none found is a figure, too"
    assert (
        shares(rows[:4]).splitlines()[1].startswith("4 steps, tuned : 4 steps, untuned = 0.50 of")
    )


def test_times_lie_where_they_should() -> None:
    times = logit_normal_times(torch.randn(4000, generator=torch.Generator().manual_seed(0)), -1.0)
    assert (times > 0).all()
    assert (times < 1).all()
    assert abs(float(times.median()) - 1 / (1 + math.e)) < 0.02


def heads_of(kinds: tuple[Kind, ...]) -> Heads:
    torch.manual_seed(0)
    return Heads((6, 10), Pooling(torch.zeros(1, 3), torch.eye(3)[:, None]), 8, kinds)


def stages(frames: int = 4) -> list[Tensor]:
    generator = torch.Generator().manual_seed(0)
    return [
        torch.randn(2, 6, frames, 8, 8, generator=generator),
        torch.randn(2, 10, frames, 4, 4, generator=generator),
    ]


def told() -> tuple[Tensor, Tensor]:
    return torch.tensor([0.2, 0.7]), torch.eye(3)[:2][:, None]


def test_heads_learn_alike_from_contexts_of_any_size() -> None:
    """Of text encoders: large, many tokens, and mostly what the empty caption holds, too."""
    contexts = torch.rand(8, 4, 3)
    nothing = 20 * torch.rand(4, 3)
    small = Pooling(torch.zeros(4, 3), contexts)
    large = Pooling(nothing, 30 * contexts + nothing)
    check_close(large(30 * contexts + nothing), small(contexts))
    assert not large(nothing[None]).any()
    nothing_asked = Pooling(nothing, nothing.expand(8, 4, 3))
    assert not nothing_asked(nothing[None]).any()


def test_a_spatial_head_looks_at_frames_one_by_one() -> None:
    heads, order = heads_of(("spatial",)), torch.tensor([2, 0, 3, 1])
    straight = heads(stages(), *told())
    shuffled = heads([each[:, :, order] for each in stages()], *told())
    for one, other in zip(straight, shuffled, strict=True):
        check_close(one[:, order], other)


def test_a_temporal_head_looks_at_places_one_by_one() -> None:
    heads, changed = heads_of(("temporal",)), stages()
    changed[1][:, :, :, 0, 0] += 1
    before, after = heads(stages(), *told())[1], heads(changed, *told())[1]
    # The norm sees the whole frame, so that all places move a little; the changed one by far most.
    moved = (before - after).abs().amax(dim=(0, 1))
    assert moved.argmax() == 0
    order = torch.tensor([2, 0, 3, 1])
    shuffled = heads([each[:, :, order] for each in stages()], *told())
    assert difference(heads(stages(), *told())[0][:, order], shuffled[0]) > 0.01


@pytest.mark.parametrize("kinds", [KINDS, ("spatial",), ("temporal",)])
def test_heads_answer_everywhere_for_any_frames(kinds: tuple[Kind, ...]) -> None:
    for frames in (1, 5):
        found = heads_of(kinds)(stages(frames), *told())
        assert [tuple(each.shape) for each in found] == [(2, frames, 4, 4)] * 2 * len(kinds)


def test_the_condition_counts() -> None:
    heads, (time, context) = heads_of(KINDS), told()
    for other in ((time, context.flip(0)), (time.flip(0), context)):
        for one, another in zip(
            heads(stages(), time, context), heads(stages(), *other), strict=True
        ):
            assert difference(one, another) > 0.01


def test_the_penalty_is_the_square_of_a_slope() -> None:
    features = [each.requires_grad_() for each in stages()]
    weights = [torch.randn_like(each[:1]) for each in features]
    # Logits that are linear in the features: (B, T, H, W) with the same mean as the product.
    logits = [(each * w).sum(1) for each, w in zip(features, weights, strict=True)]
    places = [each[0].numel() / each.shape[1] for each in features]
    wanted = sum(float((w / p).square().sum()) for w, p in zip(weights, places, strict=True))
    assert float(gradient_penalty(logits, features)) == pytest.approx(wanted, rel=1e-4)
    heads = heads_of(KINDS)
    penalty = gradient_penalty(heads(features, *told()), features)
    penalty.backward()  # a second derivative of every part
    assert all(p.grad is not None for n, p in heads.named_parameters() if "leave.bias" not in n)


def test_losses_pull_apart() -> None:
    high, low = [torch.full((2, 3), 2.0)], [torch.full((2, 3), -2.0)]
    assert float(hinge(high, low)) == 0
    assert float(hinge(low, high)) == 6
    assert float(fooled(high)) < float(fooled(low))


def test_the_distance_of_normal_distributions() -> None:
    generator = torch.Generator().manual_seed(0)
    one = torch.randn(200_000, 3, generator=generator) * torch.tensor([1.0, 2.0, 3.0])
    other = torch.randn(200_000, 3, generator=generator) * torch.tensor([2.0, 2.0, 1.0]) + 1
    # Diagonal covariances: squared differences of means and of deviations.
    assert frechet_distance(one, other) == pytest.approx(3 + 1 + 0 + 4, abs=0.1)
    assert abs(frechet_distance(one, one)) < 1e-6


def test_flicker_and_motion() -> None:
    even = torch.arange(6.0).view(1, 1, 6, 1, 1).expand(2, 1, 6, 4, 4)
    blinking = (torch.arange(6) % 2).float().view(1, 1, 6, 1, 1).expand(2, 1, 6, 4, 4)
    assert flicker_and_motion([even]) == (0, 1)
    assert flicker_and_motion([blinking]) == pytest.approx((1, 1))
    whole = flicker_and_motion([torch.cat([even, blinking, blinking])])
    assert flicker_and_motion([even, torch.cat([blinking, blinking])]) == pytest.approx(whole)
    assert flicker_and_motion([even[:, :, :1]]) == (0, 0)


def test_accuracy_counts_what_was_asked_for() -> None:
    scores = torch.tensor([[3.0, 2.0, 1.0], [3.0, 2.0, 1.0], [1.0, 2.0, 3.0]])
    asked = torch.tensor([[1.0, 0, 0], [1.0, 0, 1.0], [0, 0, 0]])
    assert _found(scores, asked) == pytest.approx((1 + 0.5) / 2)


def test_labels_are_zeros_and_ones_or_none() -> None:
    context = torch.zeros(2, 2, 3)
    context[0, 1, 2] = 1
    asked = [[0, 0, 1], [0, 0, 0]]
    for rows in (context, torch.tensor(asked, dtype=torch.uint8)):
        labels = labels_of(rows)
        assert labels is not None
        assert labels.tolist() == asked
    assert labels_of(context * 0.5) is None
