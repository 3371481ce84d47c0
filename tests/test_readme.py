"""CI calls what the READMEs tell a reader to call."""

import re
import shlex
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
# It asks for timm and transformers, which are installed by hand and without what they need.
NOT_IN_CI = {("python", "examples/benchmarks/published_workloads.py")}
PROGRAMS = ("nas", "adversarial-finetune", "python", "make")
READMES = [
    path.relative_to(ROOT)
    for pattern in ("README.md", "*/README.md", "examples/*/README.md", "latency/*/README.md")
    for path in ROOT.glob(pattern)
]


def commands(text: str) -> list[list[str]]:
    """The lines of a script that call one of our programs, as words."""
    found = []
    for line in re.sub(r"\\\n\s*", " ", text).splitlines():
        at = re.match(rf"\s*(?:\(cd .* && )?(?:\w+/bin/)?((?:{'|'.join(PROGRAMS)}) .*)", line)
        if at:
            found.append(shlex.split(at[1], comments=True))
    return found


def called(command: list[str]) -> tuple[tuple[str, ...], set[str]]:
    """Which program, command or script a line calls, and the options that it gives."""
    head = command[:2]
    if head == ["python", "-m"]:
        head = command[:3]
    return tuple(head), {word.partition("=")[0] for word in command if word.startswith("--")}


def in_readme(text: str) -> list[list[str]]:
    """The commands in fenced blocks, and those of tables of scripts."""
    fenced = re.findall(r"^```(?:sh|bash)?\n(.*?)^```", text, re.DOTALL | re.MULTILINE)
    rows = "\n".join(re.findall(r"^\|.*", text, re.MULTILINE))
    cells = re.findall(r"`(python [^`]+)`", rows)
    return [command for block in (*fenced, *cells) for command in commands(block)]


@pytest.mark.parametrize("readme", READMES, ids=str)
def test_ci_runs_what_a_readme_says(readme: Path) -> None:
    ran = [called(command) for command in commands((ROOT / ".ci" / "run").read_text())]
    for command in in_readme((ROOT / readme).read_text()):
        what, options = called(command)
        assert what in NOT_IN_CI or any(
            what == ours and options <= theirs for ours, theirs in ran
        ), f"{readme}: .ci/run never calls {shlex.join(command)}"
