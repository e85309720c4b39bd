"""Copies are found by fingerprint: the first one stays, whatever stands between, and what is no caption does not count."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from falcon_dvc.captions.duplicates import fingerprints, first_of_each

TEXTS = st.lists(st.sampled_from(["a cat", "a dog", "", "A cat", "\U0001f408", "a cat ", "قطة"]), max_size=30)


def by_dictionary(texts, counted):
    """The same in one dictionary of all texts."""
    first, copies = {}, {}
    for place, (text, counts) in enumerate(zip(texts, counted, strict=True)):
        if counts:
            first.setdefault(text, place)
            copies[text] = copies.get(text, 0) + 1
    return list(first.values()), list(copies.values())


@given(TEXTS, st.data())
def test_the_first_copy_of_each_text_is_kept_with_its_count(texts, data):
    counted = data.draw(st.lists(st.booleans(), min_size=len(texts), max_size=len(texts)))
    kept, copies = first_of_each(fingerprints(texts), np.array(counted, dtype=bool))
    assert (kept.tolist(), copies.tolist()) == by_dictionary(texts, counted)


@given(TEXTS, st.integers(1, 7))
def test_fingerprints_do_not_depend_on_chunks(texts, size):
    parts = [fingerprints(texts[start : start + size]) for start in range(0, len(texts), size)]
    assert np.array_equal(np.concatenate([fingerprints([]), *parts]), fingerprints(texts))


def test_texts_that_share_half_a_fingerprint_are_different():
    prints = np.array([[1, 2], [1, 3], [0, 2], [1, 2], [1, 3]], dtype=np.uint64)
    kept, copies = first_of_each(prints, np.ones(5, dtype=bool))
    assert kept.tolist() == [0, 1, 2]
    assert copies.tolist() == [2, 2, 1]


@given(st.lists(st.text("ab\0 \u00e9\U0001f408", max_size=3), max_size=20))
def test_fingerprints_are_alike_just_where_the_texts_are(texts):
    prints = fingerprints(texts)
    assert prints.shape == (len(texts), 2)
    for one, other in ((0, place) for place in range(len(texts))):
        assert (prints[one] == prints[other]).all() == (texts[one] == texts[other])


@given(TEXTS)
def test_every_text_is_counted_once_and_what_is_kept_has_no_copy(texts):
    prints = fingerprints(texts)
    kept, copies = first_of_each(prints, np.ones(len(texts), dtype=bool))
    assert copies.sum() == len(texts)
    again, single = first_of_each(prints[kept], np.ones(len(kept), dtype=bool))
    assert again.tolist() == list(range(len(kept))) and (single == 1).all()
