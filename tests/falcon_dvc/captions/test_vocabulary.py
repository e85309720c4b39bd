"""Captions from a word list: every entry in every template, beside the entry as it is."""

import numpy as np
import pytest

from falcon_dvc.captions import corpus_file
from falcon_dvc.captions.selection import select, selected
from falcon_dvc.captions.vocabulary import Vocabulary

WORDS = "cat\nhot  dog\n\nnan\ncat\r\n&amp;c"
TEMPLATES = ("a photo of a {}", "{}")


def table_of(path, templates=TEMPLATES):
    source = Vocabulary([str(path)], templates)
    selection = select(source)
    (table,) = [batch.to_pandas() for batch in selected(source, selection, with_source=True)]
    return table, selection


def test_every_entry_stands_in_every_template_and_is_the_only_concept(tmp_path):
    (tmp_path / "words.txt").write_text(WORDS)
    table, selection = table_of(tmp_path / "words.txt")
    assert table["word"].tolist() == ["cat", "cat", "hot dog", "hot dog", "nan", "nan", "&c", "&c"]
    assert table["text"].tolist()[2:6] == ["a photo of a hot dog", "hot dog", "a photo of a nan", "nan"]
    assert table["row"].tolist() == [0, 0, 1, 1, 3, 3, 5, 5] and table["copies"].tolist()[:2] == [2, 2]
    assert (selection.lines, selection.empty, selection.duplicates) == (12, 2, 2)


@pytest.mark.parametrize("rows", [1, 2, 100])
def test_batches_change_nothing(tmp_path, monkeypatch, rows):
    (tmp_path / "words.txt").write_text(WORDS)
    expected = [
        text for batch in Vocabulary([str(tmp_path / "words.txt")], TEMPLATES).batches() for text in batch.texts
    ]
    monkeypatch.setattr(corpus_file, "ROWS_AT_ONCE", rows)
    batches = list(Vocabulary([str(tmp_path / "words.txt")], TEMPLATES).batches())
    assert [text for batch in batches for text in batch.texts] == expected
    assert np.concatenate([batch.rows for batch in batches]).tolist() == np.repeat(range(6), 2).tolist()
