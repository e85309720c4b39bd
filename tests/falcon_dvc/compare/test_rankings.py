"""How far two rankings agree."""

from hypothesis import given
from hypothesis import strategies as st

from falcon_dvc.compare.rankings import average_overlap

rankings = st.lists(st.sampled_from("abcdefgh"), unique=True)


@given(rankings, rankings)
def test_bounds_and_symmetry(first, second):
    overlap = average_overlap(first, second)
    assert 0 <= overlap <= 1
    assert overlap == average_overlap(second, first)
    assert (overlap == 1) == (first == second)
    assert (overlap == 0) == (not set(first) & set(second) and bool(first or second))


def test_known_value():
    assert average_overlap(["a", "b", "c"], ["a", "c", "d"]) == (1 + 1 / 2 + 2 / 3) / 3


def test_the_top_counts_most():
    words = ["a", "b", "c", "d"]
    assert average_overlap(words, ["b", "a", "c", "d"]) < average_overlap(words, ["a", "b", "d", "c"])


@given(rankings, rankings)
def test_a_common_first_entry_brings_lists_closer_and_names_do_not_matter(first, second):
    overlap = average_overlap(first, second)
    assert average_overlap(["z", *first], ["z", *second]) >= overlap
    assert average_overlap([name + "!" for name in first], [name + "!" for name in second]) == overlap
    assert average_overlap(["y", *first], ["z", *second]) <= overlap
