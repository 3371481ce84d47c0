"""Libraries name fields, as Python spells them; the command line makes flags of them."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest
import typer.main

from nas.cli import app
from nas.cli.flags import FIELD, in_flags

ROOT = Path(__file__).resolve().parents[1]
PROGRAM = ROOT / "nas" / "phone" / "run.py"  # stands alone, with flags of its own


@pytest.fixture(scope="module")
def flags() -> set[str]:
    """What the commands take."""
    group = typer.main.get_command(app)
    commands = group.commands.values()  # type: ignore[attr-defined]
    return {name for command in commands for each in command.params for name in each.opts}


def texts(*, docstrings: bool) -> Iterator[tuple[Path, str]]:
    """Every string of the libraries; what an f-string is filled with is X."""
    for package in ("search_spaces", "latency", "supernet", "nas"):
        for file in (ROOT / package).rglob("*.py"):
            if ROOT / "nas" / "cli" in file.parents or file == PROGRAM:
                continue
            tree = ast.parse(file.read_text())
            said = {e.value for e in ast.walk(tree) if isinstance(e, ast.Expr)}
            for node in ast.walk(tree):
                if node in said and not docstrings:
                    continue
                if isinstance(node, ast.Constant) and isinstance(node.value, str):
                    yield file, node.value
                elif isinstance(node, ast.JoinedStr):
                    parts = (p.value if isinstance(p, ast.Constant) else "X" for p in node.values)
                    yield file, "".join(str(part) for part in parts)


def test_no_library_names_a_flag(flags: set[str]) -> None:
    assert {"--out", "--memory-mb", "--choice-columns"} <= flags
    named = {
        f"{file.relative_to(ROOT)}: {word}"
        for file, text in texts(docstrings=True)
        for word in text.replace("`", " ").replace("(", " ").split()
        if word.rstrip(".,;:)'\"") in flags and word.startswith("--") and len(word) > 2
    }
    assert not named, "say it as `name=`; nas/cli/flags.py spells it for the command line"


def test_every_field_that_a_library_names_is_a_flag(flags: set[str]) -> None:
    named = {
        (str(file), found.group())
        for file, text in texts(docstrings=False)
        for found in FIELD.finditer(text)
    }
    assert len(named) > 20
    unknown = {(file, name) for file, name in named if in_flags(name).split()[0] not in flags}
    assert not unknown


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("exists; choose another `out=`", "exists; choose another --out"),
        ("go on by `resume=True`, or not", "go on by --resume, or not"),
        ("`at_most=latency_ms=3`: is known", "--at-most latency_ms=3: is known"),
        ("raise `latency=` or `parameters=`", "raise --latency-ms or --params"),
        ("a `name` and a = b", "a `name` and a = b"),
    ],
)
def test_fields_are_spelled_as_flags(text: str, said: str) -> None:
    assert in_flags(text) == said


def test_python_reads_fields_and_the_command_line_flags(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    from nas.benchmark import of_table
    from nas.cli import main
    from search_spaces import InputError

    table = tmp_path / "t.csv"
    table.write_text("op,latency_ms,error_pct\na,1,3\nb,2,2\nc,3,1\n")
    objectives = ["latency_ms", "error_pct"]
    with pytest.raises(InputError, match="`reference=` has 1 numbers for 2 objectives"):
        of_table(table, objectives, reference=[3])
    words = ["bench", str(table), "--objectives", ",".join(objectives), "--reference", "3"]
    monkeypatch.setattr("sys.argv", ["nas", *words, "--out", str(tmp_path / "r.csv")])
    with pytest.raises(SystemExit):
        main()
    assert "--reference has 1 numbers for 2 objectives" in capsys.readouterr().err
