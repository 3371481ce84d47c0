"""The arrows between packages, and between the rooms of a package, run one way."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]

# Each room (a folder, or a module that stands alone) with what it may import of its own package;
# what it says stands above it, too.
ROOMS: dict[str, dict[str, set[str]]] = {
    "search_spaces": {
        "files": set(),
        "space": {"files"},
        "tables": {"space"},
        "unet": {"space"},
        "shipped": {"unet"},
    },
    "latency": {
        "workload": set(),
        "tracing": {"workload"},
        "graph_passes": set(),
        "coreml": {"graph_passes", "workload"},
        "measurement": {"workload"},
        "onnx": {"measurement"},
        "cost_model": {"measurement"},
        "regression": {"measurement"},
        "predictor": {"cost_model", "regression"},
        "sources": {"coreml", "measurement", "onnx"},
    },
    "supernet": {
        "checkpoint": set(),
        "flow_matching": set(),
        "operators": set(),
        "backbones": {"checkpoint"},
        "networks": {"backbones", "flow_matching", "operators"},
        "autoencoders": {"backbones"},
        "text": {"backbones"},
        "data": {"autoencoders", "text"},
        "training": {"data", "networks"},
        "evaluation": {"data", "networks"},
    },
    "nas": {
        "progress": set(),
        "tables": set(),
        "problem": set(),
        "ray_cluster": set(),
        "strategies": {"problem"},
        "costs": {"problem", "progress", "tables"},
        "evaluators": {"problem", "progress", "ray_cluster"},
        "study": {"evaluators", "strategies"},
        "run": {"costs", "study"},
        "calibration": {"costs"},
        "training": {"progress", "ray_cluster"},
        "report": {"run", "calibration"},
        "bundle": {"run"},
        "export": {"bundle"},
        "sampling": {"bundle"},
        "phone": {"export", "sampling"},
        "pipeline": {"calibration", "report"},
        "temporal": {"sampling", "pipeline", "training"},
        "task": {"bundle", "pipeline"},
        "searching": {"temporal", "task"},
        "benchmark": {"study", "tables"},
        "cli": {"benchmark", "phone", "searching"},
        "__main__": {"cli"},
        "testing": {"costs", "study", "tables"},
    },
}
PACKAGES = {
    "search_spaces": set[str](),
    "supernet": {"search_spaces"},
    "latency": {"search_spaces"},
    "nas": {"search_spaces", "supernet", "latency"},
}
OPENING_OF_PACKAGE = "__init__"


def imported(file: Path) -> Iterator[str]:
    """The modules that a file names in its imports, the late ones included."""
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{file}: relative imports hide the arrows"
            name = node.module or ""
            yield name
            for alias in node.names:
                if path_of(f"{name}.{alias.name}") is not None:
                    yield f"{name}.{alias.name}"


def path_of(module: str) -> Path | None:
    """Where a module of ours stands; None for others' and for what is no module."""
    parts = module.split(".")
    if parts[0] not in ROOMS:
        return None
    path = ROOT.joinpath(*parts)
    files = (path.with_suffix(".py"), path / "__init__.py")
    return next((file for file in files if file.is_file()), None)


def below(package: str, room: str) -> set[str]:
    """The rooms that a room stands on, directly or through others."""
    found: set[str] = set()
    waiting = set(ROOMS[package][room])
    while waiting:
        each = waiting.pop()
        found.add(each)
        waiting |= ROOMS[package][each] - found
    return found


@pytest.mark.parametrize("package", ROOMS)
def test_a_package_imports_only_what_is_below_it(package: str) -> None:
    for file in (ROOT / package).rglob("*.py"):
        tops = {name.split(".")[0] for name in imported(file)} & PACKAGES.keys()
        assert tops <= PACKAGES[package] | {package}, f"{file} imports {tops}"


@pytest.mark.parametrize("package", ROOMS)
def test_a_room_imports_only_rooms_below_it(package: str) -> None:
    folder = ROOT / package
    for file in folder.rglob("*.py"):
        room = file.relative_to(folder).with_suffix("").parts[0]
        if room == OPENING_OF_PACKAGE:
            continue
        assert room in ROOMS[package], f"{file}: stands in no room that tests/test_layers.py names"
        for name in imported(file):
            parts = name.split(".")
            if parts[0] != package or len(parts) < 2 or path_of(".".join(parts[:2])) is None:
                continue
            lower = below(package, room)
            assert parts[1] in lower | {room}, f"{file} imports {name}; {room} stands on {lower}"


@pytest.mark.parametrize("package", ROOMS)
def test_every_room_that_is_named_stands(package: str) -> None:
    for room in ROOMS[package]:
        assert path_of(f"{package}.{room}") is not None, f"{package}.{room} is gone: take it out"


@pytest.mark.parametrize("package", ROOMS)
def test_no_two_files_import_each_other(package: str) -> None:
    graph: dict[Path, set[Path]] = {}
    for file in (ROOT / package).rglob("*.py"):
        paths = {path_of(name) for name in imported(file)}
        # What a package's opening exports may import the opening: it is no circle between ideas.
        graph[file] = {each for each in paths if each and each.stem != OPENING_OF_PACKAGE} - {file}
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        circle = " -> ".join(str(each.relative_to(ROOT)) for each in error.args[1])
        pytest.fail(f"a circle: {circle}")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("statement", "absent"),
    [
        ("import search_spaces, search_spaces.shipped.moving_digits", {"torch", "optuna"}),
        ("import nas.cli", {"torch", "optuna", "pandas", "matplotlib", "sklearn"}),
        ("import latency", {"torch", "optuna", "coremltools"}),
        (
            "import nas.costs.block_costs, nas.costs.published, nas.costs.resolve",
            {"torch", "optuna", "supernet"},
        ),
        ("import nas.searching, nas.task.task, nas.cli.tasks", {"torch", "supernet", "matplotlib"}),
        ("import supernet", {"optuna", "coremltools", "sklearn", "matplotlib"}),
    ],
)
def test_heavy_libraries_load_late(statement: str, absent: set[str]) -> None:
    code = f"{statement}\nimport sys\nprint(*sys.modules)"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not absent & set(found.stdout.split())
