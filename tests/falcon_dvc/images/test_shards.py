"""Tar shards: samples by key, pictures read in place, names that are only names, damage that costs what follows it and no more."""

import bz2
import gzip
import lzma
import tarfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from falcon_dvc.errors import UserError
from falcon_dvc.images import shards
from falcon_dvc.images.listing import Listing, list_collection
from falcon_dvc.images.shards import find_in_shards
from falcon_dvc.images.source import open_collection
from tests.support.image_sources import add
from tests.support.sample_images import coloured


def shard(path: Path, members: list[tuple[str, bytes]], kind: int = tarfile.PAX_FORMAT) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w", format=kind) as archive:
        for name, content in members:
            add(archive, name, content)
    return path


def listed(path: Path, unreadable="skip") -> Listing:
    return list_collection(find_in_shards(path), unreadable)


def ids(listing: Listing) -> list[str]:
    return listing.table["image"].tolist()


def test_a_sample_is_what_has_one_key(tmp_path):
    members = [
        ("000.txt", b"a caption"), ("000.cls", b" bus\n"), ("000.JPG", coloured(1)), ("000.mask.png", coloured(9)),
        ("000.json", b"{}"), ("a.b/001.png", coloured(2)), ("a.b/001.cls", b"7"), ("002.webp", coloured(3)),
        ("._003.jpg", coloured(9)), ("004.cls", b"alone"), ("002.cls", b"x" * 1000), ("notes", b""),
    ]  # fmt: skip
    listing = listed(shard(tmp_path / "s.tar", members), "fail")
    assert listing.table[["image", "label"]].to_numpy().tolist() == [
        ["s.tar:000", "bus"], ["s.tar:002", ""], ["s.tar:a.b/001", "7"],
    ]  # fmt: skip


def test_shards_of_a_folder_are_told_apart(tmp_path):
    for name, red in (("b.tar", 1), ("a/1.TAR", 2), (".hidden.tar", 9), ("x.tgz", 9)):
        shard(tmp_path / name, [("0.png", coloured(red))])
    found = find_in_shards(tmp_path)
    assert found.ids == ["a/1.TAR:0", "b.tar:0"]
    assert [int(picture[0, 0, 0]) for picture in open_collection(found, ["b.tar:0", "a/1.TAR:0"]).load_many([0, 1])] == [
        1, 2,
    ]  # fmt: skip


def test_names_of_members_are_never_paths(tmp_path):
    secret = tmp_path / "secret.png"
    secret.write_bytes(coloured(9))
    names = ["/etc/passwd.png", "../../secret.png", str(secret), "C:\\a.png", "a\nb.png", "\x1b[31m.png"]
    path = shard(tmp_path / "s.tar", [(name, coloured(1)) for name in names])
    before = sorted(tmp_path.rglob("*"))
    found = find_in_shards(path)
    assert {int(picture[0, 0, 0]) for picture in open_collection(found, found.ids).load_many(range(len(names)))} == {1}
    assert sorted(tmp_path.rglob("*")) == before


def test_only_plain_files_are_pictures(tmp_path):
    with tarfile.open(tmp_path / "s.tar", "w") as archive:
        add(archive, "a.png", coloured(1))
        for kind in (tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE, tarfile.DIRTYPE, tarfile.CHRTYPE):
            add(archive, f"{kind.decode()}.png", type=kind, linkname="/etc/hostname")
    assert ids(listed(tmp_path / "s.tar", "fail")) == ["s.tar:a"]


def test_a_name_that_is_not_unicode_is_skipped(tmp_path):
    path = shard(tmp_path / "s.tar", [("a.png", coloured(1)), ("\udcff.png", coloured(2))], tarfile.GNU_FORMAT)
    listing = listed(path)
    assert ids(listing) == ["s.tar:a"] and listing.skipped == ["s.tar:\\udcff: its name is not UTF-8"]


def test_of_a_cut_shard_what_comes_before_counts(tmp_path):
    path = shard(tmp_path / "s.tar", [(f"{number}.png", coloured(number)) for number in range(4)])
    content = path.read_bytes()
    assert len(find_in_shards(path).ids) == 4
    for kept in (2 * 1024 + 100, 2 * 1024 + 540, 2 * 1024):  # in the third's header, in its bytes, before it
        path.write_bytes(content[:kept])
        listing = listed(path)
        assert ids(listing) == ["s.tar:0", "s.tar:1"]
        assert len(listing.skipped) == 1 and listing.skipped[0].startswith("s.tar: cut off or damaged after ")
        with pytest.raises(UserError, match=r"data\.images: s\.tar: cut off .*data\.unreadable"):
            listed(path, "fail")
    damaged = bytearray(content)
    damaged[2 * 1024 + 150] ^= 0xFF  # the check sum of the third's header
    path.write_bytes(bytes(damaged))
    assert ids(listed(path)) == ["s.tar:0", "s.tar:1"]


def test_a_whole_shard_beside_a_cut_one_counts(tmp_path):
    shard(tmp_path / "b.tar", [("0.png", coloured(1))])
    (tmp_path / "a.tar").write_bytes(b"no tar")
    listing = listed(tmp_path)
    assert ids(listing) == ["b.tar:0"]
    assert listing.skipped == ["a.tar: cut off or damaged after its beginning; what follows is left out"]


def test_a_name_with_a_further_dot_is_an_image_unless_its_sample_has_one(tmp_path):
    names = (
        "22.05.png",
        "22.06.png",
        "a.v1.jpeg",
        "a/b.left.png",
        "a/b.right.png",
        "m.png",
        "m.mask.png",
        "n.mask.png",
    )
    members = [(name, coloured(red)) for red, name in enumerate(names)]
    members += [("22.cls", b"both"), ("22.06.cls", b"own"), ("n.cls", b"n")]
    found = find_in_shards(shard(tmp_path / "s.tar", members))
    assert dict(zip(found.ids, found.labels, strict=True)) == {
        "s.tar:22.05": "both", "s.tar:22.06": "own", "s.tar:a.v1": "", "s.tar:a/b.left": "", "s.tar:a/b.right": "",
        "s.tar:m": "", "s.tar:n.mask": "n",
    }  # fmt: skip
    own, fields = found.beside[shards.DOTTED], found.beside[shards.FIELD]
    assert own == [name for name in found.ids if name != "s.tar:m"] and fields == ["s.tar:m.mask"]
    assert int(open_collection(found, ["s.tar:22.06"]).load(0)[0, 0, 0]) == 1


def test_members_of_other_kinds_are_named_and_those_without_a_suffix_are_recognised(tmp_path):
    names = ("a.jfif", "b.HEIC", "c.nii.gz", "d", "22.05", "e.tga", ".f.heic", "g.txt", "README")
    contents = {"g.txt": b"a boat", "README": b"BMP files are none of these texts"}
    members = [(name, contents.get(name, coloured(red))) for red, name in enumerate(names)]
    found = find_in_shards(shard(tmp_path / "s.tar", members))
    assert found.ids == ["s.tar:a", "s.tar:d", "s.tar:22.05"]
    assert [name for names in found.passed_over.values() for name in names] == [
        "s.tar:b.HEIC", "s.tar:c.nii.gz", "s.tar:e.tga",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("pack", "command"),
    [
        (gzip.compress, "gzip -d"),
        (bz2.compress, "bzip2 -d"),
        (lzma.compress, "xz -d"),
        (b"(\xb5/\xfd".__add__, "zstd -d"),
    ],
)
def test_a_packed_shard_is_recognised_by_its_bytes(tmp_path, pack, command):
    path = shard(tmp_path / "a.tar", [("0.png", coloured(1))])
    path.write_bytes(pack(path.read_bytes()))
    with pytest.raises(UserError, match=rf"^data\.images: no images .*\(a\.tar: packed files .* `{command}`\); point"):
        find_in_shards(path)
    shard(tmp_path / "b.tar", [("0.png", coloured(1))])
    found = find_in_shards(tmp_path)
    assert found.ids == ["b.tar:0"] and list(found.unopened.values()) == [["a.tar"]]


@pytest.mark.parametrize("name", ["0.tar.gz", "0.tgz", "0.tar.bz2", "0.tar.xz", "0.tar.zst", "0.zip"])
def test_nothing_but_packed_shards_is_refused_with_the_fix(tmp_path, name):
    (tmp_path / name).touch()
    with pytest.raises(
        UserError, match=rf"no \.tar files under .* \({name}: packed files .* unpack with `.*point data"
    ):
        find_in_shards(tmp_path)


def test_a_second_picture_of_a_key_is_named(tmp_path):
    listing = listed(
        shard(tmp_path / "s.tar", [("0.png", coloured(1)), ("0.jpg", coloured(2)), ("0.png", coloured(3))])
    )
    assert ids(listing) == ["s.tar:0"]
    assert listing.skipped == [f"s.tar:0: has a second picture ({suffix}), left out" for suffix in (".jpg", ".png")]


def test_ids_that_only_look_alike_are_refused(tmp_path):
    shard(tmp_path / "a.tar", [("b.tar:c/0.png", coloured(1))])
    shard(tmp_path / "a.tar:b.tar", [("c/0.png", coloured(2))])
    with pytest.raises(UserError, match=r"a\.tar:b\.tar:c/0 twice; remove or rename one"):
        find_in_shards(tmp_path)


def test_a_picture_longer_than_any_honest_one_is_refused_unread(tmp_path, monkeypatch):
    monkeypatch.setattr(shards, "MAX_BYTES", 200)
    listing = listed(shard(tmp_path / "s.tar", [("a.png", coloured(1)), ("b.png", bytes(201))]))
    assert listing.skipped == ["s.tar:b: more than 200 bytes"]


def test_a_header_that_would_fill_the_memory_is_damage(tmp_path):
    with tarfile.open(tmp_path / "s.tar", "w") as archive:
        add(archive, "a.png", coloured(1))
        add(archive, "long", bytes(2 * shards.MAX_HEADER_BYTES), type=tarfile.GNUTYPE_LONGNAME)
        add(archive, "b.png", coloured(2))
    listing = listed(tmp_path / "s.tar")
    assert ids(listing) == ["s.tar:a"]
    assert listing.skipped == ["s.tar: cut off or damaged after a.png; what follows is left out"]


def test_a_size_below_zero_does_not_turn_back(tmp_path):
    with tarfile.open(tmp_path / "s.tar", "w", format=tarfile.GNU_FORMAT) as archive:
        add(archive, "a.png", coloured(1))
        add(archive, "b.png")
        end = archive.offset
    content = bytearray((tmp_path / "s.tar").read_bytes())
    header = memoryview(content)[end - 512 : end]
    header[124:136] = b"\xff" + (-2048).to_bytes(11, "big", signed=True)
    header[148:156] = b"%06o\0 " % (sum(header[:148]) + 256 + sum(header[156:]))
    (tmp_path / "s.tar").write_bytes(content)
    with tarfile.open(tmp_path / "s.tar") as archive:
        archive.next()
        assert archive.next().size == -2048
    listing = listed(tmp_path / "s.tar")
    assert ids(listing) == ["s.tar:a"] and len(listing.skipped) == 1


@pytest.mark.parametrize(
    ("members", "words"), [([("0.txt", b"")], "no images in the tar files"), ([], "no images in the tar files")]
)
def test_shards_without_pictures_are_refused(tmp_path, members, words):
    with pytest.raises(UserError, match=rf"^data\.images: {words}[^\n]*$"):
        find_in_shards(shard(tmp_path / "s.tar", members))


def test_links_out_of_the_folder_are_refused(tmp_path):
    shard(tmp_path / "elsewhere" / "s.tar", [("0.png", coloured(1))])
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "a.tar").symlink_to("../elsewhere/s.tar")
    with pytest.raises(UserError, match=r"a\.tar in .*: leads out of the folder"):
        find_in_shards(tmp_path / "mine")
    (tmp_path / "mine" / "a.tar").unlink()
    (tmp_path / "mine" / "more").symlink_to("../elsewhere")
    with pytest.raises(UserError, match=r"more in .*: a linked folder"):
        find_in_shards(tmp_path / "mine")


# Without a dot, and not as a hidden or nameless file, every key is the whole name.
KEYS = st.text(st.characters(exclude_characters="\0./", exclude_categories=["Cs"]), min_size=1, max_size=12)
PATHS = st.lists(KEYS | st.sampled_from(["..", "a.b"]), max_size=2).map(
    lambda folders: "".join(f"{folder}/" for folder in folders)
)


@given(keys=st.lists(st.tuples(PATHS, KEYS).map("".join), min_size=1, max_size=6, unique=True))
def test_every_picture_comes_back_under_its_id(tmp_path_factory, keys):
    path = shard(tmp_path_factory.mktemp("any") / "s.tar", [(f"{key}.png", coloured(i)) for i, key in enumerate(keys)])
    listing = list_collection(found := find_in_shards(path), "fail")
    shown = open_collection(found, ids(listing)).load_many(range(len(listing.table)))
    assert [f"s.tar:{keys[int(picture[0, 0, 0])]}" for picture in shown] == ids(listing)
    assert sorted(ids(listing)) == sorted(f"s.tar:{key}" for key in keys)


@given(content=st.binary(max_size=2000), place=st.integers(0, 4000))
def test_any_damage_is_a_line(tmp_path_factory, content, place):
    path = shard(tmp_path_factory.mktemp("any") / "s.tar", [(f"{number}.png", coloured(number)) for number in range(3)])
    whole = path.read_bytes()
    path.write_bytes(whole[:place] + content + whole[place + len(content) :])
    try:
        listing = listed(path)
    except UserError as error:
        assert "\n" not in str(error)
    else:
        assert all("\n" not in line for line in listing.skipped)
