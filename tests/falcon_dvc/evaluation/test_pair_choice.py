"""The choice of pairs of features: by words and common images, disjoint, and with random partners."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from falcon_dvc.evaluation.pair_choice import (
    common_images,
    different_words,
    disjoint_pairs,
    occurring_conjunctions,
    with_random_partners,
)

SEEDS = st.integers(0, 2**32 - 1)


def relation(seed: int, features: int = 8) -> np.ndarray:
    """A symmetric relation of features, none with itself."""
    drawn = np.triu(np.random.default_rng(seed).random((features, features)) < 0.3, 1)
    return drawn | drawn.T


@given(st.lists(st.integers(-1, 3), max_size=6))
def test_words_differ_only_between_features_that_have_one(words):
    found = different_words(np.array(words, dtype=np.int64))
    expected = [[one != other and min(one, other) >= 0 for other in words] for one in words]
    assert np.array_equal(found, np.array(expected, dtype=bool).reshape(found.shape))


@given(SEEDS)
def test_common_images_are_counted(seed):
    fires = np.random.default_rng(seed).random((20, 5)) < 0.4
    assert np.array_equal(common_images(fires), (fires[:, :, None] & fires[:, None, :]).sum(axis=0))


@given(SEEDS)
def test_words_of_a_conjunction_occur_together_and_each_member_follows_its_own(seed):
    rng = np.random.default_rng(seed)
    words, present, correlation = rng.integers(-1, 4, 6), rng.random((30, 4)) < 0.5, rng.uniform(-0.2, 0.8, (6, 4))
    found = occurring_conjunctions(words, present, correlation, 8, 0.4, 0.3)
    for one, other in np.ndindex(found.shape):
        first, second = words[[one, other]]
        assert found[one, other] == (
            first != second
            and min(first, second) >= 0
            and (present[:, first] & present[:, second]).sum() >= 8
            and min(correlation[one, first], correlation[other, second]) >= 0.4
            and max(correlation[one, second], correlation[other, first]) <= 0.3
        )


@given(SEEDS, st.integers(0, 5))
def test_pairs_are_eligible_and_share_no_feature_and_no_further_one_fits(seed, most):
    eligible = relation(seed)
    pairs = disjoint_pairs(eligible, most, np.random.default_rng(seed))
    assert len(pairs) <= most and len(np.unique(pairs)) == pairs.size
    assert eligible[pairs[:, 0], pairs[:, 1]].all() and (pairs[:, 0] < pairs[:, 1]).all()
    free = np.setdiff1d(np.arange(8), pairs)
    assert len(pairs) == most or not eligible[np.ix_(free, free)].any()
    assert np.array_equal(pairs, disjoint_pairs(eligible, most, np.random.default_rng(seed)))


@given(SEEDS)
def test_a_random_partner_is_eligible_and_new_and_missing_only_where_there_is_none(seed):
    eligible = relation(seed)
    pairs = disjoint_pairs(eligible, 4, np.random.default_rng(seed))
    partners = with_random_partners(pairs, eligible, np.random.default_rng(seed))
    assert np.array_equal(partners[:, 0], pairs[:, 0])
    for (first, second), partner in zip(pairs, partners[:, 1], strict=True):
        others = set(np.flatnonzero(eligible[first])) - {first, second}
        assert partner in others if others else partner == -1
