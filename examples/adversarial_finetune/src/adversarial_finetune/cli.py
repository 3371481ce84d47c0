"""The command line: `adversarial-finetune COMMAND`.

Results go to stdout, progress to stderr. Exit 0: done; 1: failed; 2: bad input; 130: stopped by
Ctrl-C.
"""

import argparse
import json
import re
import signal
import sys
import threading
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import torch

from adversarial_finetune import pictures
from adversarial_finetune.ablation import FULL, Ablation
from adversarial_finetune.checkpoint import replacing
from adversarial_finetune.comparison import REAL, compare, leaping, samplers, unseen
from adversarial_finetune.data import open_clips
from adversarial_finetune.errors import InputError, is_out_of_memory
from adversarial_finetune.evaluation import make
from adversarial_finetune.events import Events, check_installed
from adversarial_finetune.execution import Execution
from adversarial_finetune.flags import SETTINGS, TERMS, parser
from adversarial_finetune.judging import judged_by
from adversarial_finetune.parallel import ProcessLostError, check_alone, first, joined, rank
from adversarial_finetune.progress import Progress
from adversarial_finetune.room import check_files, check_folder, check_parent
from adversarial_finetune.run import Run, TrainingFailedError
from adversarial_finetune.settings import STAGES, Settings, Stage
from adversarial_finetune.stage_two import Terms
from adversarial_finetune.stages import Stages
from adversarial_finetune.tables import shares, table
from adversarial_finetune.trial import in_words, try_stage
from adversarial_finetune.write_back import add_figures, place_for, tuned_weights, write_back
from temporal_bundle import (
    FINETUNED,
    TUNED_WEIGHTS,
    BundleError,
    Weights,
    open_bundle,
)

SAMPLED = 8
SAMPLES = "samples"  # the folder of pictures in a run


def main(arguments: Sequence[str] | None = None) -> None:
    """Run a command; what went wrong becomes one line and an exit code."""
    given = parser(COMMANDS).parse_args(arguments)
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, _stopped)
    try:
        if given.run is not _train:
            check_alone()
        given.run(given)
    except (InputError, BundleError) as error:
        _fail(str(error), 2)
    except (TrainingFailedError, OSError) as error:
        _fail(str(error), 1)
    except ProcessLostError as error:
        _fail(f"{error}{given.goes_on}", 1)
    except KeyboardInterrupt:
        _fail(f"stopped{given.goes_on}", 130)
    except RuntimeError as error:
        if not is_out_of_memory(error):
            raise
        _fail(f"out of memory ({str(error).splitlines()[0]}){given.takes_less}", 1)


def _stopped(_signal: int, _frame: object) -> None:
    """Be asked to end, as torchrun asks the others and clusters ask all: nothing half-written."""
    raise KeyboardInterrupt


def _fail(text: str, code: int) -> None:
    sys.stderr.write(f"adversarial-finetune: {text}\n")
    sys.exit(code)


def _settings(given: argparse.Namespace) -> Settings:
    _check_device(given.device)
    terms = Terms(**{name: getattr(given, name) for name in TERMS})
    return Settings(**{name: getattr(given, name) for name in SETTINGS}, terms=terms)


def _execution(given: argparse.Namespace, device: str, accumulate: int = 1) -> Execution:
    return Execution(device, given.precision, given.checkpointing, accumulate)


def _train(given: argparse.Namespace) -> None:
    with joined(given.device) as device:
        _train_on(given, device)


def _train_on(given: argparse.Namespace, device: str) -> None:
    bundle = open_bundle(given.bundle)
    settings = replace(_settings(given), heads=tuple(given.heads), seed=given.seed)
    execution = _execution(given, device, given.accumulate)
    run = Run(given.out, bundle, given.data, settings, execution, given.text_contexts)
    if given.dry_run:
        _try_out(run, given.dry_run_steps)
        return

    def begin() -> None:
        if given.tensorboard:
            check_installed()
        check_folder(run.folder)
        check_folder(run.folder / SAMPLES)
        with place_for(bundle):
            run.begin(resume=given.resume)
        if (bundle.path / TUNED_WEIGHTS).exists() and not run.finished("two").exists():
            words = "is tuned already; this run's weights will replace those"
            sys.stderr.write(f"{bundle.path}: {words}\n")

    first(begin)
    if rank() == 0:
        _tell_of(run, given)
    else:
        run.train()
    first(lambda: _write_back(run))


def _tell_of(run: Run, given: argparse.Namespace) -> None:
    """Train, and say how far it is."""
    progress = Progress()
    events = Events(run.folder, run.settings) if given.tensorboard else None

    def on_step(stage: Stage, done: int, total: int, losses: Mapping[str, float]) -> None:
        progress(f"stage {stage}", done, total, losses)
        if events is not None:
            events.step(stage, done, total, losses)

    if not pictures.can_draw():
        sys.stderr.write("no Pillow here: no pictures while it trains\n")
    try:
        run.train(on_step, _Samples(run, events) if pictures.can_draw() else lambda *_: None)
    finally:
        if events is not None:
            events.close()


def _try_out(run: Run, steps: int) -> None:
    if steps < 1:
        raise InputError("--dry-run-steps: give a whole number from 1")
    run.check_data()
    stages, progress = Stages(run.bundle, run.data, run.settings, run.execution), Progress()

    def on_step(stage: Stage, done: int, total: int) -> None:
        if rank() == 0:
            progress(f"stage {stage}, trying it out", done, total)

    trials = [try_stage(stages, stage, steps, on_step) for stage in STAGES]
    if rank() == 0:
        print(in_words(trials))


def _write_back(run: Run) -> None:
    try:
        write_back(run.bundle, run.weights("two"), run.settings, run.data.layout.made_with)
    except OSError as error:
        raise OSError(f"{error}; it is trained: mend that, and --resume writes it") from None
    print(f"tuned: {run.bundle.path / TUNED_WEIGHTS}, {run.settings.steps} steps")


class _Samples:
    """Clips of the network as it learns: RUN/samples/stage-one-00200.png ..."""

    def __init__(self, run: Run, events: Events | None) -> None:
        self._run, self._events = run, events
        self._real = run.open("validation").first(4)

    def __call__(self, stage: Stage, done: int, weights: Weights) -> None:
        folder = self._run.folder / SAMPLES
        folder.mkdir(exist_ok=True)
        times = self._run.settings.times
        device = self._run.execution.device
        module = self._run.bundle.denoiser(weights, device)
        made = make(leaping(module, times, device), self._real, 0)
        name = f"{len(times)} leaps"
        rows = {REAL: self._real.x_NCTHW, name: made}
        file = folder / f"stage-{stage}-{done:05}.png"
        pictures.save_grid(file, rows)
        if self._events is not None:
            self._events.picture(stage, done, file)


def _evaluate(given: argparse.Namespace) -> None:
    _check_device(given.device)
    bundle = open_bundle(given.bundle)
    tuned, times = tuned_weights(bundle)
    folder: Path = given.run_folder
    run = Run(folder, bundle, given.data, Settings(), text_contexts=given.text_contexts)
    run.check_belongs()
    own = run.weights("two")
    if own.keys() != tuned.keys() or not all(torch.equal(own[n], tuned[n]) for n in own):
        raise InputError(
            f"{given.bundle}: was tuned by another run than {folder}; evaluate that, or let "
            "`train` with this one's flags and --resume put its weights back"
        )
    figures, picture = folder / "figures.json", folder / "samples.png"
    check_files(figures, picture, bundle.path / FINETUNED)
    progress = Progress()
    judging = judged_by(given, bundle, folder, progress)
    judge, real = judging.judge, judging.real
    asked = samplers(bundle, run.weights("one"), tuned, times, real.nothing, given.device)
    compared = [
        unseen(judge, judging.others),
        *compare(asked, judge, real, given.seed, progress),
    ]
    rows = [each.to_json() for each in compared]
    document = {
        "clips": len(real), "train_s": round(run.seconds, 1), "samplers": rows, **judging.told,
    }  # fmt: skip
    with replacing(figures) as temporary:
        temporary.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")
    add_figures(bundle, document)
    if pictures.can_draw():
        shown = {REAL: real.x_NCTHW, **{each.name: each.shown_NCTHW for each in compared[1:]}}
        pictures.save_grid(picture, shown)
    if given.json:
        print(json.dumps(document))
        return
    print(table(rows), *judging.words, shares(rows), sep="\n\n")
    print(f"both stages were trained in {run.seconds / 60:.1f} minutes")


def _ablate(given: argparse.Namespace) -> None:
    bundle, settings, progress = open_bundle(given.bundle), _settings(given), Progress()
    check_folder(given.out)
    given.out.mkdir(parents=True, exist_ok=True)
    judging = judged_by(given, bundle, given.out, progress)
    judge, real = judging.judge, judging.real
    ablation = Ablation(
        given.out, bundle, given.data, settings, judging.identity,
        _execution(given, given.device), given.text_contexts,
    )  # fmt: skip
    rows = ablation.run(given.variants, given.seeds, judge, real, progress)
    rows.insert(0, {"variant": REAL, **unseen(judge, judging.others).to_json()})
    if given.json:
        print(json.dumps({"clips": len(real), "rows": rows, **judging.told}))
    else:
        full = [row for row in rows if row["variant"] == FULL]
        print(table(rows), *judging.words, *([shares(full)] if full else []), sep="\n\n")


def _sample(given: argparse.Namespace) -> None:
    if not pictures.can_draw():
        raise InputError("pictures need Pillow: pip install 'adversarial-finetune[pictures]'")
    if given.out.suffix.lower() != ".gif":
        raise InputError(f"--out {given.out}: give a file that ends in .gif")
    check_parent(given.out, "--out")
    if given.out.exists() and not given.out.is_file():
        raise InputError(f"--out {given.out}: no ordinary file stands there; choose another")
    _check_device(given.device)
    bundle = open_bundle(given.bundle)
    weights, times = tuned_weights(bundle)
    real = open_clips(given.data, "test", bundle, given.text_contexts).first(SAMPLED)
    sampler = leaping(bundle.denoiser(weights, given.device), times, given.device)
    made = make(sampler, real, given.seed)
    pictures.save_gif(given.out, made)
    print(f"clips of {len(times)} steps: {given.out}")


def _check_device(name: str) -> None:
    if not re.fullmatch(r"cpu|cuda(:\d+)?", name):
        raise InputError(f"--device {name[:40]}: give cpu, cuda, or cuda:1 and so on")
    try:
        torch.empty(0, device=name)
    except (RuntimeError, AssertionError) as error:
        raise InputError(f"--device {name}: {str(error).splitlines()[0]}") from None


COMMANDS = {"train": _train, "ablate": _ablate, "evaluate": _evaluate, "sample": _sample}
