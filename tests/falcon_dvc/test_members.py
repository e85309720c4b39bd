"""The features of a group as text and as a matrix: what is written is read again."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from falcon_dvc.activations.rows import DenseRows
from falcon_dvc.members import as_text, incidence, mean_of_members, member_lists, membership

GROUPS = st.lists(st.lists(st.integers(0, 19), min_size=1, max_size=5, unique=True).map(sorted), max_size=6)


@given(GROUPS)
def test_what_is_written_is_read_again(groups):
    assert member_lists(map(as_text, groups)) == groups


@given(GROUPS)
def test_membership_has_a_one_for_each_member(groups):
    matrix = membership(map(as_text, groups), 20).toarray()
    assert np.array_equal(matrix, incidence(groups, 20).toarray())
    assert matrix.shape == (len(groups), 20)
    assert [np.flatnonzero(row).tolist() for row in matrix] == groups and set(matrix.flat) <= {0.0, 1.0}


@given(GROUPS, st.integers(0, 9))
def test_a_group_has_the_mean_activation_of_its_members(groups, seed):
    activations = np.random.default_rng(seed).normal(size=(4, 20)).astype(np.float32)
    found = mean_of_members(DenseRows(activations), map(as_text, groups), np.array([3, 1]))
    expected = [activations[[3, 1]][:, members].mean(axis=1, dtype=np.float64) for members in groups]
    assert found.shape == (2, len(groups))
    assert not groups or np.allclose(found.T, expected)
