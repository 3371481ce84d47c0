"""Build operators: the modules of the temporal blocks that a space declares."""

import importlib

from search_spaces import REPEATS, Block, InputError, Slot
from supernet.operators.base import TemporalOperator
from supernet.operators.repeated import Repeated


def build(block: Block, slot: Slot) -> TemporalOperator | None:
    """Build the module of a block in a slot; None for the operator that leaves the slot as it is.

    The setting `repeats` is no business of the operator: it stands so often, one after another.

    Raises:
        InputError: the declared module does not exist or is no TemporalOperator.
    """
    if not block.operator.module:
        return None
    module_name, _, class_name = block.operator.module.partition(":")
    try:
        operator_class = getattr(importlib.import_module(module_name), class_name)
    except (ImportError, AttributeError, ValueError) as error:
        name = block.operator.name
        raise InputError(f"operator {name!r}: {block.operator.module}: {error}") from None
    if not (isinstance(operator_class, type) and issubclass(operator_class, TemporalOperator)):
        raise InputError(f"operator {block.operator.name!r}: {class_name} is no TemporalOperator")
    settings = dict(block.settings)
    if REPEATS.name not in settings:
        return operator_class(slot, settings)
    return Repeated(slot, settings, operator_class)
