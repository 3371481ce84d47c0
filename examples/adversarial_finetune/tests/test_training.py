"""Both stages on a toy: resumed equals uninterrupted, and a failure loses nothing."""

import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from conftest import FEW_STEPS, Call
from jsonschema import Draft202012Validator
from safetensors.torch import load_file
from toy import write_clips

from adversarial_finetune import checkpoint, seen
from adversarial_finetune.data import find_clips
from adversarial_finetune.discriminator import KINDS
from adversarial_finetune.errors import InputError
from adversarial_finetune.flow import guess
from adversarial_finetune.run import Run, TrainingFailedError
from adversarial_finetune.settings import Settings
from adversarial_finetune.stage_two import StageTwo
from adversarial_finetune.write_back import tuned_weights, write_back
from temporal_bundle import FINETUNED_FORMAT, BundleError, open_bundle, schema
from temporal_bundle.closeness import check_close

SHORT = Settings(stage_one_steps=6, stage_two_steps=6, clips_per_step=4, head_width=8, heads=KINDS)


class StoppedError(Exception):
    pass


def test_clips_are_looked_at_once(
    bundle: Path, clips: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(clips, tmp_path / "clips")
    run = Run(tmp_path / "run", open_bundle(bundle), tmp_path / "clips", SHORT)
    run.begin(resume=False)
    monkeypatch.setattr(seen, "_here", set())  # another process, which goes on with it
    layouts = [find_clips(tmp_path / "clips", split) for split in ("train", "test")]
    assert [seen.was_seen(each, run.folder) for each in layouts] == [True, False]
    assert not seen.was_seen(layouts[0], None)
    os.utime(next((tmp_path / "clips").rglob("train*")), (1, 1))
    changed = find_clips(tmp_path / "clips", "train")
    assert not seen.was_seen(changed, run.folder)


def test_a_checkpoint_of_heads_that_were_told_otherwise_is_refused(
    bundle: Path, clips: Path, tmp_path: Path
) -> None:
    run = Run(tmp_path / "run", open_bundle(bundle), clips, SHORT)
    run.begin(resume=False)

    def stop(stage: str, done: int, *_: object) -> None:
        if (stage, done) == ("two", 4):
            raise StoppedError

    with pytest.raises(StoppedError):
        run.train(stop, checkpoint_every=2)
    file = run.folder / "stage-two.checkpoint"
    tensors, notes = checkpoint.load(file)
    older = {name: value for name, value in notes.items() if name in {"step", "seconds"}}
    checkpoint.save(file, tensors, older)  # as it was written before
    with pytest.raises(InputError, match="remove it, and the stage begins anew"):
        run.train()
    file.unlink()
    run.train()
    assert run.finished("two").exists()


@pytest.mark.parametrize("stage", ["one", "two"])
def test_resumed_is_uninterrupted(stage: str, bundle: Path, clips: Path, tmp_path: Path) -> None:
    whole = Run(tmp_path / "whole", open_bundle(bundle), clips, SHORT)
    whole.begin(resume=False)
    whole.train(checkpoint_every=2)
    parted = Run(tmp_path / "parted", open_bundle(bundle), clips, SHORT)
    parted.begin(resume=False)

    def stop(at: str, done: int, *_: object) -> None:
        if (at, done) == (stage, 5):
            raise StoppedError

    with pytest.raises(StoppedError):
        parted.train(stop, checkpoint_every=2)
    parted.begin(resume=True)
    parted.train(checkpoint_every=2)
    for each in ("one", "two"):
        for name, tensor in whole.weights(each).items():  # type: ignore[arg-type]
            assert torch.equal(tensor, parted.weights(each)[name]), name  # type: ignore[arg-type]
    names = {path.name for path in parted.folder.iterdir()}
    assert names == {
        "run.json", "log.jsonl", "checked.json", "stage-one.safetensors", "stage-two.safetensors",
    }  # fmt: skip


def test_a_killed_training_goes_on(bundle: Path, clips: Path, tmp_path: Path) -> None:
    steps = ("--stage-one-steps", "400", "--stage-two-steps", "2", "--clips-per-step", "2")
    command = [
        *(sys.executable, "-m", "adversarial_finetune", "train", str(bundle)),
        *("--data", str(clips), "--out", str(tmp_path / "run"), *steps),
    ]
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    state = tmp_path / "run" / "stage-one.checkpoint"
    while not state.exists():
        assert process.poll() is None, "ended before it could be killed"
        time.sleep(0.01)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    refused = subprocess.run(command, capture_output=True, text=True, check=False)
    assert refused.returncode == 2
    assert "go on by --resume" in refused.stderr
    done = subprocess.run([*command, "--resume"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert (bundle / "finetuned.json").exists()


def test_a_loss_that_is_no_number_stops_and_keeps_the_last_good_state(
    bundle: Path, clips: Path, tmp_path: Path
) -> None:
    wild = replace(SHORT, stage_one_steps=100, stage_one_rate=1e30)
    run = Run(tmp_path / "run", open_bundle(bundle), clips, wild)
    run.begin(resume=False)
    with pytest.raises(TrainingFailedError, match=r"stage one: .* at step \d+; the last good"):
        run.train(checkpoint_every=1)
    kept = load_file(run.folder / "stage-one.checkpoint")
    assert all(torch.isfinite(tensor).all() for tensor in kept.values())
    assert not run.finished("one").exists()
    assert not (bundle / "finetuned.safetensors").exists()


def test_a_run_is_gone_on_with_as_it_was_begun(bundle: Path, clips: Path, tmp_path: Path) -> None:
    opened = open_bundle(bundle)
    Run(tmp_path / "run", opened, clips, SHORT).begin(resume=False)
    other = replace(SHORT, generator_rate=1.0)
    with pytest.raises(InputError, match=r"with settings.generator_rate 0.0005, not 1.0"):
        Run(tmp_path / "run", opened, clips, other).begin(resume=True)
    write_clips(tmp_path / "fewer", 8)
    with pytest.raises(InputError, match="was begun with other clips; go on with the same"):
        Run(tmp_path / "run", opened, tmp_path / "fewer", SHORT).begin(resume=True)


BAD_FLAGS = {
    ("--data", "nowhere"): "nowhere/validation: no such clips",
    ("--data", "encoded"): "encoded: holds films, of which `nas clips --data encoded --out CLIPS`",
    ("--stage-one-rate", "-1"): "stage_one_rate: give a number above 0",
    ("--heads-rate", "inf"): "heads_rate: give a number above 0",
    ("--r1", "nan"): "r1: give a number from 0",
    ("--adversarial", "-1"): "adversarial: give a number from 0",
    ("--steps", "1001"): "steps: give 1000 at most",
    ("--seed", "10000000000000"): "seed: give a whole number from 0, below",
    ("--clips-per-step", "5000"): "clips_per_step: give 4096 at most",
    ("--device", "meta"): "--device meta: give cpu, cuda",
    ("--out", "taken"): "taken: is no folder",
}


@pytest.mark.parametrize("flags", BAD_FLAGS, ids=" ".join)
def test_a_wish_that_cannot_be_met_is_refused_in_one_line(
    flags: tuple[str, str], bundle: Path, clips: Path, call: Call
) -> None:
    Path("taken").write_text("")
    Path("encoded").mkdir()
    Path("encoded/latents.json").write_text("{}")
    code, printed, said = call("train", bundle, "--data", clips, "--out", "run", *flags)
    assert (code, printed, said.count("\n")) == (2, "", 1)
    assert BAD_FLAGS[flags] in said
    assert not Path("run").exists()


def test_a_batch_of_one_clip_trains(bundle: Path, clips: Path, tmp_path: Path) -> None:
    run = Run(tmp_path / "run", open_bundle(bundle), clips, replace(SHORT, clips_per_step=1))
    run.begin(resume=False)
    run.train()
    assert run.finished("two").exists()


def test_weights_that_are_no_numbers_are_never_kept(
    bundle: Path, clips: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The last step's loss was a number before it was made."""
    monkeypatch.setattr("adversarial_finetune.run.rate", lambda *_: float("nan"))
    short = replace(SHORT, stage_one_steps=1)
    run = Run(tmp_path / "run", open_bundle(bundle), clips, short)
    run.begin(resume=False)
    with pytest.raises(TrainingFailedError, match="stage one: the weights hold no numbers"):
        run.train()
    assert not run.finished("one").exists()


def test_a_damaged_run_is_refused(bundle: Path, clips: Path, call: Call) -> None:
    assert call("train", bundle, "--data", clips, "--out", "run", *FEW_STEPS)[0] == 0
    Path("run/run.json").write_text("{")
    for command in (
        ("train", bundle, "--out", "run", "--resume", *FEW_STEPS),
        ("evaluate", "run", bundle),
    ):
        code, _, said = call(*command, "--data", clips)
        assert (code, said.count("\n")) == (2, 1)
        assert "run.json: is damaged" in said


@pytest.mark.parametrize("kind", ["a pipe", "a link", "a folder"])
def test_what_is_no_ordinary_file_is_not_replaced(
    bundle: Path, clips: Path, call: Call, kind: str
) -> None:
    Path("run").mkdir()
    place = Path("run/stage-one.safetensors")
    {"a pipe": os.mkfifo, "a link": lambda p: p.symlink_to("gone"), "a folder": Path.mkdir}[kind](
        place
    )
    code, _, said = call("train", bundle, "--data", clips, "--out", "run", *FEW_STEPS)
    assert (code, said.count("\n")) == (2, 1)
    assert "no ordinary file stands there; remove it, or choose another" in said
    assert not place.is_file()


def test_clips_that_git_lfs_left_out_are_told_of(bundle: Path, call: Call) -> None:
    pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:0\n"
    Path("fetched").mkdir()
    Path("fetched/validation.safetensors").write_text(pointer)
    code, _, said = call("train", bundle, "--data", "fetched", "--out", "run", *FEW_STEPS)
    assert (code, said.count("\n")) == (2, 1)
    assert "validation.safetensors: is a Git LFS pointer in place of the file itself" in said
    assert not Path("run").exists()


def test_from_a_bundle_to_a_gif(bundle: Path, clips: Path, call: Call) -> None:
    before = (bundle / "bundle.json").read_bytes()
    code, printed, said = call("train", bundle, "--data", clips, "--out", "run", *FEW_STEPS)
    assert code == 0, said
    assert "finetuned.safetensors, 4 steps" in printed
    assert (bundle / "bundle.json").read_bytes() == before
    assert list(Path("run/samples").glob("*.png"))
    judged = ("--clips", "16", "--classifier-steps", "20", "--json")
    code, printed, said = call("evaluate", "run", bundle, "--data", clips, *judged)
    assert code == 0, said
    found = {each["sampler"]: each["calls"] for each in json.loads(printed)["samplers"]}
    assert found["25 steps, guided"] == 50
    assert found["4 steps, tuned"] == 4
    assert Path("run/samples.png").stat().st_size > 1000
    figures = json.loads((bundle / "finetuned.json").read_text())["figures"]
    assert figures == json.loads(printed)
    code, _, said = call("sample", bundle, "--data", clips, "--out", "tuned.gif")
    assert code == 0, said
    assert Path("tuned.gif").read_bytes().startswith(b"GIF8")
    assert "train first" in call("evaluate", "nowhere", bundle, "--data", clips)[2]
    os.mkfifo("pipe.gif")
    for out in ("tuned", "nowhere/tuned.gif", "pipe.gif"):
        code, _, said = call("sample", bundle, "--data", clips, "--out", out)
        assert (code, said.count("\n")) == (2, 1), out
    again = call("train", bundle, "--data", clips, "--out", "other", "--seed", "1", *FEW_STEPS)
    assert again[0] == 0, again[2]
    assert f"{bundle}: is tuned already; this run's weights will replace those" in again[2]
    code, printed, said = call("evaluate", "run", bundle, "--data", clips, *judged)
    assert (code, printed) == (2, "")
    assert "was tuned by another run than run" in said
    again = call("train", bundle, "--data", clips, "--out", "run", "--resume", *FEW_STEPS)
    assert "is tuned already" not in again[2]
    assert call("evaluate", "run", bundle, "--data", clips, *judged)[0] == 0, "as the line says"


def test_tuned_weights_belong_to_their_bundle(bundle: Path) -> None:
    opened = open_bundle(bundle)
    weights = {name: tensor + 1 for name, tensor in opened.weights().items()}
    write_back(opened, weights, SHORT, {"fps": 24})
    assert open_bundle(bundle).made_with() == {"fps": 24}
    found, times = tuned_weights(open_bundle(bundle))
    validator = Draft202012Validator(schema(FINETUNED_FORMAT))
    validator.validate(json.loads((bundle / "finetuned.json").read_text()))
    assert times == [1.0, 0.75, 0.5, 0.25]
    assert all(torch.equal(found[name], tensor) for name, tensor in weights.items())
    with pytest.raises(BundleError, match="another network's"):
        write_back(opened, {"stranger": torch.zeros(1)}, SHORT)
    _, most = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, most))  # no room
    try:
        with pytest.raises(OSError, match=r"finetuned\.safetensors"):
            write_back(opened, weights, SHORT)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (most, most))
    assert tuned_weights(open_bundle(bundle))[1] == times, "what stood there stays"
    (bundle / "finetuned.safetensors").write_bytes(b"changed")
    with pytest.raises(BundleError, match="was changed since"):
        open_bundle(bundle)


def test_both_stages_learn(bundle: Path, clips: Path, tmp_path: Path) -> None:
    """The first lowers its loss; the second keeps its numbers finite and changes the weights."""
    settings = replace(SHORT, stage_one_steps=120, stage_two_steps=30, clips_per_step=8)
    run = Run(tmp_path / "run", open_bundle(bundle), clips, settings)
    run.begin(resume=False)
    losses: dict[str, list[float]] = {"one": [], "two": []}
    run.train(lambda stage, _, __, found: losses[stage].append(next(iter(found.values()))))
    assert sum(losses["one"][-30:]) < 0.8 * sum(losses["one"][:30])
    one, two = run.weights("one"), run.weights("two")
    assert any(not torch.equal(one[name], two[name]) for name in one)


def test_half_of_the_clips_follow_the_guided_teacher(
    bundle: Path, clips: Path, tmp_path: Path
) -> None:
    run = Run(tmp_path / "run", open_bundle(bundle), clips, SHORT)
    run.begin(resume=False)
    run.train()
    stage = run.begun("two")
    assert isinstance(stage, StageTwo)
    (batch,) = stage._draw(0)
    wanted = stage._wanted(batch)
    assert torch.equal(wanted[2:], batch.x_BCTHW[2:])
    free, told = (
        guess(stage.teacher, batch.noisy_BCTHW[:2], batch.time_B[:2], context)
        for context in (torch.zeros_like(batch.asked_BLC[:2]), batch.asked_BLC[:2])
    )
    check_close(wanted[:2], free + stage.terms.guidance * (told - free))
    assert not wanted.requires_grad
