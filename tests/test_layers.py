"""The arrows between the packages run one way."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
ALLOWED = {
    "search_spaces": set[str](),
    "supernet": {"search_spaces"},
    "latency": {"search_spaces"},
    "nas": {"search_spaces", "supernet", "latency"},
}


@pytest.mark.parametrize("package", ALLOWED)
def test_a_package_imports_only_what_is_below_it(package: str) -> None:
    for file in (ROOT / package).rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            names = []
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                names = [node.module or ""]
            tops = {name.split(".")[0] for name in names} & ALLOWED.keys()
            assert tops <= ALLOWED[package] | {package}, f"{file} imports {tops}"


@pytest.mark.parametrize(
    ("statement", "absent"),
    [
        ("import search_spaces, search_spaces.shipped.moving_digits", {"torch", "optuna"}),
        ("import nas.cli", {"torch", "optuna", "pandas", "matplotlib", "sklearn"}),
        ("import latency", {"torch", "optuna", "coremltools"}),
        ("import supernet", {"optuna", "coremltools", "sklearn", "matplotlib"}),
    ],
)
def test_heavy_libraries_load_late(statement: str, absent: set[str]) -> None:
    code = f"{statement}\nimport sys\nprint(*sys.modules)"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not absent & set(found.stdout.split())
