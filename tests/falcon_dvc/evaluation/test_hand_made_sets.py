"""Sets of one class and random sets: who belongs to them, and what names them."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from scipy import sparse

from falcon_dvc.evaluation.hand_made_sets import first_word, random_sets, sets_of_classes

PROBE = np.arange(30) < 20


def test_classes_with_enough_images_on_both_sides_are_sets():
    labels = np.array(["cat", "dog"] * 10 + ["cat"] * 7 + ["dog", "", "rare"], dtype=object)
    names, sets = sets_of_classes(labels, PROBE, 3)
    assert names.tolist() == ["cat"]
    assert np.array_equal(sets[:, 0], labels == "cat")
    assert sets_of_classes(labels, PROBE, 1)[0].tolist() == ["cat", "dog"]


def test_fewer_held_out_images_are_needed_if_fewer_are_held_out():
    labels = np.array(["cat", "dog"] * 10 + ["cat"] * 2 + ["dog"] + [""] * 7, dtype=object)
    assert sets_of_classes(labels, PROBE, 4)[0].tolist() == ["cat"]
    assert sets_of_classes(labels, PROBE, 5)[0].tolist() == []


def test_one_class_or_none_gives_no_set():
    for label in ("", "cat"):
        names, sets = sets_of_classes(np.full(30, label, dtype=object), PROBE, 1)
        assert not len(names) and sets.shape == (30, 0)


@given(st.integers(0, 2**32 - 1))
def test_random_sets_have_the_sizes_of_the_sets(seed):
    rng = np.random.default_rng(seed)
    sets = rng.random((30, 4)) < 0.3
    drawn = random_sets(sets, PROBE, rng)
    for rows in (PROBE, ~PROBE):
        assert np.array_equal(drawn[rows].sum(axis=0), sets[rows].sum(axis=0))


def test_the_word_is_what_a_set_has_more_of_than_all_images():
    scores = np.array([[0.9, 0.8, 0.0], [0.9, 0.7, 0.0], [0.9, 0.0, 0.1], [0.9, 0.0, 0.2]])
    sets = np.array([[True, False], [True, False], [False, True], [False, True]])
    found = first_word(sets, sparse.csr_array(scores), np.array([0, 1, 2]))
    assert found.tolist() == [1, 2]
    assert first_word(sets, sparse.csr_array(scores), np.array([0, 2])).tolist() == [0, 2]
