"""Both stages on a toy: resumed equals uninterrupted, and a failure loses nothing."""

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from conftest import Call
from safetensors.torch import load_file, save_file
from toy import write_clips

from adversarial_finetune.bundle import open_bundle
from adversarial_finetune.errors import InputError
from adversarial_finetune.flow import guess
from adversarial_finetune.run import Run, TrainingFailedError
from adversarial_finetune.settings import Settings
from adversarial_finetune.write_back import tuned_weights, write_back

SHORT = Settings(stage_one_steps=6, stage_two_steps=6, clips_per_step=4, head_width=8)
FLAGS = ("--stage-one-steps", "6", "--stage-two-steps", "6", "--clips-per-step", "4")


class StoppedError(Exception):
    pass


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
    assert names == {"run.json", "log.jsonl", "stage-one.safetensors", "stage-two.safetensors"}


def test_a_killed_training_goes_on(bundle: Path, clips: Path, tmp_path: Path) -> None:
    steps = ("--stage-one-steps", "400", "--stage-two-steps", "2", "--clips-per-step", "2")
    command = [
        *(sys.executable, "-m", "adversarial_finetune", "train", str(bundle)),
        *("--data", str(clips), "--out", str(tmp_path / "run"), *steps),
    ]
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    state = tmp_path / "run" / "stage-one.checkpoint"
    for _ in range(1200):
        if state.exists() or process.poll() is not None:
            break
        time.sleep(0.05)
    assert state.exists(), "ended before it could be killed"
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
    with pytest.raises(InputError, match=r"with settings.generator_rate 0.0002, not 1.0"):
        Run(tmp_path / "run", opened, clips, other).begin(resume=True)
    write_clips(tmp_path / "fewer", 8)
    with pytest.raises(InputError, match="was begun with clips"):
        Run(tmp_path / "run", opened, tmp_path / "fewer", SHORT).begin(resume=True)


@pytest.mark.parametrize(
    ("tensors", "says"),
    [
        (
            {"clips": torch.zeros(4, 3, 4, 8, 8), "context": torch.zeros(4, 2, 3)},
            "channels, height",
        ),
        ({"clips": torch.zeros(4, 1, 4, 8, 8), "context": torch.zeros(4, 2, 9)}, "tokens of"),
        ({"clips": torch.zeros(4, 1, 4, 8, 8)}, "must hold the tensors"),
        ({"clips": torch.zeros(4, 1), "context": torch.zeros(4, 2, 9)}, "expected"),
        (
            {"clips": torch.full((4, 1, 4, 8, 8), torch.nan), "context": torch.zeros(4, 2, 3)},
            "holds NaN",
        ),
    ],
)
def test_clips_that_do_not_fit_are_refused(
    tensors: dict[str, torch.Tensor], says: str, bundle: Path, tmp_path: Path, call: Call
) -> None:
    (tmp_path / "bad").mkdir()
    for split in ("train", "validation"):
        save_file(tensors, tmp_path / "bad" / f"{split}.safetensors")
    code, printed, said = call("train", bundle, "--data", "bad", "--out", "run")
    assert (code, printed, said.count("\n")) == (2, "", 1)
    assert says in said
    assert not Path("run").exists()


def test_from_a_bundle_to_a_gif(bundle: Path, clips: Path, call: Call) -> None:
    before = (bundle / "bundle.json").read_bytes()
    code, printed, said = call("train", bundle, "--data", clips, "--out", "run", *FLAGS)
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
    again = call("train", bundle, "--data", clips, "--out", "other", "--seed", "1", *FLAGS)
    assert again[0] == 0, again[2]
    code, printed, said = call("evaluate", "run", bundle, "--data", clips, *judged)
    assert (code, printed) == (2, "")
    assert "was tuned by another run than run" in said


def test_tuned_weights_belong_to_their_bundle(bundle: Path) -> None:
    opened = open_bundle(bundle)
    weights = {name: tensor + 1 for name, tensor in opened.weights().items()}
    write_back(opened, weights, SHORT)
    found, times = tuned_weights(opened)
    assert times == [1.0, 0.75, 0.5, 0.25]
    assert all(torch.equal(found[name], tensor) for name, tensor in weights.items())
    with pytest.raises(InputError, match="another network's"):
        write_back(opened, {"stranger": torch.zeros(1)}, SHORT)
    assert tuned_weights(opened)[1] == times, "what stood there stays"
    (bundle / "finetuned.safetensors").write_bytes(b"changed")
    with pytest.raises(InputError, match="was changed since"):
        tuned_weights(opened)


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
    stage = run._two()
    batch = stage._draw(torch.Generator().manual_seed(0))
    wanted = stage._wanted(batch)
    assert torch.equal(wanted[2:], batch.x_BCTHW[2:])
    free, told = (
        guess(stage.teacher, batch.noisy_BCTHW[:2], batch.time_B[:2], context)
        for context in (torch.zeros_like(batch.asked_BLC[:2]), batch.asked_BLC[:2])
    )
    torch.testing.assert_close(wanted[:2], free + stage.terms.guidance * (told - free))
    assert not wanted.requires_grad


def test_an_ablation_trains_stage_one_once_a_seed(bundle: Path, clips: Path, call: Call) -> None:
    before = sorted(path.name for path in bundle.iterdir())
    few = ("--variants", "all of it", "no reconstruction", "--seeds", "0", "--clips", "16")
    arguments = ("ablate", bundle, "--data", clips, "--out", "ablation", *FLAGS, *few)
    code, printed, said = call(*arguments, "--classifier-steps", "10", "--json")
    assert code == 0, said
    assert said.count("stage one: 6/6") == 1
    rows = json.loads(printed)["rows"]
    found = [(row["variant"], row["sampler"]) for row in rows]
    assert len(set(found)) == len(found) == 1 + 6 + 2
    again = call(*arguments, "--json")
    assert json.loads(again[1])["rows"] == rows, "what is finished is not done again"
    assert "stage" not in again[2]
    printed = call(*arguments)[1]
    assert "4 steps, tuned : 25 steps, guided = " in printed
    assert "4 : 50 network calls" in printed
    assert sorted(path.name for path in bundle.iterdir()) == before
