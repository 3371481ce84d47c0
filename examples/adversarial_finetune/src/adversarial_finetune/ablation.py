"""What each part of the recipe is worth: trained without it, by several seeds, judged alike.

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
from adversarial_finetune.bundle import Bundle
from adversarial_finetune.comparison import compare, samplers
from adversarial_finetune.data import Clips
from adversarial_finetune.evaluation import Judge
from adversarial_finetune.run import OnStep, Run
from adversarial_finetune.settings import Settings

FULL = "all of it"
VARIANTS: dict[str, Callable[[Settings], Settings]] = {
    FULL: lambda settings: settings,
    "spatial heads only": lambda settings: replace(settings, heads=("spatial",)),
    "temporal heads only": lambda settings: replace(settings, heads=("temporal",)),
    "no reconstruction": lambda settings: replace(
        settings, terms=replace(settings.terms, reconstruction=0.0)
    ),
}
Row = dict[str, Any]


@dataclass(frozen=True)
class Ablation:
    """Variants of a training of one bundle, each by several seeds."""

    folder: Path
    bundle: Bundle
    clips: Path
    settings: Settings
    device: str = "cpu"

    def run(
        self,
        names: Sequence[str],
        seeds: Sequence[int],
        judge: Judge,
        real: Clips,
        say: Callable[[str, int, int, Mapping[str, float] | None], None],
    ) -> list[Row]:
        """A row for each sampler of each variant and seed.

        The samplers of the untuned network are judged once a seed, with the full variant.
        """
        rows: list[Row] = []
        for seed in seeds:
            for name in names:
                file = self._folder(name, seed) / "figures.json"
                if not file.exists():
                    self._train(name, seed, say)
                    found = self._judged(name, seed, judge, real, say)
                    with checkpoint.replacing(file) as temporary:
                        temporary.write_text(json.dumps(found, indent=2), encoding="utf-8")
                rows += json.loads(file.read_text(encoding="utf-8"))
        return rows

    def _folder(self, name: str, seed: int) -> Path:
        return self.folder / f"{name.replace(' ', '-')}-{seed}"

    def _of(self, name: str, seed: int) -> Run:
        settings = VARIANTS[name](replace(self.settings, seed=seed))
        return Run(self._folder(name, seed), self.bundle, self.clips, settings, self.device)

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
            shutil.copyfile(done, run.finished("one"))
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
            self.bundle, run.weights("one"), run.weights("two"), run.settings.times, self.device
        )
        if name != FULL:
            asked = [each for each in asked if each.tuned]
        found = compare(
            asked, judge, real, seed, lambda what, at, total: say(what, at, total, None)
        )
        told = {"variant": name, "seed": seed, "train_s": run.seconds}
        return [{**told, **each.to_json()} for each in found]
