"""Explanations are joined to features by key: neither the order of rows nor of groups matters."""

import numpy as np
import pandas as pd
from hypothesis import given
from hypothesis import strategies as st

from falcon_dvc.concepts.words.listing import listed_words
from falcon_dvc.evaluation.ground_truth import attributes_table, selectivity_of, truth_of, with_rank_of_truth

NAMES = {("object", "boat"): {"boat", "ship"}, ("colour", "red"): {"red", "crimson"}}
TRUTH = pd.DataFrame(
    {"group": ["f0", "f1", "f2"], "kind": ["object", "colour", "object"], "value": ["boat", "red", "boat"]}
)
WORLD = pd.DataFrame(
    {
        "object": ["boat", "boat", "boat", "car", "car", "car", "car", "car"],
        "colour": ["red", "blue", "red", "blue", "red", "blue", "blue", "red"],
        "texture": ["plain"] * 8,
        "background": ["sand"] * 8,
        "position": ["left"] * 8,
    }
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
    found = with_rank_of_truth(TRUTH, listed_words(CONCEPTS), NAMES)
    assert found["rank_of_truth"].tolist() == [1, 2, float("inf")]
    assert found["hit_first"].tolist() == [True, False, False]
    assert found["hit_five"].tolist() == [True, True, False]
    assert found["first_concept"].tolist() == ["ship", "boat", ""]


def test_shuffled_rows_change_nothing():
    expected = with_rank_of_truth(TRUTH, listed_words(CONCEPTS), NAMES)
    for seed in range(5):
        mixed = listed_words(CONCEPTS.sample(frac=1, random_state=seed))
        assert with_rank_of_truth(TRUTH, mixed, NAMES).equals(expected)
        shuffled = with_rank_of_truth(TRUTH.sample(frac=1, random_state=seed), listed_words(CONCEPTS), NAMES)
        assert shuffled.sort_values("group").reset_index(drop=True).equals(expected)


def test_truth_is_the_attribute_that_follows_the_feature():
    attributes = attributes_table(WORLD)
    activations = np.column_stack([WORLD["object"] == "boat", WORLD["colour"] == "blue", np.zeros(8)]).astype(float)
    truth = truth_of(activations, attributes, 0.5)
    assert truth["group"].tolist() == ["f0", "f1", "f2"]
    assert list(zip(truth["kind"], truth["value"], strict=True))[:2] == [("object", "boat"), ("colour", "blue")]
    assert truth["clear"].tolist() == [True, True, False]


def test_selectivity_belongs_to_the_feature_and_its_word_whatever_the_order_of_rows():
    attributes = attributes_table(WORLD)
    activations = np.column_stack([WORLD["object"] == "boat", WORLD["colour"] == "red"]).astype(float)
    table = pd.DataFrame({"group": ["f1", "f0", "f0"], "first_concept": ["crimson", "ship", "nothing"]})
    found = selectivity_of(table, activations, attributes, NAMES)
    assert found["pearson"].round(6).tolist() == [1, 1, 0]
    assert found["auprc"].tolist() == [1, 1, 0]
    assert found["auc"].tolist() == [1, 1, 0.5]
    again = selectivity_of(table[::-1], activations, attributes, NAMES)
    assert again.sort_index().equals(found)


def test_a_word_that_names_two_attributes_labels_the_images_of_both():
    attributes = attributes_table(WORLD)
    either = (attributes["object", "boat"] | attributes["colour", "red"]).astype(float).to_numpy()
    table = pd.DataFrame({"group": ["f0"], "first_concept": ["both"]})
    names = {("object", "boat"): {"both"}, ("colour", "red"): {"both"}}
    assert selectivity_of(table, either[:, None], attributes, names)["pearson"].round(6).tolist() == [1]


LISTED = st.lists(st.sampled_from(["boat", "ship", "red", "crimson", "tree", "sky"]), unique=True, max_size=6)


@given(st.lists(LISTED, min_size=3, max_size=3))
def test_the_first_word_that_names_the_truth_decides_and_words_after_it_do_not(lists):
    listed = dict(zip(TRUTH["group"], lists, strict=True))
    found = with_rank_of_truth(TRUTH, listed, NAMES)
    for row, words in zip(found.itertuples(), lists, strict=True):
        names = NAMES[row.kind, row.value]
        place = next((words.index(word) + 1 for word in words if word in names), float("inf"))
        assert (row.rank_of_truth, row.hit_first, row.hit_five) == (place, place == 1, place <= 5)
        assert row.first_concept == (words[0] if words else "")
    longer = with_rank_of_truth(TRUTH, {group: [*words, "boat", "red"] for group, words in listed.items()}, NAMES)
    assert (longer["rank_of_truth"] <= found["rank_of_truth"].clip(upper=8)).all()


@given(st.permutations(range(8)), st.integers(1, 8))
def test_each_image_has_one_value_of_each_kind_and_rows_stay_theirs(order, count):
    rows = list(order)[:count]
    table = attributes_table(WORLD.iloc[rows].reset_index(drop=True))
    assert (table.sum(axis=1) == 5).all() and table.any(axis=0).all()
    whole = attributes_table(WORLD).iloc[rows].reset_index(drop=True)
    assert table.equals(whole[table.columns])
