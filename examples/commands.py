"""Run an example's steps: commands that are printed, in a folder that is gone on with."""

import json
import shlex
import subprocess
import sys
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path

TRAINING = {
    "adversarial_finetune": "pip install examples/temporal_bundle examples/adversarial_finetune"
}
TEXT = {"tokenizers": "pip install 'temporal-nas[text]'"}


def check_installed(example: str, mends: Mapping[str, str]) -> None:
    """Leave in one line where a package is missing, with what installs it."""
    for package, mend in mends.items():
        if find_spec(package) is None:
            print(f"{example}: {package} is missing: {mend}", file=sys.stderr)
            sys.exit(2)


def check_wishes(out: Path, wishes: Mapping[str, object]) -> None:
    """Go on with what the folder was begun for, and nothing else."""
    file = out / "wishes.json"
    if not file.exists():
        out.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(wishes) + "\n", encoding="utf-8")
    elif (before := json.loads(file.read_text(encoding="utf-8"))) != wishes:
        print(f"{out}: was begun for {before}; choose another folder", file=sys.stderr)
        sys.exit(2)


def call(program: str, *arguments: str | Path, keep: bool = False) -> str:
    """Run a command of this environment, and say it; what it prints is shown, or returned."""
    home = program.replace("-", "_")
    typed = ["-c", f"from {home}.cli import main; main()"]
    return _run([program], typed, arguments, keep=keep)


def run_python(module: str, *arguments: str | Path) -> None:
    """Run a module of this environment, and say it."""
    _run(["python", "-m", module], ["-m", module], arguments)


def _run(
    shown: list[str], typed: list[str], arguments: tuple[str | Path, ...], *, keep: bool = False
) -> str:
    words = [str(each) for each in arguments]
    print(f"$ {shlex.join([*shown, *words])}", file=sys.stderr, flush=True)
    output = subprocess.PIPE if keep else None
    command = [sys.executable, *typed, *words]
    done = subprocess.run(command, check=True, stdout=output, text=True)  # noqa: S603
    return done.stdout or ""
