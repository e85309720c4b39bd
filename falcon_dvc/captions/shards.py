"""Read captions from tar shards in the format of img2dataset and WebDataset: ``KEY.txt``, or else a key of ``KEY.json``."""

import io
import json
import tarfile
from collections.abc import Iterator

from falcon_dvc.captions.cells import Texts
from falcon_dvc.captions.corpus_file import MAX_LINE_BYTES, ROWS_AT_ONCE, Batch, decoded, in_batches
from falcon_dvc.captions.names import chosen_columns
from falcon_dvc.captions.tables import FilesWithColumns, batch_of
from falcon_dvc.captions.text_file import opened
from falcon_dvc.errors import UserError, one_line

SIGNATURE = b"ustar"
SIGNATURE_AT = 257


class ShardFiles(FilesWithColumns):
    """Tar files. The text of a member is one caption; members are read in place, and their names are no paths."""

    unit = "members"

    def batches(self) -> Iterator[Batch]:
        """Yield the captions of all shards.

        Raises
        ------
        UserError
            If a shard is missing or damaged, or holds no captions.
        """
        for number, path in enumerate(self.files):
            kind = ".txt" if next(_members(path, ".txt"), None) is not None else ".json"
            row = 0
            for contents in in_batches(_members(path, kind), ROWS_AT_ONCE, len):
                texts, undecodable = decoded(contents)
                yield batch_of(number, row, _captions(path, texts, kind, self._column), undecodable)
                row += len(contents)


def is_shard(start: bytes) -> bool:
    """Return whether a file begins like a tar file."""
    return start.startswith(SIGNATURE, SIGNATURE_AT)


def _members(path: str, suffix: str) -> Iterator[bytes]:
    """Yield the contents of the members with a suffix; the rest of a long one is skipped."""
    with opened(path) as file:
        if not isinstance(file.raw, io.FileIO):  # a small compressed header could fill the memory
            raise UserError(f"data.captions: {path} is a compressed tar file; decompress it")
        try:
            with tarfile.open(fileobj=file, mode="r:") as archive:
                yield from _contents(archive, suffix)
        except Exception as error:  # tarfile raises anything on a damaged header: TarError, ValueError, EOFError, ...
            reason = one_line(error, 120)
            raise UserError(f"data.captions: {path} is not a readable tar file ({reason}); fetch it again") from error


def _contents(archive: tarfile.TarFile, suffix: str) -> Iterator[bytes]:
    place = -1
    while (member := archive.next()) is not None and place < member.offset:
        archive.members = []  # type: ignore[attr-defined]  # tarfile would keep them all
        place = member.offset
        if member.isreg() and not member.issparse() and member.name.lower().endswith(suffix):
            content = archive.extractfile(member)
            yield content.read(MAX_LINE_BYTES) if content else b""


def _captions(path: str, contents: list[str | None], kind: str, column: str) -> Texts:
    texts = Texts()
    for content in contents:
        texts.add(content if kind == ".txt" else _value(path, content or "", column))
    return texts


def _value(path: str, content: str, column: str) -> object:
    """Return the captions of a JSON member.

    Raises
    ------
    UserError
        If it is no object with captions.
    """
    try:
        fields = json.loads(content)
    except (ValueError, RecursionError) as error:
        reason = one_line(error, 120)
        raise UserError(f"data.captions: {path}: a member is not valid JSON ({reason})") from error
    if not isinstance(fields, dict):
        raise UserError(
            f"data.captions: {path}: a member is not a JSON object; set data.captions to its table or texts"
        )
    return fields.get(chosen_columns(path, list(fields), column)[0])
