"""Captions of films: beside them and in metadata; and what is no caption."""

import json
from pathlib import Path

import pytest

from search_spaces import InputError
from supernet.data.captions import captions_of

SUFFIXES = (".mp4", ".webm")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two films, and one in a folder below; no film is opened for its caption."""
    (tmp_path / "deep").mkdir()
    for name in ("a.mp4", "b.v2.mp4", "deep/c.webm"):
        (tmp_path / name).write_bytes(b"film")
    return tmp_path


def found(folder: Path) -> dict[str, str | None]:
    films = sorted(path for path in folder.rglob("*") if path.suffix in SUFFIXES)
    texts = captions_of(folder, films)
    return {str(film.relative_to(folder)): text for film, text in texts.items()}


def test_captions_beside_films(folder: Path) -> None:
    assert found(folder) == {"a.mp4": None, "b.v2.mp4": None, "deep/c.webm": None}
    (folder / "a.txt").write_text("\ufeff  A dog,\r\n\trunning \n", encoding="utf-8")
    (folder / "b.v2.txt").write_text(" \n")
    (folder / "deep" / "c.TXT").write_text(
        "Ein Ka\u0308fer \u65e5\u672c \U0001f600", encoding="utf-8"
    )
    assert found(folder) == {
        "a.mp4": "A dog, running", "b.v2.mp4": None,
        "deep/c.webm": "Ein Ka\u0308fer \u65e5\u672c \U0001f600",
    }  # fmt: skip


@pytest.mark.parametrize("name", ["metadata.csv", "metadata.jsonl"])
def test_captions_in_metadata(folder: Path, name: str) -> None:
    rows = [("a.mp4", 'says "hi",\nand goes'), ("./b.v2.mp4", ""), ("deep/c.webm", "a\u2028boat")]
    if name.endswith("csv"):
        lines = ["\ufefffile_name, text,fps", '"a.mp4", "says ""hi"",\nand goes", 25']
        text = "\n".join([*lines, "./b.v2.mp4, ,25", "deep/c.webm, a\u2028boat,25", ""])
    else:
        text = "\n".join(json.dumps({"file_name": n, "text": t, "x": 1}) for n, t in rows) + "\n\n"
    (folder / name).write_text(text, encoding="utf-8")
    wanted = {"a.mp4": 'says "hi", and goes', "b.v2.mp4": None, "deep/c.webm": "a boat"}
    assert found(folder) == wanted
    (folder / "a.txt").write_text('says "hi", and goes')
    (folder / "b.v2.txt").write_text("from beside")
    assert found(folder) == {**wanted, "b.v2.mp4": "from beside"}
    (folder / "a.txt").write_text("something else")
    with pytest.raises(InputError, match=r"a.mp4: has two captions, by .*metadata.* and .*a\.txt"):
        found(folder)


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("file_name,caption\na.mp4,x\n", "lacks the column 'text'; has file_name, caption"),
        ("", "lacks the column 'file_name'; has none"),
        ("file_name,text,text\na.mp4,x,y\n", "has the column 'text' twice"),
        ("file_name,text\na.mp4,x\nb.v2.mp4,A dog, running\n", "line 3 has more fields than the "),
        ("file_name,text\n,x\n", "line 2: has no file_name"),
        ("file_name,text\na.mp4,x\nnone.mp4,y\n", "line 3: no such file: 'none.mp4'"),
        ("file_name,text\na.mp4,x\n./a.mp4,y\n", "line 3: names './a.mp4' again, as line 2 does"),
        ("file_name,text\n../x.mp4,x\n", "line 2: '../x.mp4' is no file below the folder"),
        ("file_name,text\n/etc/passwd,x\n", "line 2: '/etc/passwd' is no file below the folder"),
        ("file_name,text\ndeep,x\n", "line 2: no such file: 'deep'"),
        ('file_name,text\na.mp4,"x\n', "not CSV"),
        (b"file_name,text\na.mp4,\xff\n", "cannot be read as UTF-8"),
        (b"version https://git-lfs.github.com/spec/v1\n", "is a Git LFS pointer"),
    ],
)
def test_bad_tables_are_one_line(folder: Path, text: str | bytes, match: str) -> None:
    content = text if isinstance(text, bytes) else text.encode()
    (folder / "metadata.csv").write_bytes(content)
    refused(folder, match)


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("{", "line 1: not JSON"),
        ("[]", "line 1: must be an object with file_name and text"),
        ('{"file_name": "a.mp4"}', "line 1: must be an object with file_name and text"),
        ('{"text": "x"}', "line 1: has no file_name"),
        ('\n{"file_name": "a.mp4", "text": 3}', "line 2: text must be a text; found 3"),
        ('{"file_name": "a.mp4", "text": "\\ud800"}', "line 1: is no Unicode text"),
        ('{"file_name": "a\\u0000.mp4", "text": ""}', "line 1: no such file"),
    ],
)
def test_bad_lines_are_one_line(folder: Path, text: str, match: str) -> None:
    (folder / "metadata.jsonl").write_text(text)
    refused(folder, match)


def test_texts_that_are_no_captions(folder: Path) -> None:
    (folder / "a.txt").write_bytes(b"\xff\xfe")
    refused(folder, "a.txt: cannot be read as UTF-8")
    (folder / "a.txt").write_text("word " * 30_000)
    refused(folder, "a.txt: is no caption: has 150000 bytes")
    for name in ("metadata.csv", "metadata.jsonl"):
        (folder / name).write_text("file_name,text\n")
    refused(folder, "has both metadata.csv and metadata.jsonl; keep one")


def refused(folder: Path, match: str) -> None:
    with pytest.raises(InputError, match=match) as caught:
        found(folder)
    assert "\n" not in str(caught.value)
