"""What each part of the recipe is worth: trained without it or with others, judged alike.

Stage one is trained once a seed, and every variant's second stage begins with its weights. The
bundle stays as it is. What is finished is not done again, and what is not may be shared between
processes, each with some of the seeds.
"""

import json
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from adversarial_finetune import checkpoint
from adversarial_finetune.comparison import compare, samplers
from adversarial_finetune.data import Clips
from adversarial_finetune.discriminator import KINDS
from adversarial_finetune.errors import InputError
from adversarial_finetune.evaluation import Judge
from adversarial_finetune.execution import Execution
from adversarial_finetune.run import OnStep, Run
from adversarial_finetune.settings import Settings
from temporal_bundle import Bundle

FULL = "spatial heads only"
VARIANTS: dict[str, Callable[[Settings], Settings]] = {
    FULL: lambda settings: replace(settings, heads=("spatial",)),
    "both kinds of heads": lambda settings: replace(settings, heads=KINDS),
    "temporal heads only": lambda settings: replace(settings, heads=("temporal",)),
    "adversarial weight 1": lambda settings: replace(
        settings, terms=replace(settings.terms, adversarial=1.0)
    ),
    "no reconstruction": lambda settings: replace(
        settings, terms=replace(settings.terms, reconstruction=0.0)
    ),
}
Row = dict[str, Any]


@dataclass(frozen=True)
class Ablation:
    """Variants of a training of one bundle, each by several seeds.

    Args:
        folder: of all their runs.
        bundle: that is tuned.
        clips: folder of clips.
        settings: of the recipe, from which variants differ.
        judged_by: what figures depend on beside the run, to be kept with them.
        execution: how networks compute, and where.
        text_contexts: a folder with other contexts for the clips' captions.
    """

    folder: Path
    bundle: Bundle
    clips: Path
    settings: Settings
    judged_by: Mapping[str, Any]
    execution: Execution = Execution()  # noqa: RUF009  # frozen
    text_contexts: Path | None = None

    def run(
        self,
        names: Sequence[str],
        seeds: Sequence[int],
        judge: Judge,
        real: Clips,
        say: Callable[[str, int, int, Mapping[str, float] | None], None],
    ) -> list[Row]:
        """A row for each sampler of each variant and seed.

        The samplers of the untuned network are judged once a seed, with the recipe as it comes.

        Raises:
            InputError: something in the folder was made otherwise than is asked for now.
        """
        for seed in seeds:  # all that is there, before hours are spent on what is not
            for name in VARIANTS:
                if (self._folder(name, seed) / "run.json").exists():
                    self._of(name, seed).begin(resume=True)
                self._kept(name, seed)
        rows: list[Row] = []
        for seed in seeds:
            for name in names:
                found = self._kept(name, seed)
                if found is None:
                    self._train(name, seed, say)
                    found = self._judged(name, seed, judge, real, say)
                    self._keep(name, seed, found)
                rows += found
        return rows

    def _kept(self, name: str, seed: int) -> list[Row] | None:
        file = self._folder(name, seed) / "figures.json"
        if not file.exists():
            return None
        document = json.loads(file.read_text(encoding="utf-8"))
        for what, value in self.judged_by.items():
            if (was := document["judged_by"].get(what)) != value:
                raise InputError(
                    f"{file}: was judged with {what} {was}, not {value}; go on with the same, "
                    "or choose another folder"
                )
        rows: list[Row] = document["rows"]
        return rows

    def _keep(self, name: str, seed: int, rows: list[Row]) -> None:
        document = {"judged_by": dict(self.judged_by), "rows": rows}
        with checkpoint.replacing(self._folder(name, seed) / "figures.json") as temporary:
            temporary.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")

    def _folder(self, name: str, seed: int) -> Path:
        return self.folder / f"{name.replace(' ', '-')}-{seed}"

    def _of(self, name: str, seed: int) -> Run:
        settings = VARIANTS[name](replace(self.settings, seed=seed))
        folder = self._folder(name, seed)
        return Run(folder, self.bundle, self.clips, settings, self.execution, self.text_contexts)

    def _train(
        self,
        name: str,
        seed: int,
        say: Callable[[str, int, int, Mapping[str, float] | None], None],
    ) -> None:
        run = self._of(name, seed)
        run.begin(resume=True)
        done = next((each for each in self._others(seed) if each.exists()), None)
        if done is not None and not run.finished("one").exists():
            with checkpoint.replacing(run.finished("one")) as temporary:
                shutil.copyfile(done, temporary)
        on_step: OnStep = lambda stage, at, total, losses: say(  # noqa: E731
            f"{name}, seed {seed}, stage {stage}", at, total, losses
        )
        run.train(on_step)

    def _others(self, seed: int) -> list[Path]:
        return [self._of(name, seed).finished("one") for name in VARIANTS]

    def _judged(
        self,
        name: str,
        seed: int,
        judge: Judge,
        real: Clips,
        say: Callable[[str, int, int, Mapping[str, float] | None], None],
    ) -> list[Row]:
        run = self._of(name, seed)
        asked = samplers(
            self.bundle,
            run.weights("one"),
            run.weights("two"),
            run.settings.times,
            real.nothing,
            self.execution.device,
        )
        if name != FULL:
            asked = [each for each in asked if each.tuned]
        found = compare(
            asked, judge, real, seed, lambda what, at, total: say(what, at, total, None)
        )
        told = {"variant": name, "seed": seed, "train_s": run.seconds}
        return [{**told, **each.to_json()} for each in found]
