"""Shards: which files are a sample, what a film's caption is, and what is refused."""

import gzip
import io
import lzma
import sys
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

from search_spaces import InputError
from supernet.data.shards import ShardContents, check_shard, samples

SUFFIXES = (".mp4", ".webm")


def shard(path: Path, *files: tuple[str, bytes]) -> Path:
    with tarfile.open(path, "w") as tar:
        for name, content in files:
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            tar.addfile(entry, io.BytesIO(content))
    return path


def read(path: Path) -> list[tuple[str, bytes, str | None]]:
    check_shard(path, SUFFIXES, captioned=True)
    return [(each.name, each.film, each.caption) for each in samples(path, SUFFIXES)]


FILMS = (
    ("deep/0.v1.mp4", b"0"), ("deep/0.v1.txt", b"  A dog\n"), ("1.json", b'{"caption": "a cat"}'),
    ("1.MP4", b"1"), ("._1.mp4", b"of a Mac"), ("2.webm", b"2"), ("3.jpg", b"of no film"),
    ("4.mp4", b"4"), ("4.json", b'{"text": "", "caption": "passed over"}'),
)  # fmt: skip


def test_shards(tmp_path: Path) -> None:
    pytest.importorskip("webdataset")
    assert read(shard(tmp_path / "a.tar", *FILMS)) == [
        ("deep/0.v1.mp4", b"0", "A dog"), ("1.mp4", b"1", "a cat"), ("2.webm", b"2", None),
        ("4.mp4", b"4", None),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("files", "match"),
    [
        ((("a.mp4", b""), ("a.mp4", b"")), "has a.mp4 twice; take one out"),
        ((("a.mp4", b""), ("b.mp4", b""), ("a.mp4", b"")), "has a.mp4 twice; take one out"),
        ((("a.mp4", b""), ("a.WEBM", b"")), "a.mp4 and a.WEBM are films of one sample; keep one"),
        (
            (("a.mp4", b""), ("b.mp4", b""), ("a.txt", b""), ("b.txt", b"")),
            "a.txt stands apart from a.mp4; .* must .* stand together: `tar --sort=name`",
        ),
        ((("a.mp4", b""), ("texts/a.txt", b"")), "texts/a.txt is a caption without a film; "),
        ((("a.txt", b""), ("b.mp4", b""), ("a.mp4", b"")), "a.mp4 stands apart from a.txt"),
        ((("a.mp4", b""), ("a.txt", b"\xff")), "a.tar: a.txt: cannot be read: "),
        ((("a.mp4", b""), ("a.json", b"{")), "a.tar: a.json: cannot be read: "),
        ((("a.mp4", b""), ("a.json", b'{"text": 1}')), "a caption must be a text; found 1"),
    ],
)
def test_bad_samples_are_one_line(
    tmp_path: Path, files: tuple[tuple[str, bytes], ...], match: str
) -> None:
    pytest.importorskip("webdataset")
    with pytest.raises(InputError, match=match) as caught:
        read(shard(tmp_path / "a.tar", *files))
    assert "\n" not in str(caught.value)


def test_what_stands_between_files_of_a_sample_does_not_part_them(tmp_path: Path) -> None:
    pytest.importorskip("webdataset")
    files = ("a.mp4", b"a"), ("thumbs/a.jpg", b""), ("._b.mp4", b""), ("a.txt", b"A dog")
    assert read(shard(tmp_path / "a.tar", *files)) == [("a.mp4", b"a", "A dog")]


def test_where_captions_do_not_count_their_places_do_not(tmp_path: Path) -> None:
    pytest.importorskip("webdataset")
    path = shard(tmp_path / "a.tar", ("a.mp4", b"a"), ("b.mp4", b"b"), ("texts/a.txt", b"A dog"))
    assert check_shard(path, SUFFIXES, captioned=False) == ShardContents(2, captioned=True)
    assert [each.film for each in samples(path, SUFFIXES)] == [b"a", b"b"]
    plain = shard(tmp_path / "b.tar", FILMS[0])
    assert check_shard(plain, SUFFIXES, captioned=False) == ShardContents(1, captioned=False)


def cut(content: bytes) -> bytes:
    return content[:1300]


def cut_between_files(content: bytes) -> bytes:
    return content[: content.index(b"1.json")]


def overwrite(content: bytes) -> bytes:
    at = content.index(b"1.json")
    return content[:at] + b"\xff" * 512 + content[at + 512 :]


@pytest.mark.parametrize(
    ("damage", "match"),
    [
        (cut, "is torn"),
        (cut_between_files, "is torn"),
        (lambda _: b"", "is torn"),
        (lambda _: bytes(1024 * 10), None),
        (lambda content: b"text" * 128 + content, "is torn"),
        (overwrite, "is torn"),
        (lambda _: b"version https://git-lfs.github.com/spec/v1\n", "is a Git LFS pointer"),
        (gzip.compress, "a.tar: is compressed; unpack it to a plain .tar"),
        (lzma.compress, "a.tar: is compressed; unpack it to a plain .tar"),
    ],
)
def test_torn_shards_are_one_line(
    tmp_path: Path, damage: Callable[[bytes], bytes], match: str | None
) -> None:
    pytest.importorskip("webdataset")
    path = shard(tmp_path / "a.tar", *FILMS)
    path.write_bytes(damage(path.read_bytes()))
    if match is None:
        assert read(path) == []
        return
    with pytest.raises(InputError, match=match) as caught:
        read(path)
    assert "\n" not in str(caught.value)


def test_shards_need_webdataset(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "webdataset.tariterators", None)
    with pytest.raises(InputError, match=r"pip install 'temporal-nas\[webdataset\]'"):
        check_shard(shard(tmp_path / "a.tar", *FILMS), SUFFIXES, captioned=True)
