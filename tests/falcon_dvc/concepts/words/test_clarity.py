"""Which concepts may be chance, which of them are listed, and why a group is not explained."""

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from falcon_dvc.concepts.words.clarity import (
    Faithfulness,
    doubts,
    first_of_each,
    listed_concepts,
    read_faithfulness,
)

ROWS = st.lists(
    st.tuples(st.sampled_from("ab"), st.sampled_from(["word", "phrase"]), st.booleans(), st.booleans()),
    max_size=20,
)  # fmt: skip


def table(rows):
    """Concepts, ranked in the order of `rows` within group, kind and kept."""
    made = pd.DataFrame(rows, columns=["group", "kind", "kept", "weak"]).astype({"kept": bool})
    rank = made.groupby(["group", "kind", "kept"]).cumcount() + 1
    return made.assign(rank=rank, weak=made["weak"].astype(bool), concept=[f"c{row}" for row in range(len(made))])


@given(ROWS, st.integers(0, 3), st.sets(st.sampled_from("ab")))
def test_all_clear_concepts_and_the_first_weak_ones_are_listed(rows, most, trusted):
    concepts = table(rows)
    found = listed_concepts(concepts, trusted, most)
    weak = dict(zip(concepts["concept"], concepts["weak"], strict=True))
    assert (found["unclear"] == (found["weak"] | ~found["group"].isin(trusted))).all()
    left_out = concepts[~concepts["concept"].isin(found["concept"])]
    assert left_out["kept"].all() and (left_out["rank"] > 1).all() and all(weak[name] for name in left_out["concept"])
    for (group, kind), rows_left in left_out.groupby(["group", "kind"]):
        listed = found[(found["group"] == group) & (found["kind"] == kind) & found["kept"] & found["weak"]]
        assert len(listed) >= most and (most == 0 or listed["rank"].max() < rows_left["rank"].min())


def test_the_first_concept_is_a_word_if_there_is_one():
    concepts = table(
        [
            ("a", "phrase", True, False),
            ("a", "word", True, True),
            ("b", "phrase", True, False),
            ("b", "word", False, False),
        ]
    )
    assert list(first_of_each(concepts)["concept"]) == ["c1", "c2"]


@pytest.mark.parametrize(
    ("low", "interpretable", "crops", "said"),
    [
        (0.3, True, 9, []),
        (0.3, False, 9, ["look no more alike"]),
        (0.1, True, 9, ["“man” may be chance: it scores 0.40 (0.10–0.50), and 0.20 on random crops."]),
        (0.1, False, 9, ["look no more alike", "may be chance"]),
        (np.nan, False, 1, ["fewer than two crops"]),
        (None, True, 9, ["No concept is left"]),
    ],
)
def test_doubts_are_told_in_words(low, interpretable, crops, said):
    numbers = {"score": 0.4, "interval_low": low, "interval_high": 0.5, "prior": 0.2}
    first = None if low is None else SimpleNamespace(concept="man", weak=not low > 0.2, **numbers)
    found = doubts(first, interpretable, crops)
    assert len(found) == len(said) and all(part in text for part, text in zip(said, found, strict=True))


def test_a_word_that_beats_random_crops_is_weak_if_it_does_not_follow_the_feature():
    numbers = {"score": 0.4, "interval_low": 0.3, "interval_high": 0.5, "prior": 0.2}
    (said,) = doubts(SimpleNamespace(concept="man", weak=True, **numbers), True, 9)
    assert said.startswith("“man” may be chance: over all images, it follows the feature no better than")


ROW = {"pearson": 0.12, "pearson_low": 0.0, "pearson_high": 0.2, "level": 0.3, "p_value": 0.3, "explained": False}
WORD = SimpleNamespace(concept="man", kind="word", score=0.4, interval_low=0.1, interval_high=0.5, prior=0.2, weak=True)


def test_the_verdict_decides_and_not_the_crops():
    sure, unsure = (read_faithfulness(ROW | {"explained": verdict}) for verdict in (True, False))
    assert doubts(WORD, False, 1, sure) == []
    (said,) = doubts(WORD, True, 9, unsure)
    assert "does not follow it clearly better" in said and "(correlation 0.12, p 0.3)" in said
    assert (sure.trusted(False), unsure.trusted(True)) == (True, False)


def test_a_group_without_a_word_is_not_explained_whatever_the_verdict():
    sure = Faithfulness(correlation=0.5, verdict=True)
    assert doubts(None, True, 9, sure) == ["No concept is left."]
    assert "phrase is not measured" in doubts(SimpleNamespace(kind="phrase"), True, 9, sure)[0]


@pytest.mark.parametrize("lost", [(), ("explained", "p_value"), ("explained", "p_value", "level"), tuple(ROW)])
def test_without_a_verdict_the_old_rule_holds(lost):
    for row in ({key: value for key, value in ROW.items() if key not in lost}, ROW | dict.fromkeys(lost, np.nan)):
        found = read_faithfulness(row)
        assert found.trusted(True) is bool(lost) and found.trusted(False) is False
        assert not lost or doubts(WORD, True, 9, found)[0].startswith("“man” may be chance")


def test_the_reason_of_a_missing_verdict_is_that_of_the_row():
    assert read_faithfulness(ROW | {"no_verdict": "no control"}).no_verdict == "no control"
    assert read_faithfulness(ROW).no_verdict == read_faithfulness(ROW | {"no_verdict": None}).no_verdict == ""
