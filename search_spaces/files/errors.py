"""The one error that a person can mend: what is wrong, where, and how to put it right."""


class InputError(ValueError):
    """Bad input from a person or a file, in one line; the command line exits with 2."""
