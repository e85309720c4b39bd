"""Bad names and places: links, pipes, devices, names that break lines, hide folders or are no text."""

import os
import re
import socket
import tarfile
import tempfile
from contextlib import contextmanager
from pathlib import Path

import pytest

from falcon_dvc.images.open import list_source, open_images
from tests.support.image_sources import add, data
from tests.support.outcomes import Read, Refused, Row, Skipped, assert_refused, each
from tests.support.sample_images import coloured

PICTURE = coloured(7)
NO_FILE = Skipped("not a regular file")
OUT = Skipped("leads out of the folder")


def file(name: str | bytes):
    """A good picture under some name."""
    return lambda folder: (folder / os.fsdecode(name)).write_bytes(PICTURE)


def link(name: str, target: str):
    """A link."""
    return lambda folder: (folder / name).symlink_to(target)


def bound(folder: Path) -> None:
    """A socket; its path must be short, so it is bound by a relative name."""
    here = os.getcwd()
    os.chdir(folder)
    with socket.socket(socket.AF_UNIX) as end:
        end.bind("a.png")
    os.chdir(here)


def device(folder: Path) -> None:
    """A device that never ends."""
    try:
        os.mknod(folder / "a.png", 0o600 | 0o020000, os.makedev(1, 5))
    except PermissionError:
        pytest.skip("only the super-user makes devices")


def forbidden(folder: Path) -> None:
    """A file that nobody may read."""
    file("a.png")(folder)
    (folder / "a.png").chmod(0)


IN_FOLDERS = [
    Row("a pipe", ("a.png", lambda folder: os.mkfifo(folder / "a.png")), NO_FILE),
    Row("a socket", ("a.png", bound), NO_FILE),
    Row("a device", ("a.png", device), NO_FILE),
    Row("no permission", ("a.png", forbidden), Skipped("Permission denied")),
    Row("a link out", ("a.png", link("a.png", "../secret.png")), OUT),
    Row("a link to the root", ("a.png", link("a.png", "/etc/passwd")), OUT),
    Row("a link to a folder with the same beginning", ("a.png", link("a.png", "../images 2/secret.png")), OUT),
    Row("a link out by a folder", ("a.png", link("a.png", "deep/../../secret.png")), OUT),
    Row("a dangling link", ("a.png", link("a.png", "nothing.png")), NO_FILE),
    Row("a link to itself", ("a.png", link("a.png", "a.png")), NO_FILE),
    Row("a link to the folder above", ("loop", link("loop", "..")), Skipped("a linked folder")),
    Row("a link to a device", ("a.png", link("a.png", "/dev/zero")), OUT),
    Row("a link inside", ("a.png", link("a.png", "deep/b.png")), Read("a.png")),
    Row("a line end", ("a\nb.png", file("a\nb.png")), Read("a\nb.png")),
    Row("a carriage return", ("a\rb.png", file("a\rb.png")), Read("a\rb.png")),
    Row("quotes", ("a'\"`b.png", file("a'\"`b.png")), Read("a'\"`b.png")),
    Row("the shell's letters", ("$(touch ran);a|b&.png", file("$(touch ran);a|b&.png")), Read("$(touch ran);a|b&.png")),
    Row("markup", ("<img src=x>.png", file("<img src=x>.png")), Read("<img src=x>.png")),
    Row("a formula", ("=1+1.png", file("=1+1.png")), Read("=1+1.png")),
    Row("a backslash", ("a\\..\\b.png", file("a\\..\\b.png")), Read("a\\..\\b.png")),
    Row("two dots inside", ("a..png", file("a..png")), Read("a..png")),
    Row("a leading dash", ("-rf.png", file("-rf.png")), Read("-rf.png")),
    Row("only spaces", ("  .png", file("  .png")), Read("  .png")),
    Row("255 bytes", ("a" * 251 + ".png", file("a" * 251 + ".png")), Read("a" * 251 + ".png")),
    Row("right to left", ("صورة.png", file("صورة.png")), Read("صورة.png")),
    Row("a turn of the direction of writing", ("a\u202egpj.png", file("a\u202egpj.png")), Read("a\u202egpj.png")),
    Row("a colour of the terminal", ("\x1b[31ma.png", file("\x1b[31ma.png")), Read("\x1b[31ma.png")),
    Row("bytes that are no UTF-8", ("\\udcff\\udcfe.png", file(b"\xff\xfe.png")), Skipped("its name is not UTF-8")),
]  # fmt: skip


@contextmanager
def as_nobody():
    """The super-user may read everything; in here it is somebody who may not."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


@pytest.fixture
def folder():
    """Images, and what is beside them, where everybody may look."""
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o755)
        for place in ("images/good.png", "images/deep/b.png", "secret.png", "images 2/secret.png"):
            (Path(name) / place).parent.mkdir(exist_ok=True)
            (Path(name) / place).write_bytes(PICTURE)
        yield Path(name) / "images"


@each(IN_FOLDERS)
def test_names_in_a_folder(row, folder):
    shown, make = row.make
    make(folder)
    params = data("images", folder)
    with as_nobody():
        listing = list_source(params)
        images = listing.table["image"].tolist()
        loaded = open_images(params, listing.table).load_many(range(len(images)))
    assert all(picture[0, 0].tolist() == [7, 0, 0] for picture in loaded)
    if isinstance(row.expected, Skipped):
        assert images == ["deep/b.png", "good.png"]
        (line,) = listing.skipped
        assert line.startswith(f"{shown}: ") and re.search(row.expected.words, line), line
    else:
        assert sorted(images) == sorted(["deep/b.png", "good.png", row.expected.value]) and listing.skipped == []
    assert not (folder / "ran").exists() and not Path("ran").exists()


def member(called: str, content: bytes = PICTURE, **fields):
    """A tar archive with one member."""

    def make(folder: Path) -> None:
        with tarfile.open(folder / "a.tar", "w", format=tarfile.PAX_FORMAT) as archive:
            add(archive, called, content, **fields)

    return make


def cut_archive(folder: Path) -> None:
    member("a.png")(folder)
    (folder / "a.tar").write_bytes((folder / "a.tar").read_bytes()[:540])


NO_MEMBERS = Refused(r"data\.images: no images in the tar files of .*; point data\.images at shards of images")
IN_ARCHIVES = [
    Row("an absolute path", member("/tmp/escaped.png"), Read("a.tar:/tmp/escaped")),
    Row("a path that leads up", member("../../escaped.png"), Read("a.tar:../../escaped")),
    Row("a name with a line end", member("a\nb.png"), Read("a.tar:a\nb")),
    Row("a name longer than a file's", member("a" * 300 + ".png"), Read("a.tar:" + "a" * 300)),
    Row("a link", member("a.png", b"", type=tarfile.SYMTYPE, linkname="/etc/passwd"), NO_MEMBERS),
    Row("a hard link", member("a.png", b"", type=tarfile.LNKTYPE, linkname="../secret.png"), NO_MEMBERS),
    Row("a device", member("a.png", b"", type=tarfile.CHRTYPE, devmajor=1, devminor=5), NO_MEMBERS),
    Row("no name", member(""), NO_MEMBERS),
    Row("an archive cut off", cut_archive, Refused(r"no images in the tar files of .*a\.tar: cut off or damaged after its beginning")),
    Row("no archive", lambda folder: (folder / "a.tar").write_bytes(b"<html>" * 500), Refused(r"a\.tar: is a web page, not the file itself")),
    Row("an empty file", lambda folder: (folder / "a.tar").write_bytes(b""), Refused(r"no images in the tar files of")),
    Row("a link to an archive elsewhere", lambda folder: (folder / "a.tar").symlink_to("/etc/passwd"), Refused(r"data\.images: a\.tar in .*leads out of the folder; put the file itself there")),
]  # fmt: skip


@each(IN_ARCHIVES)
def test_names_in_an_archive(row, tmp_path):
    folder = tmp_path / "shards"
    folder.mkdir()
    row.make(folder)
    params = data("webdataset", folder)
    if isinstance(row.expected, Refused):
        assert_refused(row.expected.words, lambda: list_source(params))
    else:
        assert list_source(params).table["image"].tolist() == [row.expected.value]
    assert {path.name for path in tmp_path.rglob("*")} <= {"shards", "a.tar"}


NOWHERE = Refused(
    r"none of the 1 images in .*list\.csv can be read \(first: .*; point data\.images at pictures that can"
)
IN_LISTS = [
    Row("a path that leads up", "../secret.png", Refused(NOWHERE.words.replace("first: .*", r"first: .*a path with \.\..*"))),
    Row("an absolute path", "/etc/passwd", Refused(NOWHERE.words.replace("first: .*", "first: .*an absolute path.*"))),
    Row("a NUL", "a\0.png", NOWHERE),
    Row("a line end", '"a\nb.png"', NOWHERE),
    Row("10 000 letters", "a" * 10_000 + ".png", Refused(NOWHERE.words.replace("first: .*", r"first: a{255}\.\.\..*"))),
    Row("nothing", '""', NOWHERE),
    Row("a place in the network", "https://example.org/a.png", NOWHERE),
]  # fmt: skip


@each(IN_LISTS)
def test_names_in_a_list(row, folder):
    (folder / "list.csv").write_text(f"image\n{row.make}\n", newline="")
    assert_refused(row.expected.words, lambda: list_source(data("list", folder, list="list.csv")))
