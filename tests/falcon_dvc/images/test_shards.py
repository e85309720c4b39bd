"""Tar shards: samples by key, pictures read in place, names that are only names, damage that costs what follows it and no more."""

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
    (tmp_path / "a.tar").write_bytes(b"\x1f\x8b no tar")
    listing = listed(tmp_path)
    assert ids(listing) == ["b.tar:0"]
    assert listing.skipped == ["a.tar: cut off or damaged after its beginning; what follows is left out"]


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
