"""Pictures in tar shards as img2dataset and WebDataset write them: read in place, by the positions of their bytes."""

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

# A class is a number or a name; what is longer is none.
MAX_LABEL_BYTES = 256
# A header claims how long a name or a comment is; a longer one would be read into memory first.
MAX_HEADER_BYTES = 1_048_576


@dataclass(frozen=True)
class Member:
    """Where the bytes of a member lie in its shard."""

    shard: Path
    offset: int
    size: int


class HeaderReader(io.BufferedReader):
    """A file of which no header can make the reader take more than `MAX_HEADER_BYTES` at once."""

    def read(self, size: int | None = -1, /) -> bytes:
        """Read as much as was asked for, or refuse."""
        if size is None or not 0 <= size <= MAX_HEADER_BYTES:
            raise tarfile.ReadError(f"a header of {size} bytes")
        return super().read(size)


@dataclass
class Shard:
    """What was found in one shard, by the key of the sample."""

    pictures: dict[str, Member] = field(default_factory=dict)
    labels: dict[str, str] = field(default_factory=dict)
    damaged: list[str] = field(default_factory=list)


def find_in_shards(path: str | Path) -> Collection:
    """Find the pictures in a tar file or in the tar files of a folder, from the headers of their members.

    A sample is all members of one key, the name up to the first dot of its last part. Its picture is the member whose
    name goes on with the suffix of an image and nothing else, its label the text of ``KEY.cls``; the id is
    ``SHARD:KEY``. Names of members are never used as paths.

    Raises
    ------
    UserError
        If there is no tar file, one is none, or none holds a picture.
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
    """Give the plain files of a shard as far as it can be read; where that is not to its end mark, say so in `damaged`."""
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
        whole = member is None and _ends(file, after)
    except (
        Exception
    ):  # tarfile raises anything on a damaged header: TarError, ValueError, RecursionError, EOFError, ...
        whole = False
    if not whole:
        damaged.append(f"{printable(name)}: cut off or damaged after {last}; what follows is left out")


def _ends(file: HeaderReader, offset: int) -> bool:
    """Tell whether the mark of the end, a block of zeros, stands where the last member ends."""
    file.seek(offset)
    return file.read(tarfile.BLOCKSIZE) == bytes(tarfile.BLOCKSIZE)


def _key_and_suffix(name: str) -> tuple[str, str]:
    """Divide ``a/b.JPG`` into ``a/b`` and ``.jpg``, ``b.mask.png`` into ``b`` and ``.mask.png``; a hidden file has no suffix."""
    folder, slash, last = name.rpartition("/")
    stem, dot, rest = last.partition(".")
    return f"{folder}{slash}{stem}", f".{rest.lower()}" if stem and dot else ""


def _label(file: HeaderReader, place: Member) -> str:
    """Read the text of a class; "" if it is none."""
    if place.size > MAX_LABEL_BYTES:
        return ""
    file.seek(place.offset)
    return file.read(place.size).decode("utf-8", errors="replace").strip()


def _picture(place: Member) -> Image.Image:
    """Decode a member where it lies."""
    if place.size > MAX_BYTES:
        raise UnreadableImageError(f"more than {MAX_BYTES} bytes")
    try:
        with place.shard.open("rb") as file:
            file.seek(place.offset)
            return decoded(io.BytesIO(file.read(place.size)))
    except OSError as error:
        raise UnreadableImageError(f"cannot be read ({error.strerror})") from error
