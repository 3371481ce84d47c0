"""Import coremltools without its warnings of untested torch versions and absent frameworks."""

import logging
import warnings
from typing import Any


def import_coremltools() -> Any:
    """Import coremltools; it loads torch and takes seconds the first time."""
    logging.getLogger("coremltools").setLevel(logging.ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import coremltools
    return coremltools
