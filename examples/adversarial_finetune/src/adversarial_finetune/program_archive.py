"""Open a .pt2 that somebody else made, without running anything of theirs.

`torch.export.load` trusts its file. It unpickles objects where a file says so, loads compiled
libraries, evaluates the expressions of symbolic shapes, and makes Python source of guards. Here a
file is first held against what a plain program needs: a few named members of bounded size, no
pickled object, operations of aten alone, expressions and guards of a small grammar. What was
checked is then packed anew and only that is given to torch, so that nothing depends on two readers
of zip files agreeing. Weights stand elsewhere; a program holds shapes.

This file depends on torch alone and is the same in the toolkit and in the training package.
"""

import io
import json
import operator
import re
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.export.passes import move_to_device_pass

ROOT_MEMBERS = ("archive_format", "archive_version", "byteorder", ".data/version")
IGNORED = (".data/serialization_id",)
MODEL = "models/model.json"
WEIGHTS, CONSTANTS = (f"data/{kind}/model_{kind}_config.json" for kind in ("weights", "constants"))
PAYLOAD = re.compile(r"data/(weights/weight|constants/tensor)_\d+")
SAMPLES = "data/sample_inputs/model.pt"
MOST_BYTES = 256 * 2**20  # of a member: a program of 600M parameters takes 5 MB
MOST_MEMBERS = 100_000
LONGEST = 10_000  # of an expression

_FUNCTION = (
    r"(?:Add|Mul|Min|Max|Mod|PythonMod|FloorDiv|CeilDiv|CleanDiv|IntTrueDiv|FloatTrueDiv|CeilToInt"
    r"|FloorToInt|TruncToInt|ToFloat|RoundToInt|Abs|Piecewise|Equality|Unequality|StrictLessThan"
    r"|LessThan|StrictGreaterThan|GreaterThan|And|Or|Not)"
)
_SYMBOL = r"Symbol\('[a-z]+\d+'(?:, [a-z]+=(?:True|False))*\)"
# What `sympy.srepr` writes of shapes: Add(Mul(Integer(2), Symbol('s0', integer=True)), Integer(1)).
# No powers but small ones of sizes: to work out 9**9**9 takes forever.
EXPRESSION = re.compile(
    rf"(?:{_SYMBOL}|Pow\({_SYMBOL}, Integer\(-?\d\)\)|Integer\(-?\d{{1,20}}\)|-?\d{{1,20}}"
    rf"|true|false|{_FUNCTION}\(|\)|, )+"
)
# L['x'].size()[0] == 2*L['y'].size()[1] and the like.
GUARD = re.compile(
    r"(?:L\['\w+'\]\.(?:size|stride)\(\)\[\d+\]|\d{1,20}|[-+%()]|\*(?!\*)|//|[=!<>]=|[<>]"
    r"| and | or |not | )+"
)
ON_SIZES = re.compile(
    r"_operator\.(add|sub|mul|floordiv|mod|neg|pos|eq|ne|lt|le|gt|ge|getitem|and_|or_)"
    r"|torch\.sym_(int|float|max|min|not|ite)"
)
# Words that operations take; none of them is a path or a URL.
WORD = re.compile(
    r"mode|approximate|padding_mode|padding|reduce|reduction|indexing|rounding_mode|norm|ord"
    r"|equation|side"
)
ARGUMENT = re.compile(
    r"as_(optional_)?tensors?|as_(sym_)?(int|float|bool)s?|as_none|as_scalar_type|as_device"
    r"|as_layout|as_memory_format|as_strings?|as_expr|as_name|as_complex"
)
TREE = frozenset(("builtins.tuple", "builtins.list", "builtins.dict", None))


class HostileProgramError(Exception):
    """A .pt2 that is no plain program of aten operations, or is damaged; nothing of it was run."""


def open_program(file: Path, device: str = "cpu") -> nn.Module:
    """The module of a program; its weights are shapes (on the meta device) until they are assigned.

    Args:
        file: the .pt2.
        device: for what the program makes by itself; weights are assigned there, too.

    Raises:
        HostileProgramError: before anything of the file was loaded.
    """
    data = checked(file)
    try:
        program = torch.export.load(io.BytesIO(data))
    except Exception as error:  # whatever torch makes of a program that is not whole
        raise HostileProgramError(f"{file}: torch.export cannot read it: {error}") from None
    if device != "cpu":
        program = move_to_device_pass(program, {"cpu": device})  # weights stay shapes
    return program.module()


def checked(file: Path) -> bytes:
    """The archive of a program, packed anew from the parts that were checked.

    Raises:
        HostileProgramError: for anything that a plain program does not need.
    """
    try:
        members = _members(file)
        model = json.loads(members[MODEL])
        configs = [json.loads(members[name]) for name in (WEIGHTS, CONSTANTS)]
    except KeyError as error:
        raise HostileProgramError(f"{file}: lacks {error}") from None
    except (zipfile.BadZipFile, OSError, ValueError, RecursionError, NotImplementedError) as error:
        raise HostileProgramError(f"{file}: no whole .pt2: {error}") from None
    try:
        for config in configs:
            _check_payloads(config)
        _check_samples(members.get(SAMPLES, b""))
        _check_model(model)
    except HostileProgramError as error:
        raise HostileProgramError(f"{file}: {error}; it was not loaded") from None
    except (KeyError, TypeError, AttributeError, RecursionError) as error:
        raise HostileProgramError(
            f"{file}: not laid out as torch.export does it ({type(error).__name__}: {error})"
        ) from None
    members[SAMPLES] = b""  # the inputs that it was traced with; a reader needs none
    members[MODEL] = json.dumps(model).encode()
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        for name, content in members.items():
            archive.writestr(f"archive/{name}", content)
    return packed.getvalue()


def _members(file: Path) -> dict[str, bytes]:
    found: dict[str, bytes] = {}
    with zipfile.ZipFile(file) as archive:
        entries = archive.infolist()
        if len(entries) > MOST_MEMBERS:
            raise HostileProgramError(f"{file}: holds {len(entries)} members")
        for entry in entries:
            _, _, name = entry.filename.partition("/")
            known = (*ROOT_MEMBERS, MODEL, WEIGHTS, CONSTANTS, SAMPLES)
            if name in IGNORED:
                continue
            if name not in known and not PAYLOAD.fullmatch(name):
                raise HostileProgramError(
                    f"{file}: holds {entry.filename[:80]!r}, which no plain program has; "
                    "it was not loaded"
                )
            if name in found:
                raise HostileProgramError(f"{file}: holds {name} twice; it was not loaded")
            if entry.file_size > MOST_BYTES or entry.compress_type != zipfile.ZIP_STORED:
                raise HostileProgramError(f"{file}: {name} is compressed or too large")
            found[name] = archive.read(entry)
    return found


def _check_payloads(config: dict[str, Any]) -> None:
    for name, entry in config["config"].items():
        if entry["use_pickle"] is not False:
            raise HostileProgramError(f"{name[:80]!r} is a pickled object")
        if not re.fullmatch(r"(weight|tensor)_\d+", entry["path_name"]):
            raise HostileProgramError(f"{name[:80]!r} is no tensor: {entry['path_name'][:80]!r}")


def _check_samples(data: bytes) -> None:
    if not data:
        return
    try:
        torch.load(io.BytesIO(data), weights_only=True)
    except Exception:  # pickles fail in many ways
        raise HostileProgramError("its sample inputs hold pickled objects") from None


def _check_model(model: dict[str, Any]) -> None:
    for guard in model.get("guards_code") or ():
        if not _fits(GUARD, guard):
            raise HostileProgramError(f"guard {guard[:80]!r} is more than a comparison of sizes")
    for symbol in model.get("range_constraints", {}):
        if not re.fullmatch(r"[a-z]+\d+", symbol):
            raise HostileProgramError(f"{symbol[:80]!r} is no name of a size")
    for key, value in _walk(model):
        _check_field(key, value)
    module = model["graph_module"]
    for node in module["graph"]["nodes"]:
        _check_operation(node)
    _check_signature(module)


def _check_signature(module: dict[str, Any]) -> None:
    if module.get("treespec_namedtuple_fields"):
        raise HostileProgramError("it returns objects of its own")
    for spec in module["signature"]["input_specs"]:
        if not set(spec) <= {"user_input", "parameter", "buffer", "tensor_constant"}:
            raise HostileProgramError(f"it takes an input of kind {sorted(spec)}")
    for spec in module["signature"]["output_specs"]:
        if set(spec) != {"user_output"}:
            raise HostileProgramError(f"it gives an output of kind {sorted(spec)}")


def _check_field(key: str, value: Any) -> None:
    if key == "expr_str" and not _fits(EXPRESSION, value):
        raise HostileProgramError(f"expression {str(value)[:80]!r} is no arithmetic of sizes")
    if key in {"in_spec", "out_spec"}:
        _check_tree(json.loads(value))
    if key == "custom_obj_values" and value:
        raise HostileProgramError("it holds objects of its own")
    if key.startswith("as_") and not ARGUMENT.fullmatch(key):
        raise HostileProgramError(f"it holds an argument of kind {key[:40]!r}")


def _fits(grammar: re.Pattern[str], text: Any) -> bool:
    return isinstance(text, str) and len(text) <= LONGEST and bool(grammar.fullmatch(text))


def _check_operation(node: dict[str, Any]) -> None:
    target = node["target"]
    if ON_SIZES.fullmatch(target):
        return
    found = re.fullmatch(r"torch\.ops\.aten\.(\w+)\.(\w+)", target)
    try:
        overload = operator.attrgetter(".".join(found.groups()))(torch.ops.aten) if found else None
    except AttributeError:
        overload = None
    if not isinstance(overload, torch._ops.OpOverload):  # noqa: SLF001
        raise HostileProgramError(f"operation {target[:80]!r} is none of aten's")
    # from_file, save and load name files: what takes a text that is no known word is refused.
    for argument in overload._schema.arguments:  # noqa: SLF001
        if "str" in str(argument.type) and not WORD.fullmatch(argument.name):
            raise HostileProgramError(f"operation {target[:80]!r} takes the text {argument.name!r}")


def _check_tree(spec: Any) -> None:
    for key, value in _walk(spec):
        if key == "type" and value not in TREE:
            raise HostileProgramError(f"it takes or gives a {str(value)[:80]!r}")


def _walk(found: Any) -> Iterator[tuple[str, Any]]:
    """Every key of every object inside, with its value."""
    waiting = [found]
    while waiting:
        each = waiting.pop()
        if isinstance(each, dict):
            for key, value in each.items():
                yield key, value
                waiting.append(value)
        elif isinstance(each, list):
            waiting.extend(each)
