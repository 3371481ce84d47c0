"""A run: both stages on a bundle, in a folder that can be gone on with.

run.json               the settings, and what they belong to; written by `train`, as are
stage-one.checkpoint   where the stage stands, while it is not finished; likewise stage-two
stage-one.safetensors  the averaged weights that it ended with; likewise stage-two
log.jsonl              the losses
checked.json           which clips were looked at, number by number
samples/               clips of the network as it learns
figures.json           what `evaluate` found; with samples.png and the judge, classifier.safetensors
"""

import contextlib
import hashlib
import json
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from adversarial_finetune import checkpoint, seen
from adversarial_finetune.data import ClipFiles, check_made_with, find_clips, open_clips
from adversarial_finetune.errors import InputError
from adversarial_finetune.execution import Execution
from adversarial_finetune.layout import Split
from adversarial_finetune.learner import DivergedError, rate
from adversarial_finetune.parallel import Batch, check_agree, first, rank
from adversarial_finetune.room import reserved, size_of_weights
from adversarial_finetune.settings import STAGES, Settings, Stage
from adversarial_finetune.stages import Stages, StageTraining
from adversarial_finetune.stream import seed_of
from temporal_bundle import MANIFEST, Bundle, Weights, read_weights

CHECKPOINT_STEPS = 100
OTHERS = {"bundle": "another bundle", "clips": "other clips"}  # hashes say nothing to people
POOLED = "pooled contexts"  # of checkpoints: heads are told contexts in one size

# Told of a stage's progress: stage, finished steps, all steps, losses.
OnStep = Callable[[Stage, int, int, Mapping[str, float]], None]
# Given a stage's generator with its averaged weights, to make pictures.
OnSamples = Callable[[Stage, int, Weights], None]


@dataclass(frozen=True)
class _Told:
    """Who is told of a training."""

    on_step: OnStep
    on_samples: OnSamples
    samples_every: int


class TrainingFailedError(Exception):
    """A stage could not go on; its last good checkpoint is kept."""


@dataclass(frozen=True)
class Run:
    """Both stages of a bundle.

    Args:
        folder: the run's.
        bundle: that is tuned.
        clips: folder of clips.
        settings: of the training.
        execution: how networks compute, and where.
        text_contexts: a folder with other contexts for the clips' captions.
    """

    folder: Path
    bundle: Bundle
    clips: Path
    settings: Settings
    execution: Execution = Execution()  # noqa: RUF009  # frozen
    text_contexts: Path | None = None

    def begin(self, *, resume: bool) -> None:
        """Make the folder, or go on with it.

        Raises:
            InputError: it is there and resume is not asked for, or was begun with other settings;
                clips and programs do not fit each other; or its files would find no room.
        """
        if (self.folder / MANIFEST).exists():
            raise InputError(f"{self.folder}: is a bundle; choose another folder for the run")
        _ = Batch(self.settings.clips_per_step, self.execution.accumulate)
        validation = self.open("validation")
        check_made_with(find_clips(self.clips, "train", self.text_contexts), self.bundle)
        self.bundle.try_out(*self.data.at(torch.zeros(1, dtype=torch.long)))
        if self._file.exists():
            if not resume:
                raise InputError(f"{self.folder}: exists; go on by --resume, or choose another")
            self._check(self.identity)
            self._remove_halves()
        with reserved(self._files()):
            pass
        if not self._file.exists():
            self._write()
        seen.keep([self.data.layout, validation.layout], self.folder)

    def _write(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        with checkpoint.replacing(self._file) as temporary:
            temporary.write_text(json.dumps(self.identity, indent=2) + "\n", encoding="utf-8")

    def _remove_halves(self) -> None:
        """What a process that was killed at once has left: gigabytes each."""
        for stage in STAGES:
            for file in (self._checkpoint(stage), self.finished(stage)):
                for half in self.folder.glob(f".{file.name}.*"):
                    half.unlink(missing_ok=True)

    def _files(self) -> list[tuple[Path, int]]:
        """What is still to be written, with its bytes; heads are small beside the network."""
        weights = size_of_weights(self.bundle)
        files = [(self._file, 0), (self.folder / "log.jsonl", 0)]
        kept: list[tuple[Path, int]] = []
        for stage in STAGES:
            state, steps = self._checkpoint(stage), self.settings.steps_of(stage)
            if self.finished(stage).is_file():
                continue
            files.append((self.finished(stage), weights))
            if steps > CHECKPOINT_STEPS:
                # The network, its average and two moments; and the next beside the last one.
                states = 1 if state.is_file() or steps <= 2 * CHECKPOINT_STEPS else 2
                kept = [(state, 4 * weights)] * states
        return [*files, *kept]  # one stage has no checkpoint any more when the other does

    def check_belongs(self) -> None:
        """Hold a finished run, of whatever settings, against the bundle and the clips.

        Raises:
            InputError: it is not finished, or is another bundle's or other clips'.
        """
        if not all(self.finished(stage).exists() for stage in STAGES):
            raise InputError(f"{self.folder}: no finished run; train first")
        self._check({name: self.identity[name] for name in ("bundle", "clips")})

    @property
    def identity(self) -> dict[str, Any]:
        """What a run must agree on to be gone on with."""
        return {
            "bundle": self.bundle.digest,
            "clips": self._digest,
            "settings": json.loads(json.dumps(self.settings.to_json())),
        }

    @property
    def _file(self) -> Path:
        return self.folder / "run.json"

    def _check(self, identity: Mapping[str, Any]) -> None:
        try:
            before = _flat(json.loads(self._file.read_text(encoding="utf-8")))
        except (OSError, ValueError, AttributeError):
            raise InputError(f"{self._file}: is damaged; choose another folder") from None
        for name, value in _flat(identity).items():
            if (was := before.get(name)) != value:
                words = OTHERS.get(name) or f"{name} {was}, not {value}"
                raise InputError(
                    f"{self.folder}: was begun with {words}; go on with the same, or choose "
                    "another folder"
                )

    def open(self, split: Split) -> ClipFiles:
        """The clips of a split, once all their numbers were looked at."""
        return open_clips(self.clips, split, self.bundle, self.text_contexts, self.folder)

    @cached_property
    def data(self) -> ClipFiles:
        """What is trained on; the first process looks at its numbers."""
        if rank() == 0:
            return self.open("train")
        return ClipFiles(find_clips(self.clips, "train", self.text_contexts))

    @cached_property
    def _digest(self) -> str:
        """What the clips that are trained on are known by again, without a look at them all."""
        return find_clips(self.clips, "train", self.text_contexts).digest

    def finished(self, stage: Stage) -> Path:
        """The averaged weights that a stage ended with."""
        return self.folder / f"stage-{stage}.safetensors"

    def weights(self, stage: Stage) -> Weights:
        """Of a finished stage."""
        return read_weights(self.finished(stage))

    @property
    def seconds(self) -> float:
        """How long both finished stages took, pictures included."""
        return sum(float(checkpoint.load(self.finished(each))[1]["seconds"]) for each in STAGES)

    def check_data(self) -> None:
        """Look at the clips in the first process, while others wait; refuse what they see else.

        Raises:
            InputError: clips that do not fit, or not all processes see the same.
        """

        def look() -> None:
            check_made_with(self.data.layout, self.bundle)

        first(look)
        check_agree(self.identity)

    def train(
        self,
        on_step: OnStep = lambda *_: None,
        on_samples: OnSamples = lambda *_: None,
        samples_every: int = 200,
        checkpoint_every: int = CHECKPOINT_STEPS,
    ) -> None:
        """Train what is not finished yet; of several processes the first one writes and tells.

        Args:
            on_step: told of every step.
            on_samples: given the averaged weights now and then.
            samples_every: how many steps lie between.
            checkpoint_every: after how many steps the state is kept.

        Raises:
            TrainingFailedError: a loss is no number; the last good checkpoint stays.
        """
        finished = [stage for stage in STAGES if self.finished(stage).exists()]
        check_agree({**self.identity, "finished stages": finished})
        told = _Told(on_step, on_samples, samples_every)
        for stage in STAGES:
            if not self.finished(stage).exists():
                self._train(stage, told, checkpoint_every)

    def begun(self, stage: Stage) -> StageTraining:
        """A stage before its first step."""
        stages = Stages(self.bundle, self.data, self.settings, self.execution)
        weights = self.bundle.weights("searched") if stage == "one" else self.weights("one")
        return stages.begin(stage, weights)

    def _train(self, stage: Stage, told: "_Told", checkpoint_every: int) -> None:
        training = self.begun(stage)
        steps = self.settings.steps_of(stage)
        done, before_s = self._restored(stage, training)
        weights = _sha256(training.generator.weights().values())
        check_agree({"finished steps": done, "weights of sha256": weights})
        if rank() == 0:
            self._forget(stage, done)
        begun = time.monotonic()
        for number in range(done, steps):
            try:
                losses = training.step(number, rate(number, steps), self._seed(stage, number))
            except DivergedError as error:
                raise self._failed(stage, str(error), number + 1) from None
            done, seconds = number + 1, before_s + time.monotonic() - begun
            if rank() == 0:
                self._tell(stage, done, seconds, losses, training, told)
            if done % checkpoint_every == 0 or done == steps:
                self._keep(stage, training, done, seconds)
        notes = {"stage": stage, "seconds": before_s + time.monotonic() - begun}
        first(lambda: self._finish(stage, training.generator.weights(), notes))

    def _restored(self, stage: Stage, training: StageTraining) -> tuple[int, float]:
        """Go on from a stage's checkpoint, if there is one: finished steps, and their seconds."""
        state = self._checkpoint(stage)
        if not state.exists():
            return 0, 0.0
        if stage == "two" and checkpoint.notes(state).get(POOLED) is not True:
            raise InputError(
                f"{state}: is an older version's, whose heads were told contexts in another size; "
                "remove it, and the stage begins anew"
            )
        return checkpoint.restore(state, training.parts)

    def _finish(self, stage: Stage, weights: Weights, notes: dict[str, Any]) -> None:
        checkpoint.save(self.finished(stage), weights, notes)
        self._checkpoint(stage).unlink(missing_ok=True)

    def _tell(
        self,
        stage: Stage,
        done: int,
        seconds: float,
        losses: Mapping[str, float],
        training: StageTraining,
        told: "_Told",
    ) -> None:
        steps = self.settings.steps_of(stage)
        told.on_step(stage, done, steps, losses)
        if done % told.samples_every == 0 or done == steps:
            self._log({"stage": stage, "step": done, "seconds": round(seconds, 1), **losses})
            told.on_samples(stage, done, training.generator.weights())

    def _keep(self, stage: Stage, training: StageTraining, done: int, seconds: float) -> None:
        """Write a checkpoint, if the stage goes on and its weights are numbers."""
        states = checkpoint.states_of(training.parts)
        if not all(torch.isfinite(tensor).all() for tensor in states.values()):
            # A step that was too long, whose loss was a number.
            raise self._failed(stage, "the weights hold no numbers", done)
        if done < self.settings.steps_of(stage) and rank() == 0:
            notes = {"step": done, "seconds": seconds, POOLED: True}
            checkpoint.save(self._checkpoint(stage), states, notes)

    def _checkpoint(self, stage: Stage) -> Path:
        return self.folder / f"stage-{stage}.checkpoint"

    def _failed(self, stage: Stage, why: str, step: int) -> TrainingFailedError:
        state = self._checkpoint(stage)
        kept = f"{state}" if state.exists() else "what the stage began with"
        return TrainingFailedError(
            f"stage {stage}: {why} at step {step}; the last good checkpoint is {kept}; "
            "begin another run with a lower learning rate"
        )

    def _seed(self, stage: Stage, step: int) -> int:
        """All that a step draws follows from here, so that a run that resumes is the same."""
        return seed_of(self.settings.seed, STAGES.index(stage), step)

    def _forget(self, stage: Stage, done: int) -> None:
        """Take back what the log tells of steps that are made anew."""
        file, kept = self.folder / "log.jsonl", []
        if not file.exists():
            return
        for line in file.read_text(encoding="utf-8").splitlines(keepends=True):
            with contextlib.suppress(ValueError):  # half a line of a process that was killed
                entry = json.loads(line)
                if entry["stage"] != stage or entry["step"] <= done:
                    kept.append(line)
        with checkpoint.replacing(file) as temporary:
            temporary.write_text("".join(kept), encoding="utf-8")

    def _log(self, entry: dict[str, Any]) -> None:
        with (self.folder / "log.jsonl").open("a", encoding="utf-8") as file:
            file.write(json.dumps(entry) + "\n")


def _sha256(tensors: Iterable[Tensor]) -> str:
    found = hashlib.sha256()
    for tensor in tensors:
        found.update(tensor.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy().data)
    return found.hexdigest()


def _flat(document: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name, value in document.items():
        inner = _flat(value, f"{prefix}{name}.") if isinstance(value, Mapping) else {}
        flat.update(inner or {prefix + name: value})
    return flat
