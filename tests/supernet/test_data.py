"""Clips, times and the exam."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from search_spaces import InputError, UNetShape
from search_spaces.shipped.moving_digits import UNET
from supernet import MovingDigits
from supernet.data import drawing
from supernet.data.clips import recogniser_of, single_frames
from supernet.data.loading import load_clips
from supernet.flow_matching import drop_context, generate, logit_normal_times, step_times
from temporal_bundle.closeness import check_close


def test_no_digit_image_is_in_two_splits() -> None:
    splits = [MovingDigits(UNET, split).scans[0] for split in ("train", "validation", "test")]
    assert sum(map(len, splits)) == 1797
    seen = [{image.numpy().tobytes() for image in images} for images in splits]
    # A handful of the 1,797 images are the same drawing twice; none may cross a split.
    assert not seen[0] & seen[1]
    assert not seen[0] & seen[2]
    assert not seen[1] & seen[2]


def test_clips_depend_on_their_seed_alone() -> None:
    data = MovingDigits(UNET, "train")
    first, again, other = data.clips(5, 3), data.clips(5, 3), data.clips(5, 4)
    assert torch.equal(first.x_BCTHW, again.x_BCTHW)
    assert torch.equal(first.context_BLC, again.context_BLC)
    assert not torch.equal(first.x_BCTHW, other.x_BCTHW)


def test_every_frame_moves_and_stays_a_picture() -> None:
    x = MovingDigits(UNET, "train").clips(200, 0).x_BCTHW
    assert x.shape == (200, 1, 8, 16, 16)
    assert float(x.min()) >= -1
    assert float(x.max()) <= 1
    assert (x[:, :, 1:] - x[:, :, :-1]).abs().amax(dim=(1, 3, 4)).min() > 0.02, (
        "a frame stood still"
    )


def test_single_frames_are_of_as_many_clips() -> None:
    data = MovingDigits(UNET, "train")
    frames = single_frames(data, 3)
    assert frames.x_BCTHW.shape == (UNET.frames, 1, 1, UNET.height, UNET.width)
    assert torch.equal(frames.x_BCTHW, single_frames(data, 3).x_BCTHW)
    assert len(torch.unique(frames.context_BLC, dim=0)) > 2, "of different clips"

    class OnlyClips:
        """A source that draws whole clips alone."""

        clips = data.clips

    whole, frames = data.clips(1, 3), single_frames(OnlyClips(), 3)
    assert torch.equal(frames.x_BCTHW[:, 0, 0], whole.x_BCTHW[0, 0])
    assert recogniser_of(OnlyClips()) is None


FOLDED = UNetShape(4, (16, 32), 5, 16, 16, 2, 10)  # digits of 16 pixels, four a latent


@pytest.mark.slow
@pytest.mark.parametrize("shape", [UNET, FOLDED])
def test_digits_are_found_where_they_are_and_nowhere_else(shape: UNetShape) -> None:
    data = MovingDigits(shape, "test")
    recogniser = data.recogniser()
    shown, others = data.clips(200, 3), data.clips(200, 4)
    assert recogniser.found(shown.x_BCTHW, shown.context_BLC).mean() > 0.8
    assert recogniser.found(shown.x_BCTHW, others.context_BLC).mean() < 0.3, "by chance alone"
    noise = torch.randn_like(shown.x_BCTHW)
    assert recogniser.found(noise, shown.context_BLC).mean() < 0.3
    assert data.caption(shown.context_BLC[0]) == " and ".join(
        str(int(token.argmax())) for token in shown.context_BLC[0] if token.any()
    )


def test_one_digit_or_two_are_named() -> None:
    count = MovingDigits(UNET, "train").clips(300, 0).context_BLC.sum(dim=(1, 2))
    assert set(count.tolist()) == {1.0, 2.0}
    assert 0.5 < (count == 2).float().mean() < 0.7


def test_the_ground_stands_in_most_clips_and_pans_in_the_others() -> None:
    generator = torch.Generator().manual_seed(0)
    ground = drawing.textures(
        400, UNET.frames, (UNET.height, UNET.width), 1.0, generator
    )  # B T H W
    change = (ground[:, -1] - ground[:, 0]).abs().amax(dim=(1, 2))
    stands = change < 1e-5
    assert 0.6 < stands.float().mean() < 0.8
    # What pans is the same picture elsewhere: its frames have the same frequencies.
    spectrum = torch.fft.rfft2(ground[~stands][:, :, :, :]).abs()[..., 1:4, 1:4]
    assert (spectrum[:, 0] - spectrum[:, -1]).abs().mean() < 0.05 * spectrum.mean()


def test_digits_cross_the_ground_and_leave_it_as_it_was() -> None:
    clips = MovingDigits(UNET, "train").clips(300, 1).x_BCTHW[:, 0]
    # Where no digit passes, what stands is the same in all frames.
    same = (clips.amax(dim=1) - clips.amin(dim=1)) < 1e-5
    share = same.float().mean(dim=(1, 2))
    assert 0.5 < (share > 0.05).float().mean() < 0.85


def test_digits_hide_each_other(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(drawing, "GROUND", 0.0)
    monkeypatch.setattr(drawing, "CONTRAST", 0.0)
    clips = MovingDigits(UNET, "train").clips(400, 4)
    ink = ((clips.x_BCTHW[:, 0] + 1) / 2).sum(dim=(-2, -1))  # B T
    lost = 1 - ink.amin(dim=1) / ink.amax(dim=1)
    two = clips.context_BLC.sum(dim=(1, 2)) == 2
    assert lost[~two].max() < 0.12, "a digit alone changed"
    # Added up, two digits would keep their ink as one does; hidden behind another, one loses it.
    assert 0.4 < (lost[two] > 0.12).float().mean() < 0.9
    assert (lost[two] > 0.3).float().mean() > 0.1


def test_digits_are_brighter_than_the_ground() -> None:
    clips = MovingDigits(UNET, "train").clips(300, 2).x_BCTHW
    brightest = clips.flatten(3).topk(10).values.mean(-1)
    assert brightest.median() > 0.6
    assert clips.median() < 0


def test_a_network_of_other_channels_is_refused() -> None:
    with pytest.raises(InputError, match="has 3 channels and 2 tokens of 10"):
        MovingDigits(UNetShape(3, (8,), 4, 8, 8, 2, 10), "train")
    with pytest.raises(InputError, match="has 1 channels and 77 tokens of 768"):
        MovingDigits(UNetShape(1, (8,), 4, 8, 8, 77, 768), "train")


def test_digits_and_a_folder_of_that_name_are_told_apart(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    assert isinstance(load_clips("digits", UNET, "train"), MovingDigits)
    (tmp_path / "digits").mkdir()
    assert isinstance(load_clips("digits", UNET, "train"), MovingDigits), "nothing is in there"
    (tmp_path / "digits" / "film.mp4").touch()
    with pytest.raises(
        InputError, match=r"give \./digits for the folder, or supernet\.data"
    ) as said:
        load_clips("digits", UNET, "train")
    built_in = load_clips(str(said.value).rsplit(maxsplit=1)[-1], UNET, "train")
    assert isinstance(built_in, MovingDigits)
    with pytest.raises(InputError, match="digits: none of its 1 videos can be used"):
        load_clips("./digits", replace(UNET, in_channels=3), "train")


def test_digits_as_latents_are_the_digits_of_a_larger_canvas() -> None:
    latents = MovingDigits(UNetShape(4, (8,), 4, 8, 8, 2, 10), "train")
    clips = latents.clips(3, 1)
    assert clips.x_BCTHW.shape == (3, 4, 4, 8, 8)
    pixels = latents.decode(clips.x_BCTHW)
    assert pixels.shape == (3, 1, 4, 16, 16)
    # A pixel's channel says where in its square it stood.
    assert torch.equal(pixels[:, 0, :, ::2, 1::2], clips.x_BCTHW[:, 1])
    plain = MovingDigits(UNetShape(1, (8,), 4, 16, 16, 2, 10), "train").clips(3, 1)
    assert torch.equal(plain.context_BLC, clips.context_BLC)
    bright, wanted = (float(x.flatten(1).topk(40)[0].mean()) for x in (pixels, plain.x_BCTHW))
    assert bright == pytest.approx(wanted, abs=0.1)


def test_times() -> None:
    generator = torch.Generator().manual_seed(0)
    drawn = logit_normal_times(20_000, generator)
    assert abs(float(drawn.mean()) - 0.5) < 0.01


def test_context_is_dropped_for_whole_clips() -> None:
    context = torch.ones(4000, 2, 10)
    kept = drop_context(context, 0.25, torch.Generator().manual_seed(0)).flatten(1)
    assert set(kept.sum(1).tolist()) == {0.0, 20.0}
    assert abs(float((kept.sum(1) == 0).float().mean()) - 0.25) < 0.03


@pytest.mark.kernels
def test_euler_steps_follow_a_straight_path_exactly() -> None:
    data = torch.randn(2, 1, 3, 4, 4)
    noise = torch.randn(2, 1, 3, 4, 4)
    for steps in (1, 4):
        found = generate(lambda *_: noise - data, noise, torch.zeros(2, 2, 10), step_times(steps))
        check_close(found, data)
