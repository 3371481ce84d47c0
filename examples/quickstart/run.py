"""From a search to a GIF of four-step videos, in one command.

    python examples/quickstart/run.py OUT
    python examples/quickstart/run.py OUT --quick      far too short: shows that it runs

A network for moving digits is searched, its bundle is handed to the training package
(examples/adversarial_finetune), tuned to four network calls, and judged beside 25 guided steps.
OUT/tuned.gif shows its clips, OUT/tuned/samples.png all samplers side by side. Every step is a
command, which is printed, and goes on where it was left; OUT/wishes.json says what was asked for.
"""

import argparse
import shlex
import subprocess
import sys
from pathlib import Path

from examples.commands import TRAINING, call, check_installed, check_wishes

SHORT_SEARCH = (
    "--trials 4 --image-steps 20 --video-steps 20 --finalist-steps 24 --winner-steps 20 "
    "--validation-clips 16 --test-clips 16 --finalist-clips 32"
)
SHORT_TRAINING = "--stage-one-steps 20 --stage-two-steps 20 --clips-per-step 4"
SHORT_JUDGING = "--clips 64 --classifier-steps 30"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("out", type=Path)
    parser.add_argument("--device", default="iphone-15-pro")
    parser.add_argument("--latency-ms", default="70%")
    parser.add_argument("--quick", action="store_true", help="far too short: shows that it runs")
    asked = parser.parse_args()
    check_installed("quickstart", TRAINING)
    try:
        run(asked)
    except subprocess.CalledProcessError as error:
        sys.exit(error.returncode)


def run(asked: argparse.Namespace) -> None:
    out: Path = asked.out
    check_wishes(out, {name: value for name, value in vars(asked).items() if name != "out"})
    search, clips, tuned = out / "search", out / "clips", out / "tuned"
    short_search, short_training, short_judging = (
        shlex.split(words) if asked.quick else []
        for words in (SHORT_SEARCH, SHORT_TRAINING, SHORT_JUDGING)
    )
    bundle = search / "bundle"
    if not bundle.exists():
        wishes = ("--device", asked.device, "--latency-ms", asked.latency_ms, "--steps", "4")
        call("nas", "search", *wishes, *short_search, "--resume", "--out", search)
    if not clips.exists():
        few = ("--train", "64", "--validation", "16", "--test", "64") if asked.quick else ()
        call("nas", "clips", *few, "--out", clips)
    package = "adversarial-finetune"
    if not (bundle / "finetuned.json").exists():
        arguments = (bundle, "--data", clips, "--out", tuned, *short_training, "--resume")
        call(package, "train", *arguments)
    call(package, "evaluate", tuned, bundle, "--data", clips, *short_judging)
    call(package, "sample", bundle, "--data", clips, "--out", out / "tuned.gif")


if __name__ == "__main__":
    main()
