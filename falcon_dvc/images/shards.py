"""Read pictures from tar shards in the format of img2dataset and WebDataset, in place, by the positions of their bytes."""

import io
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from PIL import Image

from falcon_dvc.errors import UserError
from falcon_dvc.images.containers import containers
from falcon_dvc.images.decode import MAX_BYTES, UnreadableImageError, decoded, printable
from falcon_dvc.images.listing import SUFFIXES, Collection
from falcon_dvc.progress import track

# A label is a number or a name; longer contents are ignored.
MAX_LABEL_BYTES = 256
# A header states the length of a name or a comment, which tarfile reads into memory; a longer one is refused.
MAX_HEADER_BYTES = 1_048_576


@dataclass(frozen=True)
class Member:
    """Position of the bytes of a member in its shard."""

    shard: Path
    offset: int
    size: int


class HeaderReader(io.BufferedReader):
    """A file that refuses reads of more than `MAX_HEADER_BYTES` at once."""

    def read(self, size: int | None = -1, /) -> bytes:
        """Read `size` bytes.

        Raises
        ------
        tarfile.ReadError
            If `size` is larger than `MAX_HEADER_BYTES`.
        """
        if size is None or not 0 <= size <= MAX_HEADER_BYTES:
            raise tarfile.ReadError(f"a header of {size} bytes")
        return super().read(size)


@dataclass
class Shard:
    """Contents of one shard: pictures and labels by the key of their sample, and damage as ``name: reason``."""

    pictures: dict[str, Member] = field(default_factory=dict)
    labels: dict[str, str] = field(default_factory=dict)
    damaged: list[str] = field(default_factory=list)


def find_in_shards(path: str | Path) -> Collection:
    """Find the pictures in a tar file or in the tar files of a folder, from the headers of their members.

    A sample is all members with the same key: the name up to the first dot of its last component. The picture is the
    member whose key is followed by the suffix of an image only. The label is the text of ``KEY.cls``. The id is
    ``SHARD:KEY``. Names of members are never used as paths.

    Raises
    ------
    UserError
        If there is no tar file, or the tar files hold no picture.
    """
    ids: list[str] = []
    labels: list[str] = []
    members: list[Member] = []
    damaged: list[str] = []
    for name, shard_path in track(containers(path, ".tar"), "Reading shards"):
        shard = _read_shard(name, shard_path)
        ids += [f"{name}:{key}" for key in shard.pictures]
        labels += [shard.labels.get(key, "") for key in shard.pictures]
        members += shard.pictures.values()
        damaged += shard.damaged
    if not ids:
        cause = f" ({damaged[0]})" if damaged else ""
        raise UserError(
            f"data.images: no images in the tar files of {path}{cause}; point data.images at shards of images"
        )
    return Collection(str(path), ids, labels, lambda row: _picture(members[row]), damaged=damaged)


def _read_shard(name: str, path: Path) -> Shard:
    """Collect the pictures and labels of a shard; a second picture of a key counts as damage."""
    shard = Shard()
    try:
        with HeaderReader(io.FileIO(path)) as file:
            for member in _members(file, name, shard.damaged):
                _add(shard, name, file, member.name, Member(path, member.offset_data, member.size))
    except OSError as error:
        shard.damaged.append(f"{printable(name)}: cannot be read ({error.strerror})")
    return shard


def _add(shard: Shard, name: str, file: HeaderReader, member: str, place: Member) -> None:
    """Add a member if it is a picture or a label."""
    key, suffix = _key_and_suffix(member)
    if suffix == ".cls":
        shard.labels[key] = _label(file, place)
    elif suffix in SUFFIXES and key in shard.pictures:
        shard.damaged.append(f"{printable(name)}:{printable(key)}: has a second picture ({suffix}), left out")
    elif suffix in SUFFIXES:
        shard.pictures[key] = place


def _members(file: HeaderReader, name: str, damaged: list[str]) -> Iterator[tarfile.TarInfo]:
    """Yield the regular files of a shard; if it cannot be read to its end mark, append to `damaged`."""
    end = file.seek(0, 2)
    file.seek(0)
    last = "its beginning"
    try:
        with tarfile.open(fileobj=file, mode="r:") as archive:
            before = -1
            while (member := archive.next()) is not None and before < member.offset:
                archive.members = []  # type: ignore[attr-defined]  # tarfile would keep them all
                before = member.offset
                if member.size < 0 or member.offset_data + member.size > end:
                    break
                last = printable(member.name)
                if member.isreg() and not member.issparse():
                    yield member
            after = archive.offset
        whole = member is None and _has_end_mark(file, after)
    except (
        Exception
    ):  # tarfile raises anything on a damaged header: TarError, ValueError, RecursionError, EOFError, ...
        whole = False
    if not whole:
        damaged.append(f"{printable(name)}: cut off or damaged after {last}; what follows is left out")


def _has_end_mark(file: HeaderReader, offset: int) -> bool:
    """Return whether the end mark, a block of zeros, follows the last member."""
    file.seek(offset)
    return file.read(tarfile.BLOCKSIZE) == bytes(tarfile.BLOCKSIZE)


def _key_and_suffix(name: str) -> tuple[str, str]:
    """Split ``a/b.JPG`` into ``a/b`` and ``.jpg``, ``b.mask.png`` into ``b`` and ``.mask.png``; a hidden file has no suffix."""
    folder, slash, last = name.rpartition("/")
    stem, dot, rest = last.partition(".")
    return f"{folder}{slash}{stem}", f".{rest.lower()}" if stem and dot else ""


def _label(file: HeaderReader, place: Member) -> str:
    """Read the text of a label; "" if it is too long."""
    if place.size > MAX_LABEL_BYTES:
        return ""
    file.seek(place.offset)
    return file.read(place.size).decode("utf-8", errors="replace").strip()


def _picture(place: Member) -> Image.Image:
    """Decode a member in place."""
    if place.size > MAX_BYTES:
        raise UnreadableImageError(f"more than {MAX_BYTES} bytes")
    try:
        with place.shard.open("rb") as file:
            file.seek(place.offset)
            return decoded(io.BytesIO(file.read(place.size)))
    except OSError as error:
        raise UnreadableImageError(f"cannot be read ({error.strerror})") from error
