"""Shards: which files are a sample, what a film's caption is, and what is refused."""

import gzip
import io
import lzma
import sys
import tarfile
import tracemalloc
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
    ("4.mp4", b"4"), ("4.json", b'{"text": "", "caption": "of two"}'),
)  # fmt: skip


def test_shards(tmp_path: Path) -> None:
    pytest.importorskip("webdataset")
    assert read(shard(tmp_path / "a.tar", *FILMS)) == [
        ("deep/0.v1.mp4", b"0", "A dog"), ("1.mp4", b"1", "a cat"), ("2.webm", b"2", None),
        ("4.mp4", b"4", "of two"),
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
        (
            (("0.left.mp4", b""), ("0.right.mp4", b""), ("0.text.txt", b"")),
            "0.text.txt is a caption without a film; files of a sample must have one name",
        ),
    ],
)
def test_bad_samples_are_one_line(
    tmp_path: Path, files: tuple[tuple[str, bytes], ...], match: str
) -> None:
    pytest.importorskip("webdataset")
    with pytest.raises(InputError, match=match) as caught:
        read(shard(tmp_path / "a.tar", *files))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("files", "match"),
    [
        ((("a.txt", "a dog".encode("utf-16")),), "a.tar: a.txt: cannot be read as UTF-8: "),
        ((("a.json", b"{"),), "a.tar: a.json: is no JSON: "),
        ((("a.json", b'{"text": 1}'),), "a caption must be a text or a list of texts; found 1"),
        ((("a.json", b'[{"text": "x"}]'),), "a.json: a caption must be a text or a list of texts"),
        ((("a.json", b'"\\ud800"'),), "a.tar: a.json: is no Unicode text"),
        ((("a.json", b"[" * 100_000),), "a.tar: a.json: is no JSON: "),
        ((("a.txt", b" " * 1_000_001),), "a.txt: is no caption: has more than 1000000 bytes"),
        (
            (("a.dog.txt", b"a dog"), ("a.cat.txt", b"a cat")),
            "a.tar: a.mp4 has two captions, by a.dog.txt and a.cat.txt; keep one",
        ),
    ],
)
def test_bad_captions_are_one_line_before_any_work(
    tmp_path: Path, files: tuple[tuple[str, bytes], ...], match: str
) -> None:
    """And the same line while films are read, should a shard have been changed meanwhile."""
    pytest.importorskip("webdataset")
    path = shard(tmp_path / "a.tar", ("a.mp4", b""), *files)
    with pytest.raises(InputError, match=match) as before:
        check_shard(path, SUFFIXES, captioned=True)
    assert "\n" not in str(before.value)
    with pytest.raises(InputError) as later:
        list(samples(path, SUFFIXES))
    assert str(later.value) == str(before.value)
    assert check_shard(path, SUFFIXES, captioned=False).films == 1, "where captions do not count"


@pytest.mark.parametrize(
    ("files", "caption"),
    [
        ((("a.txt", b" \n"), ("a.json", b'{"text": "from JSON"}')), "from JSON"),
        ((("a.txt", b"from text"), ("a.json", b"{")), "from text"),
        ((("a.json", b'{"caption": "the second", "text": null}'),), "the second"),
        ((("a.json", b'{"text": " ", "caption": "the second"}'),), "the second"),
        ((("a.json", b'{"text": ["", null, " one ", "two"]}'),), "one"),
        ((("a.json", b'{"text": [], "caption": ["x"]}'),), "x"),
        ((("a.json", b'["one", "two"]'),), "one"),
        ((("a.json", b'"itself"'),), "itself"),
        ((("a.json", b'{"prompt": "of another name"}'),), None),
        ((("a.json", b"null"), ("a.TXT", b"large letters")), "large letters"),
        ((("a.txt", b"its own"), ("a.more.txt", b"another")), "its own"),
        ((("a.txt", b""), ("a.more.txt", b"another")), "another"),
        ((("a.speech.txt", b"a talk"), ("a.json", b'{"caption": "its own"}')), "its own"),
        ((("a.boxes.json", b"[1, 2]"), ("a.other.json", b"{")), None),
        ((("a.one.txt", b"the same"), ("a.two.txt", b"the  same")), "the same"),
    ],
)
def test_the_first_caption_that_says_something(
    tmp_path: Path, files: tuple[tuple[str, bytes], ...], caption: str | None
) -> None:
    pytest.importorskip("webdataset")
    path = shard(tmp_path / "a.tar", ("a.mp4", b"a"), *files)
    assert read(path) == [("a.mp4", b"a", caption)]
    contents = check_shard(path, SUFFIXES, captioned=True)
    assert contents == ShardContents(1, captioned=caption is not None)


def test_samples_are_named_up_to_the_first_dot_or_the_last(tmp_path: Path) -> None:
    pytest.importorskip("webdataset")
    films = {
        ("v1.0/0001.Video.MP4", "v1.0/0001.caption.txt"): "v1.0/0001.Video.mp4",
        ("v1.0/0002.meta.json", "v1.0/0002.mp4"): "v1.0/0002.mp4",
        ("clip.V1.mp4", "clip.V1.txt"): "clip.V1.mp4",
        ("walk.1.mp4", "walk.1.txt"): "walk.1.mp4",
        ("walk.2.json", "walk.2.webm"): "walk.2.webm",
        ("walk.txt", "walk.mp4"): "walk.mp4",
    }
    files = [
        (name, b'["%d"]' % number if name.endswith("json") else b"%d" % number)
        for number, sample in enumerate(films)
        for name in sample
    ]
    path = shard(tmp_path / "a.tar", *files)
    wanted = [(name, b"%d" % number, str(number)) for number, name in enumerate(films.values())]
    assert read(path) == wanted


def test_what_tells_of_a_shard_or_of_no_film_is_passed_over(tmp_path: Path) -> None:
    pytest.importorskip("webdataset")
    film = ("b.mp4", b"b"), ("b.txt", b"A dog")
    about = ("__meta__/x.json", b"{"), ("__meta__/x.mp4", b""), ("__key__.txt", b"\xff")
    below = ("./__more/x.txt", b""), ("deep/__info.json", b"")
    quiet = shard(tmp_path / "a.tar", *about, *film, *below)
    assert read(quiet) == [("b.mp4", b"b", "A dog")]
    assert check_shard(quiet, SUFFIXES, captioned=True) == ShardContents(1, captioned=True)
    failed = ("0.json", b"{"), ("a.json", b"[]"), ("a.more.json", b"x" * 2_000_000)
    told = shard(tmp_path / "b.tar", *failed, *about, ("__b.mp4", b"a film"), *film)
    assert read(told) == [("__b.mp4", b"a film", None), ("b.mp4", b"b", "A dog")]
    said = f"{told}: 3 .json without a film passed over, the first: 0.json"
    assert check_shard(told, SUFFIXES, captioned=True) == ShardContents(2, True, said)
    assert check_shard(told, SUFFIXES, captioned=False) == ShardContents(2, captioned=True)


def test_films_are_not_read_before_any_work(tmp_path: Path) -> None:
    pytest.importorskip("webdataset")
    film = bytes(2**24)
    path = shard(tmp_path / "a.tar", ("a.mp4", film), ("a.txt", b"A dog"), ("b.mp4", film))
    check_shard(path, SUFFIXES, captioned=True)  # what it loads stays
    tracemalloc.start()
    check_shard(path, SUFFIXES, captioned=True)
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert most < 2**20


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
