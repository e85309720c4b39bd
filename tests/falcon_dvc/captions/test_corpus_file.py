"""Caption files: ids are line numbers whatever stands in the lines."""

import unicodedata
from io import BufferedReader, BytesIO
from types import SimpleNamespace

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from falcon_dvc.captions import corpus_file
from falcon_dvc.captions.corpus_file import (
    MAX_LINE_BYTES,
    Batch,
    LineFiles,
    as_text,
    clean_caption,
    decoded,
    is_missing,
    short_lines,
)
from falcon_dvc.captions.selection import cleaned, numbered, select, selected
from falcon_dvc.errors import UserError


def read_captions(path):
    """The counts of a text file, and the table of what is kept."""
    source = LineFiles([str(path)])
    selection = select(source)
    table = pa.concat_tables(selected(source, selection, with_source=False)).to_pandas()
    return SimpleNamespace(table=table, **{name: getattr(selection, name) for name in COUNTS})


COUNTS = ("lines", "empty", "duplicates", "cut", "undecodable")
NOT_LINE_ENDS = "\r\x0b\x0c\x1c\x1d\x1e\x85\u2028\u2029"


@pytest.fixture
def read(tmp_path):
    """Read captions from bytes."""

    def read(content: bytes):
        path = tmp_path / "captions.txt"
        path.write_bytes(content)
        return read_captions(path)

    return read


def pairs(captions) -> list[tuple[int, str]]:
    """Give ids and texts."""
    return list(captions.table[["caption", "text"]].itertuples(index=False, name=None))


def test_one_caption_a_line_with_or_without_the_last_line_end(read):
    for content in (b"a cat\na dog\n", b"a cat\na dog", b"a cat\r\na dog\r\n"):
        captions = read(content)
        assert pairs(captions) == [(0, "a cat"), (1, "a dog")]
        assert captions.lines == 2
        assert captions.table.dtypes[["caption", "copies"]].astype(str).tolist() == ["int64", "int64"]


def test_missing_captions_are_dropped_without_shifting_ids(read):
    captions = read(b"\n  \t\nNone\nnan\nNaN\na nan bread\n\x00\nlast\n")
    assert pairs(captions) == [(5, "a nan bread"), (7, "last")]
    assert (captions.lines, captions.empty) == (8, 6)


def test_separators_inside_a_caption_become_spaces(read):
    content = "".join(f"before{letter}after {number}\n" for number, letter in enumerate(NOT_LINE_ENDS))
    expected = [(number, f"before after {number}") for number in range(len(NOT_LINE_ENDS))]
    assert pairs(read(content.encode())) == expected


def test_control_characters_become_spaces(read):
    assert pairs(read(b"\x00a\x00\x07cat\x7f\x1b[31m red\x08\n")) == [(0, "a cat [31m red")]


def test_other_scripts_emoji_and_markup_are_kept(read):
    texts = ["كلب أسود يركض", "шалаш", "👩‍👩‍👧 on a 🏖️", "<script>alert(1)</script>", "=HYPERLINK(1)", "犬"]
    assert read("\n".join(texts).encode()).table["text"].tolist() == texts


def test_equivalent_spellings_are_one_caption(read):
    captions = read("café\ncafe\u0301\n café  \n".encode())
    assert pairs(captions) == [(0, "café")]
    assert captions.table["copies"].tolist() == [3]
    assert captions.duplicates == 2


def test_the_first_copy_gives_the_id(read):
    captions = read(b"\na dog\na cat\na dog\nA dog\n")
    assert pairs(captions) == [(1, "a dog"), (2, "a cat"), (4, "A dog")]
    assert captions.table["copies"].tolist() == [2, 1, 1]


def test_long_captions_are_cut_and_counted(read):
    captions = read(b"x" * 10_000 + b"\n" + b"y" * 1000 + b"\nz\n")
    assert captions.table["text"].str.len().tolist() == [1000, 1000, 1]
    assert captions.cut == 1


@pytest.mark.parametrize("length", [MAX_LINE_BYTES - 1, MAX_LINE_BYTES, MAX_LINE_BYTES + 1, 3 * MAX_LINE_BYTES])
@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
def test_lines_longer_than_the_buffer_stay_one_line(read, length, mark):
    assert pairs(read(mark + b"x" * length + b"\nnext\n"))[1:] == [(1, "next")]


def test_long_lines_are_read_in_smaller_batches(monkeypatch, tmp_path):
    monkeypatch.setattr(corpus_file, "BYTES_AT_ONCE", 100)
    (tmp_path / "c.txt").write_bytes(b"\n".join([b"x" * 60] * 5 + [b"y"] * 3))
    batches = list(LineFiles([str(tmp_path / "c.txt")]).batches())
    assert [(batch.row, len(batch.texts)) for batch in batches] == [(0, 2), (2, 2), (4, 4)]


def test_undecodable_bytes_are_replaced_and_counted(read):
    captions = read(b"caf\xe9\ngood\n")
    assert pairs(captions) == [(0, "caf\ufffd"), (1, "good")]
    assert captions.undecodable == 1


def test_a_byte_order_mark_is_no_part_of_the_first_caption(read):
    assert pairs(read(b"\xef\xbb\xbfa cat\n")) == [(0, "a cat")]


@pytest.mark.parametrize(
    ("content", "message"),
    [(b"", "is empty"), (b"\n\nNone\n", "3 lines and no caption"), (b"\x1f\x8bno gzip", "cannot be read")],
)
def test_files_without_captions_get_one_clear_line(read, content, message):
    with pytest.raises(UserError, match=rf"^data\.captions: [^\n]*{message}[^\n]*$"):
        read(content)


def test_missing_files_and_folders_get_one_clear_line(tmp_path):
    for path in (tmp_path, tmp_path / "none.txt"):
        with pytest.raises(UserError, match=r"^data\.captions: [^\n]*one caption a line$"):
            read_captions(path)


any_bytes = st.one_of(st.binary(max_size=30), st.text(max_size=30).map(str.encode))
line = any_bytes.map(lambda content: content.replace(b"\n", b" "))


@settings(deadline=None, max_examples=60)
@given(lines=st.lists(line, max_size=12), last_end=st.booleans())
def test_ids_never_shift(tmp_path_factory, lines, last_end):
    good = [b"end"] * (len(lines) + 1)  # most of a corpus must be UTF-8
    marked = [b"line %d " % number + content for number, content in enumerate([*lines, *good])]
    path = tmp_path_factory.mktemp("captions") / "captions.txt"
    path.write_bytes(b"\n".join(marked) + (b"\n" if last_end else b""))
    captions = read_captions(path)
    assert captions.lines == len(marked)
    assert captions.table["caption"].tolist() == list(range(len(marked)))
    assert all(text.startswith(f"line {number}") for number, text in pairs(captions))


@settings(deadline=None)
@given(st.text(max_size=60))
def test_cleaning_twice_changes_nothing(text):
    assert clean_caption(clean_caption(text)) == clean_caption(text)


@given(st.text(st.sampled_from("ab \u00a0\t\0\x85\u2028e\u0301é"), max_size=12))
def test_a_clean_caption_is_one_line_of_words_whatever_divides_them(text):
    clean = clean_caption(text)
    assert unicodedata.is_normalized("NFC", clean) and clean == " ".join(clean.split())
    assert not any(unicodedata.category(letter) == "Cc" for letter in clean)
    assert clean_caption(f"\0 {text}\r\n") == clean == clean_caption(unicodedata.normalize("NFD", text))


@given(st.lists(st.none() | any_bytes, max_size=9))
def test_bytes_become_text_and_those_that_are_none_are_counted(cells):
    texts, undecodable = decoded(cells)
    valid = [cell is None or cell.decode("utf-8", "ignore").encode() == cell for cell in cells]
    assert [None if text is None else text.encode() for text, good in zip(texts, valid, strict=True) if good] == [
        cell for cell, good in zip(cells, valid, strict=True) if good
    ]
    assert undecodable == valid.count(False)


@given(st.binary(max_size=60).map(lambda content: content.replace(b"\x07", b"\n")), st.integers(1, 9))
def test_lines_are_counted_by_their_ends_and_each_is_cut(content, most):
    lines = list(short_lines(BufferedReader(BytesIO(content)), most))
    whole = content.removeprefix(b"\xef\xbb\xbf").split(b"\n")
    whole = [some + b"\n" for some in whole[:-1]] + ([whole[-1]] if whole[-1] else [])
    assert lines == [some[:most] for some in whole]


@given(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.sampled_from(["NaN", "a\ud800"])
)
def test_a_cell_is_text_that_a_file_can_hold(value):
    text = as_text(value)
    assert (text is None) == (value is None)
    if text is not None:
        assert text.encode("utf-8").decode("utf-8") == text and as_text(text) == text
        assert is_missing(text) == (text.lower() in ("", "none", "nan"))


class Texts:
    """A corpus of some texts, cut into batches."""

    files, unit = ("texts",), "lines"

    def __init__(self, texts, size):
        self.texts, self.size = texts, size

    def batches(self):
        for start in range(0, len(self.texts), self.size):
            yield Batch(0, start, self.texts[start : start + self.size])


@given(
    st.lists(
        st.none() | st.sampled_from(["a cat", " a  cat", "b", "nan", "", "c\0", "x" * 1200, "x" * 1100]), max_size=15
    ),
    st.integers(1, 6),
)
def test_every_row_is_kept_a_copy_or_empty_however_the_corpus_is_cut(texts, size):
    source, whole = Texts([*texts, "end"], size), Texts([*texts, "end"], 99)
    selection = select(source)
    assert selection.lines == len(texts) + 1 == selection.empty + selection.duplicates + len(selection.captions)
    assert selection.copies.sum() == selection.lines - selection.empty
    assert selection.digest == select(whole).digest
    table, other = (pa.concat_tables(selected(some, selection, with_source=True)) for some in (source, whole))
    assert table.equals(other) and table["caption"].equals(table["row"])
    kept = table["text"].to_pylist()
    assert len(set(kept)) == len(kept) and all(0 < len(text) <= 1000 for text in kept)
    assert [first for first, _ in numbered(source.batches())] == list(range(0, len(texts) + 1, size))
    assert [text for batch in source.batches() for text in cleaned(batch)] == [
        clean_caption(text or "") for text in source.texts
    ]
