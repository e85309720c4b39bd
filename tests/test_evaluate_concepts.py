"""Explanations are joined to features by key: neither the order of rows nor of groups matters."""

import pandas as pd

from stages.evaluate_concepts import _judged

NAMES = {("object", "boat"): {"boat", "ship"}, ("colour", "red"): {"red", "crimson"}}
TRUTH = pd.DataFrame(
    {"group": ["f0", "f1", "f2"], "kind": ["object", "colour", "object"], "value": ["boat", "red", "boat"]}
)
CONCEPTS = pd.DataFrame(
    [
        ("f0", "word", 1, "ship", True),
        ("f0", "word", 2, "red", True),
        ("f0", "word", 1, "boat", False),
        ("f1", "word", 1, "boat", True),
        ("f1", "word", 2, "crimson", True),
        ("f1", "phrase", 1, "red", True),
    ],
    columns=["group", "kind", "rank", "concept", "kept"],
)


def test_rank_of_the_first_word_that_names_the_truth():
    judged = _judged(TRUTH, CONCEPTS, NAMES)
    assert judged["rank_of_truth"].tolist() == [1, 2, float("inf")]
    assert judged["hit_first"].tolist() == [True, False, False]
    assert judged["hit_five"].tolist() == [True, True, False]
    assert judged["first_concept"].tolist() == ["ship", "boat", ""]


def test_shuffled_rows_change_nothing():
    expected = _judged(TRUTH, CONCEPTS, NAMES)
    for seed in range(5):
        assert _judged(TRUTH, CONCEPTS.sample(frac=1, random_state=seed), NAMES).equals(expected)
        shuffled = _judged(TRUTH.sample(frac=1, random_state=seed), CONCEPTS, NAMES)
        assert shuffled.sort_values("group").reset_index(drop=True).equals(expected)
