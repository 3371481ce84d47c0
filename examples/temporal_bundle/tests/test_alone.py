"""The package stands alone: torch, safetensors, and nothing of what writes or tunes bundles."""

import ast
import subprocess
import sys
from pathlib import Path

PACKAGE = Path(__file__).parents[1] / "src" / "temporal_bundle"
ALLOWED = {"torch", "safetensors", "temporal_bundle"} | set(sys.stdlib_module_names)


def test_it_imports_torch_and_safetensors_alone() -> None:
    for file in PACKAGE.glob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            names = []
            if isinstance(node, ast.Import):
                names = [each.name for each in node.names]
            elif isinstance(node, ast.ImportFrom):
                names = [node.module or ""]
            for name in names:
                assert name.split(".")[0] in ALLOWED, f"{file.name} imports {name}"


def test_a_bundle_is_opened_without_numpy(bundle: Path) -> None:
    code = (
        "import sys\n"
        "sys.modules['numpy'] = None\n"
        "from temporal_bundle import open_bundle\n"
        "opened = open_bundle(sys.argv[1])\n"
        "opened.denoiser(opened.weights())\n"
    )
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code, str(bundle)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
