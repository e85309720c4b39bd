"""A set of words as a sentence: "and", "or" and "not" say what the relations of the words are."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from falcon_dvc.artifacts.formats import read_table, write_table
from falcon_dvc.concepts.words.sentences import SetWord, entries, listed, pairs_of, sentence, together, words_of_set
from tests.support.word_sets import word_set

WORDS = ["blue", "purple", "water", "boat"]


def relations(count, *both):
    """The symmetric relation "together" of the given pairs of words."""
    together = np.zeros((count, count), dtype=bool)
    for first, second in both:
        together[first, second] = together[second, first] = True
    return together


@pytest.mark.parametrize(
    ("count", "both", "expected"),
    [
        (1, [], "blue"),
        (2, [], "blue or purple"),
        (2, [(0, 1)], "blue and purple"),
        (3, [], "blue or purple or water"),
        (3, [(0, 1), (0, 2), (1, 2)], "blue and purple and water"),
        (3, [(0, 2), (1, 2)], "blue or purple, and water"),
        (3, [(0, 2)], "blue and water, or purple"),
        (4, [(0, 2), (0, 3), (1, 2), (1, 3)], "blue or purple, and water or boat"),
        (4, [(0, 1), (0, 3), (1, 3), (2, 3)], "(blue and purple) or water, and boat"),
        (4, [(0, 1), (1, 2), (2, 3)], "blue or purple or water or boat"),  # no sentence says this exactly
    ],
)
def test_relations_become_and_or(count, both, expected):
    assert sentence(WORDS[:count], [], relations(count, *both), float("nan")) == expected


def test_words_that_lower_the_feature_follow_not_and_r2_comes_last():
    together = relations(3, (0, 2), (1, 2))
    assert sentence(WORDS[:3], ["sand"], together, 0.614) == "blue or purple, and water, not sand (R² 0.61)"
    assert sentence([], ["sand", "snow"], relations(0), -0.004) == "not sand, not snow (R² -0.00)"
    assert sentence(np.array([]), [], relations(0), 0.5) == ""


@given(st.integers(0, 5), st.integers(0, 1023), st.integers(0, 2))
def test_each_word_occurs_once_whatever_the_relations(count, bits, opposed):
    names = [f"w{place}" for place in range(count)]
    every = list(itertools.combinations(range(count), 2))
    both = [pair for place, pair in enumerate(every) if bits >> place & 1]
    text = sentence(names, ["x", "y"][:opposed], relations(count, *both), float("nan"))
    spoken = text.replace(",", " ").replace("(", " ").replace(")", " ").split()
    assert sorted(word for word in spoken if word not in ("and", "or", "not")) == sorted(
        [*names, *["x", "y"][:opposed]]
    )
    assert spoken.count("not") == opposed


def test_the_words_of_a_table_are_read_back(tmp_path):
    write_table(
        tmp_path / "sets.csv", word_set("f0", ["a; b", "boat"], ["sand"], r2=0.5).assign(gains_low="-0.1; 0; 0")
    )
    row = read_table(tmp_path / "sets.csv").to_dict("records")[0]
    found = words_of_set(row)
    assert [(one.word, one.raises) for one in found] == [("a, b", True), ("boat", True), ("sand", False)]
    assert found[0] == SetWord("a, b", True, 0.2, -0.1, 0.3)


def test_a_table_whose_features_have_one_word_each_is_read_back(tmp_path):
    """All cells of the gains are then single numbers, and pandas reads numbers."""
    write_table(tmp_path / "sets.csv", word_set("f0", ["boat"], [], r2=0.5).assign(gains_low="-0.1"))
    found = words_of_set(read_table(tmp_path / "sets.csv").to_dict("records")[0])
    assert found == [SetWord("boat", True, 0.2, -0.1, 0.3)]


@given(st.lists(st.text("ab; &,'", min_size=1).filter(lambda word: word.strip(" ,;")), max_size=4))
def test_a_cell_holds_as_many_words_as_were_listed(words):
    words = [" ".join(word.split()) for word in words]
    assert entries(listed(words)) == [word.replace(";", ",") for word in words]
    none = dict.fromkeys(("not_words", "gains", "gains_low", "gains_high"), listed(["0.1"] * len(words)))
    row = {"words": listed(words), "directions": listed(["raises"] * len(words)), **none, "not_words": ""}
    assert [one.word for one in words_of_set(row)] == entries(row["words"])


@given(st.booleans(), st.booleans(), st.floats(-1, 1), st.integers(0, 9))
def test_a_pair_is_a_new_conjunction_if_two_words_gain(two, beats, gain, control):
    row = {
        "choice": "cofiring",
        "first": "f1",
        "second": "f2",
        "first_words": "boat & ",
        "label": "boat & red" if two else "boat",
    }
    row |= {"two_words": two, "beats_best_member": beats, "gain": gain, "gain_low": gain, "gain_high": gain}
    found = together(row | {"control_same_words_gain": control / 10 if control else ""})
    assert found.new == (two and beats) and found.text.startswith(
        f"f1 and f2 together: boat{' and red' if two else ''}; "
    )
    assert ("random partner" in found.of_gain) == bool(control) and ("no new" in found.of_gain) != found.new
    assert [
        len(pairs_of([row | {"control_same_words_gain": ""}], members)) for members in ("1 2", "2 1", "1", "1 2 3")
    ] == [
        1,
        1,
        0,
        0,
    ]
