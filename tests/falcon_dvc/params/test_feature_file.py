"""Files of chosen features: one number a line, and what is said of all others."""

import pytest

from falcon_dvc.errors import UserError
from falcon_dvc.params.feature_file import read_feature_file


def test_numbers_are_read_in_order_without_comments(tmp_path):
    path = tmp_path / "chosen.txt"
    path.write_bytes("\ufeff# of the first layer\r\n17\n\n 3 # a comment\n200".encode())
    assert read_feature_file(path) == [17, 3, 200]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"# nothing\n\n", ": names no feature; write one feature number a line"),
        (b"3\n17, 18\n", ":2: '17, 18' is not a feature number"),
        (b"-1", ":1: '-1' is not a feature number"),
        ("\u0663".encode(), ":1: '\u0663' is not a feature number"),
        (b"9" * 5000, ":1: '99999"),
        (b"3\n4\n3\n", ":3: names feature 3 again, as line 1 does; delete one"),
        (b"\xff\xfe3", ": not a text file"),
    ],
)
def test_what_is_no_list_of_features_is_one_line(content, words, tmp_path):
    path = tmp_path / "chosen.txt"
    path.write_bytes(content)
    with pytest.raises(UserError) as error:
        read_feature_file(path)
    line = str(error.value)
    assert line.startswith(f"{path}{words}") and "\n" not in line and len(line) < 300


@pytest.mark.parametrize("name", [".", "nowhere.txt", "a\0b"])
def test_a_path_that_is_no_file_is_one_line(name, tmp_path):
    with pytest.raises(UserError, match=r": not (readable|a text file)"):
        read_feature_file(tmp_path / name)
