"""Tables of text: the column is found by header or contents, or is named; ambiguous files are one line."""

# ruff: noqa: E501 (tables: a row is a line)

import pytest

from falcon_dvc.errors import UserError
from tests.support.caption_files import texts_of

COLUMNS = {
    "another name": ("c.csv", "id,beschreibung\n1,ein Hund im Gras\n", r"no column of captions; set data\.caption_column to one of: id, beschreibung"),
    "two names": ("c.csv", "re_caption,org_caption\na,b\n", "to one of: re_caption, org_caption"),
    "two texts": ("c.tsv", "1\ta red cat on a mat\tein Hund im Gras\n", r"no header.*number of a column: 1 \(1\), 2 \(a red cat on a mat\), 3"),
    "no texts": ("c.tsv", "1\thttp://a\n2\thttp://b\n", "no header.*number of a column"),
    "names of images": ("c.txt", "1.jpg\n2.jpg\n", "names of images and no captions"),
}  # fmt: skip


@pytest.mark.parametrize("case", COLUMNS)
def test_files_without_a_clear_column_are_one_line(tmp_path, case):
    name, content, message = COLUMNS[case]
    (tmp_path / name).write_text(content)
    with pytest.raises(UserError, match=rf"^data\.captions: [^\n]*{message}[^\n]*$"):
        texts_of(tmp_path / name)


def test_a_column_is_named_by_its_name_or_number(tmp_path):
    (tmp_path / "c.tsv").write_text("1\ta red cat on a mat\tein Hund im Gras\n")
    (tmp_path / "c.csv").write_text("id,beschreibung,caption\n1,ein Hund,a dog\n")
    assert texts_of(tmp_path / "c.tsv", caption_column="3") == ["ein Hund im Gras"]
    assert texts_of(tmp_path / "c.csv", caption_column="beschreibung") == ["ein Hund"]
    assert texts_of(tmp_path / "c.csv", caption_column="2") == ["ein Hund"]
    with pytest.raises(UserError, match=r"no column 4 and no header that names one; set [^\n]* a number from 1 to 3"):
        texts_of(tmp_path / "c.tsv", caption_column="4")
    with pytest.raises(
        UserError, match=r"no column nope; set data\.caption_column to one of: id, beschreibung, caption"
    ):
        texts_of(tmp_path / "c.csv", caption_column="nope")


def test_a_table_may_be_asked_for_whatever_the_suffix(tmp_path):
    (tmp_path / "c.txt").write_text("a cat, white\n")
    assert texts_of(tmp_path / "c.txt") == ["a cat, white"]
    (tmp_path / "c.data").write_text("n;caption\n1;a cat\n2;a dog\n3\n")
    assert texts_of(tmp_path / "c.data", caption_format="table") == ["a cat", "a dog", ""]
