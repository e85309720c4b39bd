"""Read the corpus that the code of FALCON's authors leaves: ``metadata/captions.txt`` and ``text_emb_filtered/text_emb_N.npy``."""

from collections.abc import Iterator
from pathlib import Path

from falcon_dvc.captions.corpus_file import Batch, LineFiles
from falcon_dvc.captions.folders import refuse_links_out
from falcon_dvc.captions.laion import Embedded, numbered
from falcon_dvc.captions.text_file import opened
from falcon_dvc.embeddings import open_embeddings
from falcon_dvc.errors import UserError

CAPTIONS = Path("metadata", "captions.txt")
EMBEDDINGS = "text_emb_filtered"
BYTES_AT_ONCE = 16 << 20


class ReleasedCorpus(Embedded):
    """Different captions, one a line, and their embeddings in the order of the lines.

    Raises
    ------
    UserError
        If a file is missing, or the numbers of lines and of embeddings differ.
    """

    unit = "lines"

    def __init__(self, folder: str) -> None:
        root = Path(folder)
        shards = numbered(root, EMBEDDINGS, "text_emb", ".npy") if is_released(root) else {}
        if not shards:
            raise UserError(f"data.captions: {folder} needs {CAPTIONS} and {EMBEDDINGS}/text_emb_*.npy; put them there")
        refuse_links_out(root, [root / CAPTIONS, *shards.values()])
        self.files = (str(root / CAPTIONS),)
        self.embeddings = tuple(str(shards[number]) for number in sorted(shards))
        _check_rows(self.files[0], self.embeddings)

    def batches(self) -> Iterator[Batch]:
        """Yield all lines."""
        return LineFiles(self.files).batches()


def is_released(folder: Path) -> bool:
    """Return whether a folder holds the processed captions and a folder for their embeddings."""
    return (folder / CAPTIONS).is_file() and (folder / EMBEDDINGS).is_dir()


def _check_rows(captions: str, embeddings: tuple[str, ...]) -> None:
    lines, rows = _lines(captions), sum(len(open_embeddings(name)) for name in embeddings)
    if lines != rows:
        raise UserError(
            f"data.captions: {captions} has {lines} lines, but {Path(embeddings[0]).parent} has {rows} embeddings (a caption "
            f"with a line end shifts all later ones, or a shard is missing); point data.captions at {captions} to embed them again"
        )


def _lines(path: str) -> int:
    """Count the lines of a file, with a last one that has no end."""
    lines, last = 0, b"\n"
    with opened(path) as file:
        while block := file.read(BYTES_AT_ONCE):
            lines, last = lines + block.count(b"\n"), block[-1:]
    return lines + (last != b"\n")
