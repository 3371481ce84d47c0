"""The packages that ONNX needs: they come with an extra, and load late.

Importing this module imports none of them.
"""

import importlib
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from io import StringIO
from typing import Any

from latency.measurement.measurement import NotHereError

EXTRA = "pip install 'temporal-nas[onnxruntime]'"


def imported(name: str, what: str) -> Any:
    """A package of the extra `onnxruntime`.

    Raises:
        NotHereError: it is not installed; `what` says what needs it.
    """
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise NotHereError(
            f"{what} needs the package {name} ({str(error).splitlines()[0]}): {EXTRA}"
        ) from None


@contextmanager
def quiet() -> Iterator[None]:
    """Without what torch's exporter prints and logs beside its exceptions: pages, for one line."""
    before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        with warnings.catch_warnings(), redirect_stdout(StringIO()), redirect_stderr(StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)
