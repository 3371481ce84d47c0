"""What a user can mend."""

import torch


class InputError(Exception):
    """Bad input: one line that says what is wrong, where, and how to mend it."""


def is_out_of_memory(error: RuntimeError) -> bool:
    """Whether a GPU or the machine had no room for a tensor."""
    return isinstance(error, torch.OutOfMemoryError) or "can't allocate memory" in str(error)
