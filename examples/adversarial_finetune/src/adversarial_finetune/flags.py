"""The flags of the command line."""

import argparse
from collections.abc import Callable, Mapping
from pathlib import Path

from adversarial_finetune.ablation import VARIANTS
from adversarial_finetune.discriminator import KINDS
from adversarial_finetune.evaluation import CHUNK
from adversarial_finetune.execution import PRECISIONS
from adversarial_finetune.settings import Settings
from adversarial_finetune.trial import STEPS as TRIED_STEPS

Command = Callable[[argparse.Namespace], None]
CLASSIFIER_STEPS = 3000
# Flags of a training, named as the fields that they set.
SETTINGS = {
    "stage_one_steps": "steps of flow matching",
    "stage_two_steps": "adversarial steps",
    "clips_per_step": "of a batch",
    "steps": "network calls of the tuned sampler",
    "stage_one_rate": "learning rate",
    "generator_rate": "learning rate",
    "heads_rate": "learning rate",
    "buffer_mb": "megabytes of clips that are shuffled together",
}
TERMS = {
    "adversarial": "its weight; less where tuned clips flicker, more where they are blurred",
    "reconstruction": "its weight",
    "guidance": "of the network that says what to recover",
    "r1": "its weight",
    "noise_mean": "of the times at which clips are judged",
}


def parser(commands: Mapping[str, Command]) -> argparse.ArgumentParser:
    """The flags; what a command runs is `commands` by its name."""
    made = argparse.ArgumentParser(
        prog="adversarial-finetune",
        description="Fine-tune the network of a temporal-nas bundle to a few denoising steps.",
    )
    added = made.add_subparsers(required=True, metavar="COMMAND")
    train = added.add_parser("train", help="both stages; tuned weights go into the bundle")
    _add_training(train)
    train.add_argument("--resume", action="store_true", help="go on where it was left")
    train.add_argument(
        "--heads",
        choices=KINDS,
        nargs="+",
        default=Settings().heads,
        help=f"of the discriminator, one kind or both; {' '.join(Settings().heads)}",
    )
    train.add_argument(
        "--accumulate",
        type=int,
        default=1,
        metavar="N",
        help="work on a process's clips in N pieces, one after the other",
    )
    train.add_argument(
        "--tensorboard", action="store_true", help="write event files to RUN/tensorboard, too"
    )
    train.add_argument(
        "--dry-run",
        action="store_true",
        help="say what it takes, by its first steps, and write nothing",
    )
    train.add_argument(
        "--dry-run-steps", type=int, default=TRIED_STEPS, help=f"of each stage; {TRIED_STEPS}"
    )
    train.add_argument("--seed", type=int, default=0, help="of everything that is drawn; 0")
    train.set_defaults(
        run=commands["train"], goes_on="; --resume goes on",
        takes_less="; --accumulate N works in smaller pieces, --checkpointing keeps little",
    )  # fmt: skip

    ablate = added.add_parser("ablate", help="what each part is worth; the bundle stays")
    _add_training(ablate)
    _add_judging(ablate)
    ablate.add_argument("--seeds", type=int, nargs="+", default=(0, 1, 2))
    ablate.add_argument("--variants", nargs="+", choices=tuple(VARIANTS), default=tuple(VARIANTS))
    ablate.set_defaults(
        run=commands["ablate"], goes_on="; the same command goes on",
        takes_less="; give a smaller --clips-per-step, or --clips-at-once for judging",
    )  # fmt: skip

    evaluate = added.add_parser("evaluate", help="samplers beside each other, with a picture")
    evaluate.add_argument("run_folder", type=Path, metavar="RUN")
    evaluate.add_argument("bundle", type=Path)
    _add_data(evaluate, "a folder of clips")
    _add_judging(evaluate)
    _add_device(evaluate)
    evaluate.add_argument("--seed", type=int, default=0, help="of the noise")
    evaluate.set_defaults(
        run=commands["evaluate"], goes_on="", takes_less="; give a smaller --clips-at-once"
    )

    sample = added.add_parser("sample", help="a GIF of the tuned network's clips")
    sample.add_argument("bundle", type=Path)
    _add_data(sample, "whose contexts are asked for")
    sample.add_argument("--out", type=Path, required=True, help="the .gif")
    sample.add_argument("--seed", type=int, default=0)
    _add_device(sample)
    sample.set_defaults(run=commands["sample"], goes_on="", takes_less="")
    return made


def _add_training(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("bundle", type=Path)
    _add_data(parser, "a folder of clips (`nas clips`)")
    parser.add_argument("--out", type=Path, required=True, help="the folder of what is trained")
    _add_device(parser)
    parser.add_argument(
        "--precision", choices=PRECISIONS, default=PRECISIONS[0], help="of products and activations"
    )
    parser.add_argument(
        "--checkpointing",
        action="store_true",
        help="compute activations twice instead of keeping them",
    )
    for flags, owner in ((SETTINGS, Settings()), (TERMS, Settings().terms)):
        for name, words in flags.items():
            value = getattr(owner, name)
            flag, kind = f"--{name.replace('_', '-')}", type(value)
            parser.add_argument(flag, type=kind, default=value, help=f"{words}; {value}")


def _add_data(parser: argparse.ArgumentParser, words: str) -> None:
    parser.add_argument("--data", type=Path, required=True, help=words)
    parser.add_argument(
        "--text-contexts",
        type=Path,
        metavar="FOLDER",
        help="other contexts for the captions: of other clips, or of nas encode --text-encoder",
    )


def _add_device(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--device", default="cpu", help="cpu, or cuda")


def _add_judging(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--classifier", type=Path, help="its file; trained there if missing")
    parser.add_argument(
        "--classifier-steps", type=int, help=f"that it was trained for; {CLASSIFIER_STEPS} if not"
    )
    parser.add_argument("--clips", type=int, default=1024, help="of each sampler that are judged")
    parser.add_argument(
        "--clips-at-once", type=int, default=CHUNK, help=f"that a sampler works on; {CHUNK}"
    )
    parser.add_argument(
        "--video-encoder",
        type=Path,
        metavar="FOLDER",
        help="judge by it, too: a VideoMAE or TimeSformer of transformers",
    )
    parser.add_argument(
        "--decoder", type=Path, metavar="FOLDER", help="diffusers' VAE, for clips of latents"
    )
    parser.add_argument("--json", action="store_true", help="print one JSON document")
