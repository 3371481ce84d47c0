"""Errors of somebody else's code, in a line."""


def in_a_line(error: BaseException) -> str:
    """An error as one line for people."""
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text[:300]}" if text else type(error).__name__
