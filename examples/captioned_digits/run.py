"""From a search to clips that sentences ask for, in one command.

    python -m examples.captioned_digits.run OUT
    python -m examples.captioned_digits.run OUT --quick      far too short: shows that it runs

A text encoder is written, a network is searched whose contexts are encoded captions, its bundle is
tuned to four network calls, and asked by prompts: OUT/prompts.gif. Every step is a command, which
is printed, and goes on where it was left; OUT/wishes.json says what was asked for. Needs the
training package (examples/adversarial_finetune) and `pip install 'temporal-nas[text]'`.
"""

import argparse
import shlex
import subprocess
import sys
from pathlib import Path

from examples.captioned_digits.text import write_text_encoder
from examples.commands import TEXT, TRAINING, call, check_installed, check_wishes, run_python
from examples.quickstart.run import SHORT_JUDGING, SHORT_SEARCH, SHORT_TRAINING

HERE = "examples.captioned_digits"
DATA = ("--space", f"{HERE}.space:SPACE", "--data", f"{HERE}.data:open_clips")
PROMPTS = (
    "a three and a five, moving", "moving digits: a seven and a one",
    "an eight in front of a two", "nothing but a four",
)  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("out", type=Path)
    parser.add_argument("--device", default="iphone-15-pro")
    parser.add_argument("--latency-ms", default="70%")
    parser.add_argument("--quick", action="store_true", help="far too short: shows that it runs")
    asked = parser.parse_args()
    check_installed("captioned_digits", TRAINING | TEXT)
    try:
        run(asked)
    except subprocess.CalledProcessError as error:
        sys.exit(error.returncode)


def run(asked: argparse.Namespace) -> None:
    out: Path = asked.out
    check_wishes(out, {name: value for name, value in vars(asked).items() if name != "out"})
    text, search, clips, tuned = (out / name for name in ("text", "search", "clips", "tuned"))
    short_search, short_training, short_judging = (
        shlex.split(words) if asked.quick else []
        for words in (SHORT_SEARCH, SHORT_TRAINING, SHORT_JUDGING)
    )
    write_text_encoder(text)
    bundle = search / "bundle"
    if not bundle.exists():
        wishes = ("--device", asked.device, "--latency-ms", asked.latency_ms, "--steps", "4")
        call("nas", "search", *DATA, *wishes, *short_search, "--resume", "--out", search)
    if not clips.exists():
        few = ("--train", "64", "--validation", "16", "--test", "64") if asked.quick else ()
        call("nas", "clips", *DATA, *few, "--out", clips)
    package = "adversarial-finetune"
    if not (bundle / "finetuned.json").exists():
        arguments = (bundle, "--data", clips, "--out", tuned, *short_training, "--resume")
        call(package, "train", *arguments)
    call(package, "evaluate", tuned, bundle, "--data", clips, *short_judging)
    asking = [word for prompt in PROMPTS for word in ("--prompt", prompt)]
    call("nas", "sample", bundle, "--text-encoder", text, *asking, "--out", out / "prompts.gif")
    run_python(f"{HERE}.judge", bundle, *(("--clips", "4") if asked.quick else ()))


if __name__ == "__main__":
    main()
