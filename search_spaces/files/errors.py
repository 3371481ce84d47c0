"""The one error that a person can mend: what is wrong, where, and how to put it right."""


class InputError(ValueError):
    """Bad input from a person or a file, in one line; the command line exits with 2.

    A field that mends it is spelled as Python does, between backticks: `steps=8`, or `out=` for any
    value. The command line, which alone knows flags, spells them so (nas/cli/flags.py).
    """


class LeftBehindWarning(UserWarning):
    """Something that was to be removed is still there; its text is one line that names it."""
