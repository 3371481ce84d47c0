"""The one error that a person can mend."""


class BundleError(ValueError):
    """A bundle that cannot be used: one line that says what is wrong, where, and how to mend it."""
