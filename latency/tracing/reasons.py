"""Why a module cannot be traced, in one line for the person who wrote it."""

import sysconfig
import traceback
from pathlib import Path

import torch

LONGEST = 200  # characters of what somebody's code says
# Nobody who reads the line has written a line in these folders.
FOREIGN = (
    str(Path(torch.__file__).parent),
    str(Path(__file__).parents[1]),
    sysconfig.get_path("stdlib"),
)
DATA = frozenset({"GuardOnDataDependentSymNode", "DataDependentOutputException"})
ON_DATA = (
    "what runs depends on the data (a branch, a loop or a size), so that there is no one "
    "workload; trace the part that runs, or write it without values"
)


def reason_of(error: BaseException) -> str:
    """What was raised while a module was traced, and the last line of its own that raised it."""
    text = first_line(error)
    kind = type(error).__name__
    if kind in DATA or "data-dependent" in text:
        return f"torch.export cannot trace it: {ON_DATA}{_place(error)}"
    mend = ""
    if "PackedParams" in text:
        mend = "; it is quantised by torch.ao: give it as it was before, or its Core ML package"
    elif "scalar types: Long" in text or "indices" in text:
        mend = "; inputs of whole numbers have their type, as 1,77:int64"
    return f"torch.export cannot trace it: {kind}: {text}{_place(error)}{mend}"


def first_line(error: BaseException) -> str:
    """The text of an exception in one line."""
    try:
        lines = str(error).strip().splitlines()
    except Exception:  # somebody's own, whose text is code too
        lines = []
    text = " ".join(lines[0].split()) if lines else ""
    return text if len(text) <= LONGEST else f"{text[:LONGEST]}..."


def _place(error: BaseException) -> str:
    own = [
        frame
        for frame in traceback.extract_tb(error.__traceback__)
        if not frame.filename.startswith((*FOREIGN, "<"))
    ]
    return f" ({Path(own[-1].filename).name}, line {own[-1].lineno})" if own else ""
