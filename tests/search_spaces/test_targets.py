"""Nothing but ordinary files and folders is replaced, and what a link leads to is followed."""

import os
import shutil
import socket
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from search_spaces import InputError
from search_spaces.files.document import (
    replace_folder,
    replacing,
    replacing_folder,
    write_atomically,
)
from search_spaces.files.errors import LeftBehindWarning
from search_spaces.files.targets import file_target, folder_target


def device(path: Path) -> None:
    try:
        os.mknod(path, 0o666 | stat.S_IFCHR, os.makedev(1, 3))  # as /dev/null
    except PermissionError:
        pytest.skip("only root makes devices")


def bound(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as made:
        os.chdir(path.parent)  # its name may be no longer than 100 letters
        made.bind(path.name)


SPECIAL: dict[str, Callable[[Path], None]] = {
    "a device": device,
    "a pipe": os.mkfifo,
    "a socket": bound,
}


def held(folder: Path) -> dict[str, tuple[int, str]]:
    """What stands there: kinds, and where links lead."""
    return {
        path.name: (
            stat.S_IFMT(path.lstat().st_mode),
            str(path.readlink()) if path.is_symlink() else "",
        )
        for path in folder.iterdir()
    }


@pytest.fixture(autouse=True)
def _stay(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize("kind", SPECIAL)
@pytest.mark.parametrize("linked", [False, True])
def test_what_is_no_file_stays_what_it_is(tmp_path: Path, kind: str, linked: bool) -> None:
    path = tmp_path / "special"
    SPECIAL[kind](path)
    if linked:
        (tmp_path / "link").symlink_to(path)
        path = tmp_path / "link"
    before = held(tmp_path)
    with pytest.raises(InputError, match=f"{path}: is {kind}; name an ordinary file"):
        write_atomically(path, "text")
    with (
        pytest.raises(InputError, match=f"{path}: is {kind}; name a folder"),
        replacing_folder(path) as temporary,
    ):
        (temporary / "a").touch()
    assert held(tmp_path) == before


def test_folders_and_files_do_not_take_each_others_place(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").write_text("kept")
    with pytest.raises(InputError, match=r"folder: is a folder; name a file in it"):
        write_atomically(tmp_path / "folder", "text")
    with pytest.raises(InputError, match=r"file: is a file; name a folder"):
        folder_target(tmp_path / "file")
    with pytest.raises(InputError, match=r"file/more: cannot be written: Not a directory"):
        write_atomically(tmp_path / "file" / "more", "text")
    assert (tmp_path / "file").read_text() == "kept"


def test_links_stay_and_what_they_lead_to_is_replaced(tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    kept = tmp_path / "there" / "private.csv"
    kept.write_text("old")
    kept.chmod(0o600)
    (tmp_path / "first").symlink_to("second")
    (tmp_path / "second").symlink_to("there/private.csv")
    write_atomically(tmp_path / "first", "new")
    assert (tmp_path / "first").readlink() == Path("second")
    assert (kept.read_text(), stat.S_IMODE(kept.stat().st_mode)) == ("new", 0o600)
    (tmp_path / "new").symlink_to("there/made.csv")
    write_atomically(tmp_path / "new", "made")
    assert (tmp_path / "new").is_symlink()
    assert (tmp_path / "there" / "made.csv").read_text() == "made"
    assert sorted(path.name for path in (tmp_path / "there").iterdir()) == [
        "made.csv", "private.csv",
    ]  # fmt: skip


def test_linked_folders_stay_links(tmp_path: Path) -> None:
    (tmp_path / "there" / "old").mkdir(parents=True)
    (tmp_path / "link").symlink_to("there")
    with replacing_folder(tmp_path / "link") as temporary:
        (temporary / "new").touch()
    assert (tmp_path / "link").is_symlink()
    assert [path.name for path in (tmp_path / "there").iterdir()] == ["new"]


def test_links_that_lead_nowhere_make_no_folders(tmp_path: Path) -> None:
    (tmp_path / "disk").symlink_to("not mounted/table.csv")
    (tmp_path / "circle").symlink_to("circle")
    with pytest.raises(InputError, match=r"disk: is a link into a folder that is not there: .*not"):
        write_atomically(tmp_path / "disk", "text")
    with pytest.raises(InputError, match=r"circle: cannot be written: Too many levels"):
        write_atomically(tmp_path / "circle", "text")
    assert not (tmp_path / "not mounted").exists()


def test_new_files_are_as_the_umask_says(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        write_atomically(tmp_path / "deep" / "a", b"data")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "deep" / "a").stat().st_mode) == 0o640


def test_what_fails_midway_leaves_what_was_there(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_text("old")

    def half() -> None:
        with replacing(path) as temporary:
            temporary.write_text("half")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        half()
    assert [(p.name, p.read_text()) for p in tmp_path.iterdir()] == [("a", "old")]


def test_a_folder_that_cannot_be_replaced_comes_back(tmp_path: Path) -> None:
    (tmp_path / "stands").mkdir()
    (tmp_path / "stands" / "a").write_text("old")
    with pytest.raises(FileNotFoundError):
        replace_folder(tmp_path / "gone", tmp_path / "stands")
    assert [*held(tmp_path)] == ["stands"]
    assert (tmp_path / "stands" / "a").read_text() == "old"


def test_what_cannot_be_removed_is_named_and_does_not_undo(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a file in use on NFS cannot; a test that root runs has no folder of that kind."""
    (tmp_path / "stands").mkdir()
    monkeypatch.setattr(shutil, "rmtree", lambda *_, **__: None)
    with (
        pytest.warns(LeftBehindWarning, match=rf"\.old: what stood at {tmp_path}/stands before"),
        replacing_folder(tmp_path / "stands") as temporary,
    ):
        (temporary / "new").touch()
    assert (tmp_path / "stands" / "new").exists()


def test_the_file_that_is_printed_to_is_not_taken_away(tmp_path: Path) -> None:
    """`nas ... --out /dev/stdout > file`: what is printed later would be lost."""
    code = (
        "from pathlib import Path; from search_spaces import InputError\n"
        "from search_spaces.files.document import write_atomically\n"
        "try: write_atomically(Path('printed'), 'text')\n"
        "except InputError as error: print(error)"
    )
    (tmp_path / "printed").symlink_to("/dev/fd/1")  # as /dev/stdout
    with (tmp_path / "file").open("w") as file:
        subprocess.run([sys.executable, "-c", code], stdout=file, check=True)
    said = (tmp_path / "file").read_text()
    assert said == "printed: is what this command prints to; name another file\n"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "printed: is a pipe; name an ordinary file\n"


def test_where_nothing_stands_the_path_is_its_own_target(tmp_path: Path) -> None:
    assert file_target(tmp_path / "a") == folder_target(tmp_path / "a") == tmp_path / "a"
