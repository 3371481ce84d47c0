"""Reports as files: the network's name that a file has, and the lines of one that is text."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from search_spaces import InputError
from search_spaces.files.git_lfs import refuse_pointer

SUFFIXES = (".json", ".txt", ".log", ".out", ".onnx", ".ort", ".tflite")
# ONNX Runtime's, of its profiles; AI Hub's, of its jobs
STAMP = re.compile(r"_(?:\d{4}-\d\d-\d\d_\d\d-\d\d-\d\d(?:_\d+)?|j[0-9a-z]{6,12}_results)$")
NUMBER = r"[0-9]+(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?"
MARKS = (b"\xff\xfe", b"\xfe\xff")  # of UTF-16, which PowerShell's `>` writes


def name_of(path: str) -> str:
    """A network's name by a file's: without folders, suffixes, and when or by what job."""
    name = re.split(r"[/\\]", path)[-1]
    for suffix in SUFFIXES:
        name = name.removesuffix(suffix)
    return STAMP.sub("", name) or name


@dataclass(frozen=True)
class Lines:
    """The lines of a report. Errors name the file and never print what it holds."""

    lines: tuple[str, ...]
    file: Path
    mend: str

    def find(self, pattern: str) -> Iterator[re.Match[str]]:
        """Every line in which a pattern is found."""
        compiled = re.compile(pattern)
        return (found for line in self.lines if (found := compiled.search(line)))

    def maybe(self, pattern: str, what: str) -> re.Match[str] | None:
        """The one line of a pattern, if there is one.

        Raises:
            InputError: several lines, so more than one report.
        """
        found = list(self.find(pattern))
        if len(found) > 1:
            raise self.wrong(f"says {len(found)} times {what}; give each report a file of its own")
        return found[0] if found else None

    def one(self, pattern: str, what: str) -> re.Match[str]:
        """The one line of a pattern; InputError where there is none, or are several."""
        found = self.maybe(pattern, what)
        if found is None:
            raise self.wrong(f"does not say {what}; {self.mend}")
        return found

    def wrong(self, why: str) -> InputError:
        """That the report is not as it should be."""
        return InputError(f"{self.file}: {why}")


def read_lines(file: Path, mend: str) -> Lines:
    """The lines of a text file in UTF-8, or in UTF-16 with its mark.

    Raises:
        InputError: the file cannot be read, or is no text.
    """
    refuse_pointer(file)
    try:
        content = file.read_bytes()
        text = content.decode("utf-16" if content.startswith(MARKS) else "utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{file}: cannot be read as text ({error}); {mend}") from None
    return Lines(tuple(text.splitlines()), file, mend)
