"""Read pictures from tar shards in the format of img2dataset and WebDataset, in place, by the positions of their bytes."""

import io
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from PIL import Image

from falcon_dvc.errors import UserError
from falcon_dvc.images.containers import containers
from falcon_dvc.images.decode import MAX_BYTES, UnreadableImageError, decoded, first_bytes, printable
from falcon_dvc.images.kinds import START, compression, is_picture, readable_suffixes, suffix_of, unread_kind
from falcon_dvc.images.listing import Collection
from falcon_dvc.images.passed_over import lines, not_read, packed
from falcon_dvc.progress import track

# A label is a number or a name; longer contents are ignored.
MAX_LABEL_BYTES = 256
# A header states the length of a name or a comment, which tarfile reads into memory; a longer one is refused.
MAX_HEADER_BYTES = 1_048_576
DOTTED = (
    "a dot in the name, where WebDataset would end the key; read as an image of its own, with the label of its sample"
)
FIELD = "a picture beside that of its sample, as a mask is; left out; give it a name without a further dot to read it"


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
    """Contents of one shard.

    Attributes
    ----------
    pictures : dict of str to Member
        The member ``KEY.SUFFIX`` of each key.
    dotted : dict of str to (str, Member)
        Pictures with a further dot, ``KEY.FIELD.SUFFIX``: by ``KEY.FIELD``, with the key.
    labels : dict of str to str
        By key.
    damaged : list of str
        What cannot be read, as ``name: reason``.
    passed_over, unopened, beside : dict of str to list of str
        As in `Collection`.
    """

    pictures: dict[str, Member] = field(default_factory=dict)
    dotted: dict[str, tuple[str, Member]] = field(default_factory=dict)
    labels: dict[str, str] = field(default_factory=dict)
    damaged: list[str] = field(default_factory=list)
    passed_over: dict[str, list[str]] = field(default_factory=dict)
    unopened: dict[str, list[str]] = field(default_factory=dict)
    beside: dict[str, list[str]] = field(default_factory=dict)


def find_in_shards(path: str | Path) -> Collection:
    """Find the pictures in a tar file or in the tar files of a folder, from the headers of their members.

    A sample is all members with the same key: the name up to the first dot of its last component. Its picture is the member
    whose key is followed by the suffix of an image only. A member ``KEY.FIELD.SUFFIX`` is a field of the sample if the sample
    has such a picture, and otherwise an image of its own with the key ``KEY.FIELD``. The label is the text of ``KEY.cls``. The
    id is ``SHARD:KEY``. Names of members are never used as paths.

    Raises
    ------
    UserError
        If there is no tar file, or the tar files hold no picture.
    """
    found = containers(path, (".tar",), {})
    ids: list[str] = []
    labels: list[str] = []
    members: list[Member] = []
    every = Shard(unopened={reason: list(names) for reason, names in found.unopened.items()})
    for name, shard_path in track(found.files, "Reading shards"):
        shard = _read_shard(name, shard_path)
        for key, (label, member) in _images(shard, name).items():
            ids.append(f"{name}:{key}")
            labels.append(label)
            members.append(member)
        _merge(every, shard)
    if not ids:
        cause = "; ".join([*every.damaged[:1], *lines(every.passed_over), *lines(every.unopened)])
        raise UserError(
            f"data.images: no images in the tar files of {path}{cause and f' ({cause})'}; point data.images at shards of images"
        )
    return Collection(
        str(path),
        ids,
        labels,
        lambda row: _picture(members[row]),
        damaged=every.damaged,
        passed_over=every.passed_over,
        unopened=every.unopened,
        beside=every.beside,
    )


def _images(shard: Shard, name: str) -> dict[str, tuple[str, Member]]:
    """Return label and place of each image of a shard by its key, in the order of the shard; note names with further dots."""
    images = {key: (shard.labels.get(key, ""), member) for key, member in shard.pictures.items()}
    for full, (key, member) in shard.dotted.items():
        is_field = key in shard.pictures
        shard.beside.setdefault(FIELD if is_field else DOTTED, []).append(f"{name}:{full}")
        if not is_field:
            images[full] = (shard.labels.get(full, shard.labels.get(key, "")), member)
    return dict(sorted(images.items(), key=lambda image: image[1][1].offset))


def _merge(every: Shard, shard: Shard) -> None:
    """Add what is left out of a shard, and its remarks, to those of the other shards."""
    every.damaged += shard.damaged
    for groups in ("passed_over", "unopened", "beside"):
        for reason, names in getattr(shard, groups).items():
            getattr(every, groups).setdefault(reason, []).extend(names)


def _read_shard(name: str, path: Path) -> Shard:
    """Collect the pictures and labels of a shard; a second picture of a key counts as damage."""
    shard = Shard()
    command = compression(first_bytes(path))
    if command:
        shard.unopened[packed(command)] = [name]
        return shard
    try:
        with HeaderReader(io.FileIO(path)) as file:
            for member in _members(file, name, shard.damaged):
                _add(shard, name, file, member.name, Member(path, member.offset_data, member.size))
    except OSError as error:
        shard.damaged.append(f"{printable(name)}: cannot be read ({error.strerror})")
    return shard


def _add(shard: Shard, name: str, file: HeaderReader, member: str, place: Member) -> None:
    """Add a member if it is a picture or a label, or looks like a picture. Hidden files are ignored."""
    key, field_key, suffix = _keys_and_suffix(member)
    if not key:
        return
    if suffix == ".cls":
        shard.labels[field_key] = _label(file, place)
    elif kind := unread_kind(member):
        shard.passed_over.setdefault(not_read(kind), []).append(f"{name}:{member}")
    elif suffix in readable_suffixes() or (not suffix and is_picture(_start(file, place))):
        _add_picture(shard, name, (key, field_key, suffix), place)


def _add_picture(shard: Shard, name: str, member: tuple[str, str, str], place: Member) -> None:
    """Add a picture to those of its kind: the picture of a sample, or one with a further dot in its name."""
    key, field_key, suffix = member
    if field_key in shard.pictures or field_key in shard.dotted:
        shard.damaged.append(f"{printable(name)}:{printable(field_key)}: has a second picture ({suffix}), left out")
    elif field_key == key:
        shard.pictures[key] = place
    else:
        shard.dotted[field_key] = (key, place)


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


def _keys_and_suffix(name: str) -> tuple[str, str, str]:
    """Split ``a/b.mask.PNG`` into ``a/b``, ``a/b.mask`` and ``.png``, and ``a/b.png`` into ``a/b`` twice and ``.png``.

    A number is no suffix. The keys of a hidden file are "".
    """
    folder, slash, last = name.rpartition("/")
    key = last.partition(".")[0]
    suffix = suffix_of(last) if key else ""
    return (f"{folder}{slash}{key}", name[: len(name) - len(suffix)], suffix) if key else ("", "", "")


def _start(file: HeaderReader, place: Member) -> bytes:
    """Read the first bytes of a member."""
    file.seek(place.offset)
    return file.read(min(START, place.size))


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
