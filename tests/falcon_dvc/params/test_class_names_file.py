"""Words of classes from JSON files as they are made, and files that hold none."""

import json

import pytest

from falcon_dvc.errors import UserError
from falcon_dvc.params.class_names_file import read_class_names


@pytest.mark.parametrize("entry", [["car", "auto"], {"names": ["car", "auto"], "broader": ["vehicle"]}])
def test_both_forms(entry, tmp_path):
    (tmp_path / "n.json").write_text(json.dumps({"car_side": entry}), encoding="utf-8-sig")
    assert read_class_names(tmp_path / "n.json") == {"car_side": ["car", "auto"]}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "is no JSON that can be read"),
        ("[" * 100_000, "is no JSON that can be read"),
        ("[]", "holds no mapping of classes"),
        ("{}", "holds no mapping of classes"),
        ('{"car": []}', "car has no list of words"),
        ('{"car": "auto"}', "car has no list of words"),
        ('{"car": {"broader": ["x"]}}', "car has no list of words"),
        ('{"car": [1]}', "car has no list of words"),
        (None, "is no JSON that can be read"),
    ],
)
def test_other_files_are_one_line(text, message, tmp_path):
    if text is not None:
        (tmp_path / "n.json").write_text(text)
    with pytest.raises(UserError, match=message) as error:
        read_class_names(tmp_path / "n.json")
    assert "\n" not in str(error.value)
