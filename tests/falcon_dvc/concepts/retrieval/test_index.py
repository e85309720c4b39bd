"""Columns of the caption index as codes and texts."""

import numpy as np
import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from falcon_dvc.concepts.retrieval.index import factorised, occurring


@given(st.lists(st.sampled_from(["b", "a", "Z", "é", "", "犬"]), max_size=20), st.integers(1, 5))
def test_texts_are_numbered_in_alphabetical_order_whatever_the_parts(texts, size):
    parts = [pa.array(texts[start : start + size]).dictionary_encode() for start in range(0, len(texts), size)]
    codes, names = factorised(pa.chunked_array(parts, pa.dictionary(pa.int32(), pa.string())))
    assert names[codes].tolist() == texts
    assert names.tolist() == sorted(set(texts))


@given(st.lists(st.integers(0, 9), max_size=30))
def test_what_occurs_is_numbered_as_by_sorting(codes):
    different, places = np.unique(np.array(codes, dtype=int), return_inverse=True)
    found = occurring(np.array(codes, dtype=int), 10)
    assert np.array_equal(found[0], different) and np.array_equal(found[1], places)
