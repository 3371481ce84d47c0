"""All that a command will write is tried before it computes for minutes."""

import os
import resource
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch
from conftest import Call

from adversarial_finetune.run import Run
from adversarial_finetune.settings import Settings
from adversarial_finetune.write_back import write_back
from temporal_bundle import open_bundle

FLAGS = ("--stage-one-steps", "2", "--stage-two-steps", "2", "--clips-per-step", "2")
NOBODY = 65534


@contextmanager
def rights_count() -> Iterator[None]:
    """Root may write everywhere, so the body runs as somebody who may not."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(0)


@contextmanager
def files_of_at_most(size: int) -> Iterator[None]:
    """No file may grow beyond a limit, which is what a full disk does to one."""
    _, most = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, most))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (most, most))


@pytest.fixture(scope="module")
def trained(made: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a tuned bundle and its run."""
    folder = tmp_path_factory.mktemp("trained")
    shutil.copytree(made / "bundle", folder / "bundle")
    settings = Settings(stage_one_steps=2, stage_two_steps=2, clips_per_step=2)
    bundle = open_bundle(folder / "bundle")
    run = Run(folder / "run", bundle, made / "clips", settings)
    run.begin(resume=False)
    run.train()
    write_back(bundle, run.weights("two"), settings)
    return folder


@pytest.fixture
def public(trained: Path, clips: Path, call: Call) -> Iterator[Path]:  # noqa: ARG001
    """A folder with a tuned bundle, clips and the run, where anybody may write."""
    with tempfile.TemporaryDirectory() as name:  # pytest's are for one user
        folder = Path(name)
        for source in (trained / "bundle", trained / "run", clips):
            shutil.copytree(source, folder / source.name)
        for path in (folder, *folder.rglob("*")):
            path.chmod(0o777 if path.is_dir() else 0o666)
        before = Path.cwd()
        os.chdir(folder)
        try:
            yield folder
        finally:
            os.chdir(before)
            for path in folder.rglob("*"):
                path.chmod(0o777)


TRAIN = ("train", "bundle", "--data", "clips", "--out")
EVALUATE = ("evaluate", "run", "bundle", "--data", "clips", "--clips", "4", "--classifier-steps")
CASES: dict[str, tuple[str, tuple[str, ...], str]] = {
    "a bundle, train": ("bundle", (*TRAIN, "again", *FLAGS), "bundle/finetuned.safetensors"),
    "a bundle, evaluate": ("bundle", (*EVALUATE, "2"), "bundle/finetuned.json"),
    "a run, train": ("out", (*TRAIN, "out/run", *FLAGS), "out/run"),
    "a run, evaluate": ("run", (*EVALUATE, "2"), "run/figures.json"),
    "a picture": ("out", ("sample", "bundle", "--data", "clips", "--out", "out/a.gif"), "a.gif"),
    "an ablation": ("out", ("ablate", "bundle", "--data", "clips", "--out", "out/b"), "out/b"),
}


@pytest.mark.parametrize("case", CASES)
def test_a_folder_that_takes_no_files_is_refused_at_once(
    case: str, public: Path, call: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, command, says = CASES[case]
    monkeypatch.setattr(Run, "train", lambda *_, **__: pytest.fail("began to train"))
    Path("out").mkdir(exist_ok=True)
    before = sorted(public.rglob("*"))
    Path(folder).chmod(0o555)
    with rights_count():
        code, printed, said = call(*command)
    assert (code, printed, said.count("\n")) == (2, "", 1), said
    assert says in said
    assert "could not be written (Permission denied)" in said
    assert sorted(public.rglob("*")) == before


def test_an_ablation_needs_no_right_to_write_into_the_bundle(public: Path) -> None:
    Path("bundle").chmod(0o555)
    with rights_count():
        Run(public / "ablation", open_bundle("bundle"), Path("clips"), Settings()).begin(
            resume=False
        )
    assert Path("ablation/run.json").exists()


def test_a_disk_without_room_is_refused_at_once(bundle: Path, clips: Path, call: Call) -> None:
    size = (bundle / "weights.safetensors").stat().st_size
    before = {path: path.stat().st_mtime_ns for path in bundle.iterdir()}
    for limit, steps, says in (
        (size // 2, "2", "finetuned.safetensors: could not be written (File too large)"),
        (2 * size, "300", "checkpoint: could not be written"),
    ):
        flags = ("--stage-one-steps", steps, "--stage-two-steps", steps)
        with files_of_at_most(limit):
            code, printed, said = call("train", bundle, "--data", clips, "--out", "run", *flags)
        assert (code, printed, said.count("\n")) == (2, "", 1)
        assert says in said
        assert not Path("run").exists()
    assert {path: path.stat().st_mtime_ns for path in bundle.iterdir()} == before


@pytest.mark.parametrize(
    "taken",
    ["bundle/finetuned.json", "bundle/finetuned.safetensors", "run/samples", "run/log.jsonl"],
)
def test_what_stands_in_the_way_is_named_at_once(
    taken: str, bundle: Path, clips: Path, call: Call
) -> None:
    path = bundle.parent / taken
    if path.name == "samples":
        path.parent.mkdir()
        path.write_text("a file")
    else:
        path.mkdir(parents=True)
    code, printed, said = call("train", bundle, "--data", clips, "--out", "run", *FLAGS)
    assert (code, printed, said.count("\n")) == (2, "", 1), said
    assert path.name in said
    assert not Path("run/stage-one.safetensors").exists()


def test_a_training_whose_end_found_no_room_is_gone_on_with(
    bundle: Path, clips: Path, call: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The disk filled while it trained."""
    command = ("train", bundle, "--data", clips, "--out", "run", *FLAGS)
    train = Run.train

    def fill(run: Run, *given: object) -> None:
        train(run, *given)  # type: ignore[arg-type]
        resource.setrlimit(resource.RLIMIT_FSIZE, (100, resource.RLIM_INFINITY))

    monkeypatch.setattr(Run, "train", fill)
    try:
        code, _, said = call(*command)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY,) * 2)
    assert code == 1
    assert "--resume writes it" in said.splitlines()[-1]
    monkeypatch.setattr(Run, "train", train)
    assert call(*command, "--resume")[0] == 0
    assert open_bundle(bundle).chosen().which == "tuned"
    assert torch.isfinite(next(iter(open_bundle(bundle).weights().values()))).all()
