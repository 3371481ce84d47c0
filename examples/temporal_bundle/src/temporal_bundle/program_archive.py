"""Open a .pt2 that somebody else made, without running anything of theirs.

`torch.export.load` trusts its file. It unpickles objects where a file says so, loads compiled
libraries, evaluates the expressions of symbolic shapes, makes Python source of names and guards,
and works on what may take forever. Here a file is first held against what a plain program needs: a
few named members of bounded size, no pickles, functional operations of aten, names that are names,
expressions of a small grammar. What was checked is then packed anew, without what no reader needs,
and only that is given to torch, so that nothing depends on two readers of zip files agreeing.
Weights stand elsewhere; a program holds shapes.
"""

import io
import json
import keyword
import logging
import math
import operator
import re
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.export import ExportedProgram
from torch.export.passes import move_to_device_pass

from temporal_bundle.errors import BundleError
from temporal_bundle.manifest import one_line

ROOT_MEMBERS = ("archive_format", "archive_version", "byteorder", ".data/version")
IGNORED = (".data/serialization_id",)
MODEL = "models/model.json"
WEIGHTS, CONSTANTS = (f"data/{kind}/model_{kind}_config.json" for kind in ("weights", "constants"))
PAYLOAD = re.compile(r"data/(weights/weight|constants/tensor)_\d+")
SAMPLES = "data/sample_inputs/model.pt"
MOST_BYTES = 16 * 2**20  # of a file; a network's holds shapes, not weights
MOST_MEMBERS = 1000
MOST_NODES = 20_000
MOST_SYMBOLS, MOST_EXPRESSIONS = 4, 5000
LONGEST = 400  # of an expression

_FUNCTION = (
    r"(?:Add|Mul|Min|Max|Mod|PythonMod|FloorDiv|CeilDiv|CleanDiv|IntTrueDiv|FloatTrueDiv|CeilToInt"
    r"|FloorToInt|TruncToInt|ToFloat|RoundToInt|Abs|Piecewise|Equality|Unequality|StrictLessThan"
    r"|LessThan|StrictGreaterThan|GreaterThan|And|Or|Not)"
)
_SYMBOL = r"Symbol\('[a-z]\d{1,6}'(?:, [a-z]+=(?:True|False))*\)"
# What `sympy.srepr` writes of shapes: Add(Mul(Integer(2), Symbol('s0', integer=True)), Integer(1)).
# No powers but small ones of sizes: to work out 9**9**9 takes forever. Possessive: so does trying
# all ways to read a text that does not fit.
EXPRESSION = re.compile(
    rf"(?:{_SYMBOL}|Pow\({_SYMBOL}, Integer\([-123]{{1,2}}\)\)"
    rf"|Integer\(-?\d{{1,15}}\)|true|false|{_FUNCTION}\(|\)|, )++"
)
SYMBOL = re.compile(r"'([a-z]\d{1,6})'")
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
# What is no function of its inputs, or reaches around tensors.
UNPLAIN = re.compile(
    r"sparse|mkldnn|miopen|cudnn|fbgemm|quanti|storage|seed|unsafe|from_file|set_data|^data$"
)
PRIVATE = frozenset(
    (
        *("_assert_tensor_metadata", "_assert_scalar", "_softmax", "_log_softmax", "_to_copy"),
        "_native_batch_norm_legit_no_training",
    )
)
NAME = re.compile(r"[A-Za-z_]\w{0,200}", re.ASCII)
DOTTED = re.compile(r"\w+(\.\w+)*", re.ASCII)  # of parameters: blocks.0.weight
TREE = frozenset(("builtins.tuple", "builtins.list", "builtins.dict", None))


class HostileProgramError(BundleError):
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
        with _quiet():
            return _program(data, device).module()  # with a graph of its own
    except Exception as error:  # whatever torch makes of a program that is not whole
        raise HostileProgramError(f"{file}: torch.export cannot read it: {_line(error)}") from None


@lru_cache(maxsize=2)  # a training opens both programs of a bundle several times
def _program(data: bytes, device: str) -> ExportedProgram:
    """A checked archive, read: which takes seconds."""
    program = torch.export.load(io.BytesIO(data))
    if device != "cpu":
        program = move_to_device_pass(program, {"cpu": device})  # weights stay shapes
    return program


def checked(file: Path) -> bytes:
    """The archive of a program, packed anew from the parts that were checked.

    Raises:
        HostileProgramError: for anything that a plain program does not need.
    """
    try:
        members = _members(file)
        model = json.loads(members[MODEL])
        configs = {name: json.loads(members[name]) for name in (WEIGHTS, CONSTANTS)}
        _strip(model)
        _check_payloads(configs, members)
        _check_model(model)
        members[MODEL] = json.dumps(model).encode()
        members |= {name: json.dumps(config).encode() for name, config in configs.items()}
    except HostileProgramError as error:
        raise HostileProgramError(f"{file}: {error}; it was not loaded") from None
    except KeyError as error:
        raise HostileProgramError(f"{file}: lacks {_line(error)}; it was not loaded") from None
    except Exception as error:  # a damaged zip, JSON that is none, fields of another kind
        raise HostileProgramError(
            f"{file}: not as torch.export writes it ({type(error).__name__}: {_line(error)})"
        ) from None
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        for name, content in {**members, SAMPLES: b""}.items():
            # Of no time of day, so that the same program is the same bytes.
            archive.writestr(zipfile.ZipInfo(f"archive/{name}"), content)
    return packed.getvalue()


def _members(file: Path) -> dict[str, bytes]:
    if file.stat().st_size > MOST_BYTES:
        raise HostileProgramError(f"larger than {MOST_BYTES // 2**20} MiB")
    found: dict[str, bytes] = {}
    with zipfile.ZipFile(file) as archive:
        entries = archive.infolist()
        if any(entry.compress_type != zipfile.ZIP_STORED for entry in entries):
            raise HostileProgramError("is compressed")
        # Members that lie over each other add up to more than the file.
        if len(entries) > MOST_MEMBERS or sum(e.file_size for e in entries) > file.stat().st_size:
            raise HostileProgramError("holds more members than a plain program has")
        for entry in entries:
            _, _, name = entry.filename.partition("/")
            if name in IGNORED:
                continue
            known = (*ROOT_MEMBERS, MODEL, WEIGHTS, CONSTANTS, SAMPLES)
            if name not in known and not PAYLOAD.fullmatch(name):
                raise HostileProgramError(
                    f"holds {entry.filename[:80]!r}, which no plain program has"
                )
            if name in found:
                raise HostileProgramError(f"holds {name} twice")
            found[name] = archive.read(entry)
    if found.pop(SAMPLES, b""):
        raise HostileProgramError("holds sample inputs, which are pickled objects")
    return found


def _check_payloads(configs: dict[str, Any], members: dict[str, bytes]) -> None:
    for file, config in configs.items():
        for name, entry in config["config"].items():
            if entry["use_pickle"] is not False:
                raise HostileProgramError(f"{name[:80]!r} is a pickled object")
            if not re.fullmatch(r"(weight|tensor)_\d+", entry["path_name"]):
                raise HostileProgramError(f"{name[:80]!r} is no tensor")
            _check_name(DOTTED, name)
            meta = entry["tensor_meta"]
            if file == WEIGHTS and meta["device"]["type"] != "meta":
                raise HostileProgramError(f"{name[:80]!r} is a weight; a program holds none")
            if file == CONSTANTS:
                held = len(members[f"data/constants/{entry['path_name']}"])
                if math.prod(size["as_int"] for size in meta["sizes"]) > held:
                    raise HostileProgramError(f"{name[:80]!r} is larger than its data")


def _strip(model: dict[str, Any]) -> None:
    """Take out what a reader does not need, and torch would work on."""
    model["guards_code"] = []  # would become Python; shapes are checked by what is run
    module = model["graph_module"]
    module["module_call_graph"] = module["module_call_graph"][:1]
    for node in module["graph"]["nodes"]:
        node["metadata"] = {}


def _check_model(model: dict[str, Any]) -> None:
    module = model["graph_module"]
    nodes = module["graph"]["nodes"]
    if len(nodes) > MOST_NODES:
        raise HostileProgramError("holds more operations than a network has")
    expressions: set[str] = set()
    for key, value in _walk(model):
        _check_field(key, value)
        if key == "expr_str":
            expressions.add(value)
    symbols = {each for text in expressions for each in SYMBOL.findall(text)}
    symbols |= set(model["range_constraints"])
    if len(symbols) > MOST_SYMBOLS or len(expressions) > MOST_EXPRESSIONS:
        raise HostileProgramError("holds more sizes that vary than clips and frames")
    for symbol in symbols:
        if not re.fullmatch(r"[a-z]\d{1,4}", symbol):
            raise HostileProgramError(f"{symbol[:80]!r} is no name of a size")
    for node in nodes:
        _check_operation(node)
    _check_signature(module)


def _check_signature(module: dict[str, Any]) -> None:
    if module.get("treespec_namedtuple_fields"):
        raise HostileProgramError("returns objects of its own")
    specs = module["signature"]
    for spec in specs["input_specs"]:
        if not set(spec) <= {"user_input", "parameter", "buffer", "tensor_constant"}:
            raise HostileProgramError(f"takes an input of kind {str(sorted(spec))[:80]}")
    for spec in specs["output_specs"]:
        if set(spec) != {"user_output"}:
            raise HostileProgramError(f"gives an output of kind {str(sorted(spec))[:80]}")
    for name in module["module_call_graph"][0]["signature"]["forward_arg_names"]:
        _check_name(NAME, name)


def _check_field(key: str, value: Any) -> None:
    """Whatever torch makes Python of, wherever it stands."""
    if key == "expr_str" and not _fits(EXPRESSION, value):
        raise HostileProgramError(f"expression {str(value)[:80]!r} is no arithmetic of sizes")
    if key in {"in_spec", "out_spec"}:
        _check_tree(json.loads(value))
    if key == "custom_obj_values" and value:
        raise HostileProgramError("holds objects of its own")
    if key.startswith("as_") and not ARGUMENT.fullmatch(key):
        raise HostileProgramError(f"holds an argument of kind {key[:40]!r}")
    if key in {"name", "as_name"} and value is not None:
        _check_name(NAME, value, keywords=True)
    if key in {"tensor_values", "sym_int_values", "sym_bool_values", "sym_float_values"}:
        for name in value:
            _check_name(NAME, name)
    if key in {"parameter_name", "buffer_name", "tensor_constant_name"}:
        _check_name(DOTTED, value)


def _check_name(grammar: re.Pattern[str], name: Any, *, keywords: bool = False) -> None:
    """Arguments of operations may be called as keywords are (`from`, `self`)."""
    plain = isinstance(name, str) and len(name) <= 500 and grammar.fullmatch(name)
    if not plain or (keyword.iskeyword(name) and not keywords):
        raise HostileProgramError(f"{str(name)[:80]!r} is no name")


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
    name = overload._schema.name.partition("::")[2]  # noqa: SLF001
    hidden = name.startswith("_") and name not in PRIVATE
    if hidden or UNPLAIN.search(name) or overload._schema.is_mutable:  # noqa: SLF001
        raise HostileProgramError(f"operation {target[:80]!r} is no plain function of tensors")
    # from_file, save and load name files: what takes a text that is no known word is refused.
    for argument in overload._schema.arguments:  # noqa: SLF001
        if "str" in str(argument.type) and not WORD.fullmatch(argument.name):
            raise HostileProgramError(f"operation {target[:80]!r} takes the text {argument.name!r}")


def _check_tree(spec: Any) -> None:
    for key, value in _walk(spec):
        if key == "type" and value not in TREE:
            raise HostileProgramError(f"takes or gives a {str(value)[:80]!r}")
        if key == "context" and value not in {None, "null", "[]"}:
            raise HostileProgramError(f"takes or gives named values, {str(value)[:80]!r}")


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


def _line(error: Exception) -> str:
    return one_line(str(error))


@contextmanager
def _quiet() -> Iterator[None]:
    """Torch logs pages of what it cannot read."""
    before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        yield
    finally:
        logging.disable(before)
