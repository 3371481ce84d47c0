"""Coremltools, without its words about untested torch versions and absent Apple frameworks."""

import logging
import warnings
from typing import Any


def import_coremltools() -> Any:
    """The package coremltools; it loads torch and takes seconds the first time."""
    logging.getLogger("coremltools").setLevel(logging.ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import coremltools
    return coremltools
