"""In pieces, by several processes, with few activations kept: the same but for rounding."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch
from conftest import Call

from adversarial_finetune.allocations import Allocations
from adversarial_finetune.discriminator import KINDS
from adversarial_finetune.errors import is_out_of_memory
from adversarial_finetune.execution import Execution
from adversarial_finetune.parallel import Batch
from adversarial_finetune.run import Run
from adversarial_finetune.segments import segmented
from adversarial_finetune.settings import STAGES, Settings
from temporal_bundle import open_bundle
from temporal_bundle.closeness import check_close, difference, flat

SHORT = Settings(stage_one_steps=6, stage_two_steps=12, clips_per_step=8, heads=KINDS)
FLAGS = (
    *("--stage-one-steps", "6", "--stage-two-steps", "12", "--clips-per-step", "8"),
    *("--heads", "spatial", "temporal"),
)
# Rounding, a few dozen steps on: Muon turns gradients that are next to nothing by any angle.
APART = 1e-3


def trained(folder: Path, bundle: Path, clips: Path, execution: Execution) -> Run:
    run = Run(folder, open_bundle(bundle), clips, SHORT, execution)
    run.begin(resume=False)
    run.train()
    return run


def losses(folder: Path) -> list[dict[str, float]]:
    lines = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
    return [{n: v for n, v in line.items() if n not in {"stage", "seconds"}} for line in lines]


def check_alike(one: Run, other: Run) -> None:
    for found, wanted in zip(losses(one.folder), losses(other.folder), strict=True):
        assert found == pytest.approx(wanted, rel=APART)
    for stage in STAGES:
        moved = [flat(run.weights(stage).values()) for run in (one, other)]
        assert difference(*moved) < APART


@pytest.mark.parametrize(
    "execution", [Execution(accumulate=4), Execution(checkpointing=True)], ids=str
)
def test_other_executions_train_alike(
    execution: Execution, bundle: Path, clips: Path, tmp_path: Path
) -> None:
    whole = trained(tmp_path / "whole", bundle, clips, Execution())
    other = trained(tmp_path / "other", bundle, clips, execution)
    check_alike(other, whole)


def test_bfloat16_stays_close(bundle: Path, clips: Path, tmp_path: Path) -> None:
    whole = trained(tmp_path / "whole", bundle, clips, Execution())
    half = trained(tmp_path / "half", bundle, clips, Execution(precision="bf16"))
    assert losses(half.folder)[0]["loss"] == pytest.approx(losses(whole.folder)[0]["loss"], rel=0.1)
    assert all(tensor.dtype == torch.float32 for tensor in half.weights("two").values())
    assert losses(half.folder) != losses(whole.folder)


def as_list(answer: torch.Tensor | list[torch.Tensor]) -> list[torch.Tensor]:
    return [answer] if isinstance(answer, torch.Tensor) else list(answer)


@pytest.mark.parametrize("count", [1, 3, 8, 100])
def test_segments_answer_as_the_whole(count: int, bundle: Path) -> None:
    opened = open_bundle(bundle)
    x, time_B = torch.randn(3, 1, 4, 8, 8, requires_grad=True), torch.rand(3)
    context = torch.rand(3, 2, 3)
    weights = opened.weights()
    for module in (opened.denoiser(weights), opened.features(weights)):
        called, plain = segmented(module, count), module
        answers = [as_list(each(x, time_B, context)) for each in (called, plain)]
        assert all(torch.equal(one, other) for one, other in zip(*answers, strict=True))
        sums = [torch.stack([y.square().sum() for y in answer]).sum() for answer in answers]
        check_close(*(torch.autograd.grad(each, x)[0] for each in sums))


def test_segments_keep_little() -> None:
    layers = [each for _ in range(24) for each in (torch.nn.Linear(64, 64), torch.nn.SiLU())]
    x = torch.randn(512, 64)
    module = torch.export.export(torch.nn.Sequential(*layers), (x,)).module()
    most = []
    for called in (module, segmented(module)):
        with Allocations() as watched:
            called(x).square().mean().backward()
        most.append(watched.most)
    assert most[1] < 0.5 * most[0]


def test_pieces_share_a_batch() -> None:
    assert [list(piece) for piece in Batch(6, 2).pieces] == [[0, 2, 4], [1, 3, 5]]


def test_a_batch_that_is_not_shared_evenly_is_refused(
    bundle: Path, clips: Path, call: Call
) -> None:
    train = ("train", bundle, "--data", clips, "--out", "run", *FLAGS, "--accumulate")
    for count, says in (("3", "give a multiple of 3"), ("0", "give a whole number from 1")):
        code, printed, said = call(*train, count)
        assert (code, printed, said.count("\n")) == (2, "", 1)
        assert says in said
        assert not Path("run").exists()


def test_other_commands_run_alone(
    bundle: Path, clips: Path, call: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    alone = ("sample", bundle, "--data", clips, "--out", "a.gif")
    code, _, said = call(*alone)
    assert "no tuned weights" in said, "a cluster sets the variable for its own ends"
    for name in ("TORCHELASTIC_RUN_ID", "RANK", "MASTER_ADDR", "MASTER_PORT"):
        monkeypatch.setenv(name, "0")
    code, _, said = call(*alone)
    assert (code, said.count("\n")) == (2, 1)
    assert "torchrun is for `train`" in said
    train = ("train", bundle, "--data", clips, "--out", "run", "--device")
    for device, says in (("cuda:0", "give --device cuda"), ("cuda", "LOCAL_RANK=: is no number")):
        code, _, said = call(*train, device)
        assert (code, said.count("\n")) == (2, 1)
        assert says in said


def command(*arguments: object) -> list[str]:
    """Two processes on this machine; the port is a free one."""
    start = (sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2")
    ours = ("--rdzv-backend", "c10d", "--rdzv-endpoint", "localhost:0", "-m")
    return [*start, *ours, "adversarial_finetune", *map(str, arguments)]


@pytest.mark.long
def test_two_processes_train_as_one(bundle: Path, clips: Path, tmp_path: Path) -> None:
    one = trained(tmp_path / "one", bundle, clips, Execution())
    train = ("train", bundle, "--data", clips, "--out", tmp_path / "two", *FLAGS)
    done = subprocess.run(command(*train), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("tuned: ") == 1
    two = Run(tmp_path / "two", one.bundle, clips, SHORT)
    two.check_belongs()
    check_alike(two, one)
    done = subprocess.run(
        command(*train, "--resume", "--clips-per-step", "7"),
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode != 0
    assert done.stderr.count("give a multiple of 2") == 1


@contextmanager
def started(arguments: list[str]) -> Iterator[subprocess.Popen[bytes]]:
    with subprocess.Popen(arguments, stderr=subprocess.DEVNULL, start_new_session=True) as process:
        try:
            yield process
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)


def workers(parent: int) -> list[int]:
    found = Path(f"/proc/{parent}/task/{parent}/children").read_text().split()
    return [int(each) for each in found]


@pytest.mark.long
def test_processes_that_see_other_folders_are_refused(
    bundle: Path, clips: Path, tmp_path: Path
) -> None:
    trained(tmp_path / "run0", bundle, clips, Execution())
    script = tmp_path / "each.py"
    script.write_text(
        "import os, sys; from adversarial_finetune.cli import main; "
        "main([*sys.argv[1:], '--out', 'run' + os.environ['RANK'], '--resume'])"
    )
    start = command()[:-2]  # without -m and the module
    done = subprocess.run(
        [*start, script, "train", bundle, "--data", clips, *FLAGS],
        capture_output=True, text=True, check=False, cwd=tmp_path,
    )  # fmt: skip
    assert done.returncode != 0
    assert done.stderr.count("all machines must see the same bundle, --data and --out") == 1
    assert not (tmp_path / "run1").exists()


@pytest.mark.long
@pytest.mark.skipif(sys.platform != "linux", reason="asks Linux which processes are whose")
def test_a_killed_process_ends_in_a_run_to_go_on_with(
    bundle: Path, clips: Path, tmp_path: Path
) -> None:
    steps = ("--stage-one-steps", "400", "--stage-two-steps", "2", "--clips-per-step", "2")
    train = ("train", bundle, "--data", clips, "--out", tmp_path / "run", *steps)
    with started(command(*train)) as process:
        while not (tmp_path / "run" / "stage-one.checkpoint").exists():
            assert process.poll() is None, "ended before it could be killed"
            time.sleep(0.01)
        os.kill(workers(process.pid)[-1], signal.SIGKILL)
        assert process.wait() != 0
    assert not (bundle / "finetuned.json").exists()
    half = tmp_path / "run" / ".stage-one.checkpoint.killed"  # as a kill in the middle leaves it
    half.touch()
    alone = [sys.executable, "-m", "adversarial_finetune", *map(str, train), "--resume"]
    done = subprocess.run(alone, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert (bundle / "finetuned.json").exists()
    assert not half.exists()
    steps_of_one = [line["step"] for line in losses(tmp_path / "run") if "loss" in line]
    assert steps_of_one == [200, 400]


def test_a_process_that_is_asked_to_end_leaves_nothing_half_written(
    bundle: Path, clips: Path, tmp_path: Path
) -> None:
    train = ("train", bundle, "--data", clips, "--out", tmp_path / "run", "--clips-per-step", "2")
    alone = [sys.executable, "-m", "adversarial_finetune", *map(str, train)]
    with subprocess.Popen(alone, stderr=subprocess.PIPE, text=True) as process:
        while not (tmp_path / "run" / "stage-one.checkpoint").exists():
            assert process.poll() is None, "ended before it could be asked"
            time.sleep(0.01)
        process.send_signal(signal.SIGTERM)
        _, said = process.communicate()
    assert process.returncode == 130
    assert said.endswith("adversarial-finetune: stopped; --resume goes on\n")
    assert not list((tmp_path / "run").glob(".*"))


def test_memory_that_ran_out_is_told_from_other_errors() -> None:
    with pytest.raises(RuntimeError) as caught:
        torch.empty(2**50)
    assert is_out_of_memory(caught.value)
    with pytest.raises(RuntimeError) as caught:
        torch.ones(2) @ torch.ones(3)
    assert not is_out_of_memory(caught.value)
