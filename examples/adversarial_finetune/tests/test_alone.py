"""The package stands alone: it knows none of the toolkit's four packages."""

import ast
import subprocess
import sys
from pathlib import Path

PACKAGE = Path(__file__).parents[1] / "src" / "adversarial_finetune"
TOOLKIT = {"nas", "latency", "supernet", "search_spaces"}
OWN = {"torch", "safetensors", "temporal_bundle", "PIL", "adversarial_finetune"}
ALLOWED = OWN | set(sys.stdlib_module_names)


def test_it_imports_torch_safetensors_and_the_reader_alone() -> None:
    for file in PACKAGE.glob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            names = []
            if isinstance(node, ast.Import):
                names = [each.name for each in node.names]
            elif isinstance(node, ast.ImportFrom):
                names = [node.module or ""]
            for name in names:
                assert name.split(".")[0] in ALLOWED, f"{file.name} imports {name}"


def test_a_training_loads_none_of_the_toolkit(bundle: Path, clips: Path, tmp_path: Path) -> None:
    code = (
        "import sys\n"
        "from adversarial_finetune.cli import main\n"
        "main(sys.argv[1:])\n"
        f"assert not {TOOLKIT!r} & {{name.split('.')[0] for name in sys.modules}}\n"
    )
    arguments = ["train", str(bundle), "--data", str(clips), "--out", str(tmp_path / "run")]
    few = ["--stage-one-steps", "2", "--stage-two-steps", "2", "--clips-per-step", "2"]
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments, *few],
        capture_output=True, text=True, check=False, cwd=tmp_path,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
