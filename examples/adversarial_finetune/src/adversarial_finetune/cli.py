"""The command line: `adversarial-finetune COMMAND`.

Results go to stdout, progress to stderr. Exit 0: done; 1: failed; 2: bad input; 130: stopped by
Ctrl-C.
"""

import argparse
import json
import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from adversarial_finetune import pictures
from adversarial_finetune.ablation import FULL, Ablation
from adversarial_finetune.checkpoint import replacing
from adversarial_finetune.classifier import (
    Classifier,
    load_classifier,
    save_classifier,
    train_classifier,
)
from adversarial_finetune.comparison import REAL, compare, leaping, samplers, unseen
from adversarial_finetune.data import ClipFiles, Clips, find_clips, open_clips
from adversarial_finetune.errors import InputError
from adversarial_finetune.evaluation import Judge, make
from adversarial_finetune.events import Events, check_installed
from adversarial_finetune.execution import Execution
from adversarial_finetune.flags import CLASSIFIER_STEPS, SETTINGS, TERMS, parser
from adversarial_finetune.layout import Split
from adversarial_finetune.parallel import ProcessLostError, check_alone, first, joined, rank
from adversarial_finetune.progress import Progress
from adversarial_finetune.room import check_files, check_folder
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
    Bundle,
    BundleError,
    Weights,
    open_bundle,
    sha256,
)

SAMPLED = 8
SAMPLES = "samples"  # the folder of pictures in a run


def main(arguments: Sequence[str] | None = None) -> None:
    """Run a command; what went wrong becomes one line and an exit code."""
    given = parser(COMMANDS).parse_args(arguments)
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
        _try_out(run)
        return

    def begin() -> None:
        if given.tensorboard:
            check_installed()
        check_folder(run.folder)
        check_folder(run.folder / SAMPLES)
        with place_for(bundle):
            run.begin(resume=given.resume)

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


def _try_out(run: Run) -> None:
    data = run.data
    trials = [try_stage(Stages(run.bundle, data, run.settings, run.execution), s) for s in STAGES]
    if rank() == 0:
        print(in_words(trials))


def _write_back(run: Run) -> None:
    try:
        write_back(run.bundle, run.weights("two"), run.settings)
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
        raise InputError(f"{given.bundle}: was tuned by another run than {folder}; evaluate that")
    figures, picture = folder / "figures.json", folder / "samples.png"
    check_files(figures, picture, bundle.path / FINETUNED)
    progress = Progress()
    judging = _judging(given, bundle, folder, progress)
    judge, real = judging.judge, judging.real
    asked = samplers(bundle, run.weights("one"), tuned, times, real.nothing, given.device)
    compared = [
        unseen(judge, judging.others),
        *compare(asked, judge, real, given.seed, progress),
    ]
    rows = [each.to_json() for each in compared]
    document = {"clips": len(real), "train_s": round(run.seconds, 1), "samplers": rows}
    with replacing(figures) as temporary:
        temporary.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")
    add_figures(bundle, document)
    if pictures.can_draw():
        shown = {REAL: real.x_NCTHW, **{each.name: each.shown_NCTHW for each in compared[1:]}}
        pictures.save_grid(picture, shown)
    if given.json:
        print(json.dumps(document))
        return
    print(table(rows), shares(rows), sep="\n\n")
    print(f"both stages were trained in {run.seconds / 60:.1f} minutes")


def _ablate(given: argparse.Namespace) -> None:
    bundle, settings, progress = open_bundle(given.bundle), _settings(given), Progress()
    check_folder(given.out)
    given.out.mkdir(parents=True, exist_ok=True)
    judging = _judging(given, bundle, given.out, progress)
    judge, real = judging.judge, judging.real
    ablation = Ablation(
        given.out, bundle, given.data, settings, judging.identity,
        _execution(given, given.device), given.text_contexts,
    )  # fmt: skip
    rows = ablation.run(given.variants, given.seeds, judge, real, progress)
    rows.insert(0, {"variant": REAL, **unseen(judge, judging.others).to_json()})
    if given.json:
        print(json.dumps({"clips": len(real), "rows": rows}))
    else:
        full = [row for row in rows if row["variant"] == FULL]
        print(table(rows), *([shares(full)] if full else []), sep="\n\n")


@dataclass(frozen=True)
class _Judging:
    """What clips are judged by, and held against."""

    judge: Judge
    real: Clips  # whose contexts are asked for
    others: Clips  # real ones too, and as many
    identity: dict[str, Any]


def _judging(
    given: argparse.Namespace, bundle: Bundle, folder: Path, progress: Progress
) -> _Judging:
    data, others = (_opened(given, split, bundle) for split in ("test", "validation"))
    count = min(given.clips, len(data), len(others))  # distances compare at equal counts alone
    if count < 2:
        raise InputError("--clips: give 2 or more, and data with as many test and validation clips")
    file: Path = given.classifier or folder / "classifier.safetensors"
    judge = Judge(_classifier(given, file, bundle, progress), data)
    identity = {
        "classifier": sha256(file),
        "test": data.digest,
        "clips": count,
    }
    return _Judging(judge, data.first(count), others.first(count), identity)


def _classifier(
    given: argparse.Namespace, file: Path, bundle: Bundle, progress: Progress
) -> Classifier:
    """The judge: of its file, or trained and kept there."""
    steps: int | None = given.classifier_steps
    if steps is not None and steps < 1:
        raise InputError("--classifier-steps: give a whole number from 1")
    clips = find_clips(given.data, "train", given.text_contexts).digest
    if file.exists():
        return load_classifier(file, clips, steps)
    data = _opened(given, "train", bundle)
    _check_parent(file, "--classifier")
    total = steps or CLASSIFIER_STEPS
    classifier = train_classifier(
        data, total, 0, lambda done: progress("train the classifier", done, total)
    )
    save_classifier(classifier, file, clips, total)
    return classifier


def _opened(given: argparse.Namespace, split: Split, bundle: Bundle) -> ClipFiles:
    return open_clips(given.data, split, bundle, given.text_contexts)


def _sample(given: argparse.Namespace) -> None:
    if not pictures.can_draw():
        raise InputError("pictures need Pillow: pip install 'adversarial-finetune[pictures]'")
    if given.out.suffix.lower() != ".gif":
        raise InputError(f"--out {given.out}: give a file that ends in .gif")
    _check_parent(given.out, "--out")
    if given.out.exists() and not given.out.is_file():
        raise InputError(f"--out {given.out}: no ordinary file stands there; choose another")
    _check_device(given.device)
    bundle = open_bundle(given.bundle)
    weights, times = tuned_weights(bundle)
    real = _opened(given, "test", bundle).first(SAMPLED)
    sampler = leaping(bundle.denoiser(weights, given.device), times, given.device)
    made = make(sampler, real, given.seed)
    pictures.save_gif(given.out, made)
    print(f"clips of {len(times)} steps: {given.out}")


def _check_parent(file: Path, flag: str) -> None:
    if not file.parent.is_dir():
        raise InputError(f"{flag} {file}: there is no folder {file.parent}")
    check_files(file)


def _check_device(name: str) -> None:
    if not re.fullmatch(r"cpu|cuda(:\d+)?", name):
        raise InputError(f"--device {name[:40]}: give cpu, cuda, or cuda:1 and so on")
    try:
        torch.empty(0, device=name)
    except (RuntimeError, AssertionError) as error:
        raise InputError(f"--device {name}: {str(error).splitlines()[0]}") from None


COMMANDS = {"train": _train, "ablate": _ablate, "evaluate": _evaluate, "sample": _sample}
