"""Rows of tables of text: a quotation mark is a quote or a letter, and what a writer writes is read back."""

# ruff: noqa: E501 (tables: a row is a line)

import csv
import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from falcon_dvc.captions.delimited import Dialect, rows_of
from falcon_dvc.captions.selection import select
from falcon_dvc.captions.tables import TableFiles
from tests.support.caption_files import texts_of

QUOTES = {
    "a mark that is not closed": ("c.tsv", 'n\tcaption\n0\t"The Red Square\n1\ta cat\n2\t"Yellow day\n3\ta dog\n', ['"The Red Square', "a cat", '"Yellow day', "a dog"], 0),
    "closed in a later row": ("c.tsv", 'n\tcaption\n0\t"The Red\n1\ta cat\n2\tthe sign "stop"\n', ['"The Red', "a cat", 'the sign "stop"'], 0),
    "closed at the end of a later row": ("c.tsv", 'n\tcaption\n0\t"The Red\n1\ta cat"\n', ['"The Red', 'a cat"'], 0),
    "the first column": ("c.tsv", 'caption\turl\n"The Red\thttp://a\na cat"\thttp://b\n', ['"The Red', 'a cat"'], 0),
    "without header": ("c.tsv", '"The big Red Square\thttp://a\na cat on a mat\thttp://b\n', ['"The big Red Square', "a cat on a mat"], 0),
    "a text in marks": ("c.tsv", 'n\tcaption\n0\t"Hello" he said\n1\t"a cat"\n', ['"Hello" he said', "a cat"], 0),
    "marks of pandas": ("c.tsv", 'n\tcaption\n0\t"a ""red"" cat"\n1\ta dog\n', ['a "red" cat', "a dog"], 0),
    "inches": ("c.csv", 'caption,n\na 5" cat,1\na 6" dog,2\n', ['a 5" cat', 'a 6" dog'], 0),
    "not closed in CSV": ("c.csv", 'n,caption\n0,"The Red\n1,a cat\n2,"a dog, white"\n', ['"The Red', "a cat", "a dog, white"], 0),
    "closed at the end of a later row of CSV": ("c.csv", 'n,caption\n0,"The Red\n1,a cat"\n', ['"The Red', 'a cat"'], 0),
    "not closed before URLs": ("c.csv", 'caption,url\n"The Red,http://a\na cat",http://b\n', ['"The Red', 'a cat"'], 0),
    "the last row": ("c.csv", 'n,caption\n0,a cat\n1,"a dog', ["a cat", '"a dog'], 0),
    "line ends in a cell": ("c.csv", 'n,caption\n0,"a cat\non, a mat"\n1,a dog\n', ["a cat on, a mat", "a dog"], 1),
    "line ends in cells of TSV": ("c.tsv", 'n\tcaption\n0\t"a cat\non a mat\n\nagain"\n1\t"a\ndog"\n', ["a cat on a mat again", "a dog"], 2),
    "line ends in two cells": ("c.csv", 'title2,caption,n\n"a\nb","c ""d""\ne",1\nf,g,2\n', ['c "d" e', "g"], 1),
    "a line end at the start": ("c.csv", 'n,caption\n0,"\na cat"\n1,a dog\n', ["a cat", "a dog"], 1),
    "line ends in the only column": ("c.csv", 'caption\n"a cat\non a mat"\na dog\n', ["a cat on a mat", "a dog"], 1),
    "separators in the last caption": ("c.csv", "n,caption\n0,a cat, on a mat\n1,a dog\n", ["a cat, on a mat", "a dog"], 0),
    "empty lines": ("c.csv", "\nn,caption\n\n0,a cat\n\n1,\n", ["a cat", ""], 0),
}  # fmt: skip


@pytest.mark.parametrize("case", QUOTES)
def test_quotation_marks_are_quotes_or_letters(tmp_path, case):
    name, content, texts, of_several_lines = QUOTES[case]
    (tmp_path / name).write_text(content)
    assert texts_of(tmp_path / name) == texts
    assert select(TableFiles([str(tmp_path / name)])).of_several_lines == of_several_lines


def test_a_mark_is_a_letter_if_it_is_not_closed_within_some_lines(tmp_path):
    (tmp_path / "c.csv").write_text('n,caption\n0,"a\n' + "x,y\n" * 300 + '"\n')
    selection = select(TableFiles([str(tmp_path / "c.csv")]))
    assert (selection.lines, selection.of_several_lines) == (302, 0)


CELL = st.text(st.sampled_from('ab,"\n \t'), max_size=6)


@given(st.lists(st.tuples(st.integers(0, 99).map(str), CELL.map("x".__add__)), min_size=1, max_size=6))
def test_what_a_writer_of_csv_writes_is_read_back(table):
    file = io.StringIO()
    csv.writer(file, quoting=csv.QUOTE_NONNUMERIC, lineterminator="\n").writerows(table)
    read = rows_of(iter(file.getvalue().split("\n")[:-1]), Dialect(",", False, 2, (0, 1)))
    assert [tuple(row.texts) for row in read] == table


@given(st.lists(st.text(st.sampled_from('ab," '), min_size=1, max_size=9), min_size=1, max_size=6))
def test_rows_of_tabs_are_lines_whatever_marks_they_hold(texts):
    lines = [f"{number}\tx{text}" for number, text in enumerate(texts)]
    read = rows_of(iter(lines), Dialect("\t", False, 2, (1,)))
    assert [row.texts for row in read] == [[f"x{text}"] for text in texts]
