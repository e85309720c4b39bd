"""Make captions of a word list, one word or phrase a line: every entry in every template, and the entry itself as the concept."""

from collections.abc import Iterator, Sequence

import numpy as np

from falcon_dvc.captions.corpus_file import Batch, FilesOfCaptions, LineFiles, clean_caption
from falcon_dvc.captions.templates import PLACEHOLDER


class Vocabulary(FilesOfCaptions):
    """Captions of text files with one word or phrase a line.

    Parameters
    ----------
    files : sequence of str
        The files, in the order of the captions.
    templates : sequence of str
        Texts with one ``{}`` each.
    """

    unit = "lines"

    def __init__(self, files: Sequence[str], templates: Sequence[str]) -> None:
        super().__init__(files)
        self._templates = templates

    def batches(self) -> Iterator[Batch]:
        """Yield the captions: the first entry in every template, then the next entry in every template.

        An empty line gives missing captions.

        Raises
        ------
        UserError
            If a file is missing or damaged.
        """
        for lines in LineFiles(self.files).batches():
            entries = [clean_caption(text or "") for text in lines.texts]
            texts = [
                template.replace(PLACEHOLDER, entry) if entry else None
                for entry in entries
                for template in self._templates
            ]
            words = [entry for entry in entries for _ in self._templates]
            rows = lines.row + np.repeat(np.arange(len(entries)), len(self._templates))
            yield Batch(lines.file, lines.row, texts, lines.undecodable, rows=rows, words=words)
