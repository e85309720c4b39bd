"""What differs between two revisions, and which differences are noise."""

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from falcon_dvc.compare.comparison import (
    MetricChange,
    Word,
    changed_params,
    compared_encoder,
    compared_metrics,
    read_concepts,
    with_close_call,
    words_of,
)
from falcon_dvc.html.measurements import Measurement


def share(value, reach=0.1):
    return {"share": value, "interval_low": value - reach, "interval_high": value + reach}


def verdicts(old, new):
    changes, same = compared_metrics({"m": old}, {"m": new})
    return {f"{change.heading}/{change.label}": change.verdict for change in changes}, same


@pytest.mark.parametrize(
    ("new", "verdict"), [(share(0.55), "noise"), (share(0.65), "beyond"), (share(0.55, 0.01), "beyond"), (0.55, None)]
)
def test_noise_lies_in_both_intervals(new, verdict):
    found, _ = verdicts({"a": share(0.5)}, {"a": new} if verdict else {"a": {"share": new}})
    assert found == {"/a share": verdict or "bare"}


def test_an_interval_on_one_side_only_is_none():
    assert verdicts({"a": {"share": 0.5}}, {"a": share(0.55)})[0] == {"/a share": "bare"}


def test_same_new_and_gone_numbers():
    found, same = verdicts({"n": 3, "old": 1, "a": share(0.5)}, {"n": 3, "new": 1, "a": share(0.5)})
    assert found == {"/old": "gone", "/new": "new"} and same == 2


def test_a_file_of_one_revision_only():
    changes, same = compared_metrics({"a": {"n": 1}}, {"b": {"n": 1}})
    assert [(change.file, change.verdict) for change in changes] == [("a", "gone"), ("b", "new")] and same == 0


@pytest.mark.parametrize("content", [[1, 2], None, "text", {"a": [1]}, {"a": "b", "c": True}])
def test_files_without_numbers_change_nothing(content):
    assert compared_metrics({"a": content}, {"a": {}}) == ([], 0)


numbers = st.floats(-10, 10)
triples = st.builds(
    lambda value, low, high: Measurement(value, value - low, value + high), numbers, *[st.floats(0, 2)] * 2
)


@given(triples, triples)
def test_noise_does_not_depend_on_the_order(old, new):
    change, back = MetricChange("f", "", "l", old, new), MetricChange("f", "", "l", new, old)
    assert change.verdict == back.verdict
    inside = new.low <= old.value <= new.high and old.low <= new.value <= old.high
    assert change.verdict == ("noise" if inside else "beyond")


def test_whole_numbers_differ_by_a_whole_number():
    (change,), _ = compared_metrics({"m": {"n": 30}}, {"m": {"n": 29}})
    assert change.difference == -1 and isinstance(change.difference, int)


def test_params_by_dotted_name():
    changes = changed_params(
        {"a": {"b": 1, "c": True}, "d": [1, 2]}, {"a": {"b": 2, "c": True}, "e": None, "d": [1, 2]}
    )
    assert [(change.name, change.old, change.new) for change in changes] == [("a.b", "1", "2"), ("e", None, "null")]


def test_values_are_written_as_in_yaml():
    (change,) = changed_params({"contrast": False}, {"contrast": "off"})
    assert (change.old, change.new) == ("false", "off")


def table(**words):
    return pd.DataFrame({"group": list(words), "members": "0", "words": list(words.values())}, dtype=str)


def compared(old, new):
    return compared_encoder("e", (old, new), ("A", "B"), [])


def test_features_in_the_order_of_their_change():
    old = table(f0="a:0.9; b:0.5", f1="a:0.9; b:0.5", f2="a:0.9; b:0.5; c:0.4", f3="a:0.9", f4="x:1.0")
    new = table(f0="a:0.8; b:0.4", f1="b:0.9; a:0.5", f2="a:0.9; c:0.5; b:0.4", f3="z:0.9", f5="x:1.0")
    some = compared(old, new)
    assert [change.group for change in some.changes] == ["f3", "f1", "f2"]
    assert [change.first_changed for change in some.changes] == [True, True, False]
    assert (some.same, some.appeared, some.gone, some.first_changed) == (1, ["f5"], ["f4"], 2)


def test_scores_alone_are_no_change():
    assert compared(table(f0="a:0.9; b:0.5"), table(f0="a:0.2; b:0.1")).changes == []


def test_no_words_at_all():
    (change,) = compared(table(f0=""), table(f0="a:0.2")).changes
    assert change.first_changed and change.change == 1


def test_a_table_that_is_missing():
    some = compared(None, table(f0="a:0.9"))
    assert some.missing == ["A"] and not some.changes


def test_words_of_a_cell():
    assert words_of("boat:0.91; a:b:0.40; broken; :0.1") == [Word("boat", 0.91), Word("a:b", 0.4), Word("", 0.1)]
    assert words_of("") == []
    assert words_of("'=cmd:0.5") == [Word("=cmd", 0.5)]


@pytest.mark.parametrize("text", ["", "a,b\n1,2\n", "group,members,words\nf0,0,a\nf0,0,b\n", 'group,"members'])
def test_what_is_no_table_of_concepts(text):
    assert read_concepts(text) is None


def test_a_word_called_nan_stays_one():
    assert list(read_concepts("group,members,words\nf0,0,nan:0.50\n")["words"]) == ["nan:0.50"]


def around(value, reach=0.1):
    return Measurement(value, value - reach, value + reach)


@pytest.mark.parametrize(
    ("old", "new", "close"),
    [
        ({"a": around(0.5), "b": around(0.45)}, {"a": around(0.44), "b": around(0.5)}, True),
        ({"a": around(0.5), "b": around(0.2)}, {"a": around(0.44), "b": around(0.5)}, False),
        ({"a": around(0.5), "b": around(0.45, 0.01)}, {"a": around(0.44), "b": around(0.5)}, False),
        ({"a": around(0.5)}, {"a": around(0.44), "b": around(0.5)}, False),
    ],
)
def test_close_calls(old, new, close):
    (change,) = compared(table(f0="a:0.5"), table(f0="b:0.5")).changes
    assert with_close_call(change, old, new).close is close


def test_numbers_of_encoders_in_one_file_are_compared_by_encoder():
    def measured(share):
        numbers = {"measured": 9, "share": share, "interval_low": share - 0.1, "interval_high": share + 0.1}
        return {"simclr": {"is_a_control": False, "controls": ["untrained_1"], "feature": numbers}}

    (change,), same = compared_metrics({"explained": measured(0.5)}, {"explained": measured(0.9)})
    assert (change.heading, change.label, change.verdict, same) == ("simclr · feature", "share", "beyond", 1)
