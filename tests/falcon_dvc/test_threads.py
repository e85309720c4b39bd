"""Blocks of rows that threads share."""

from unittest import mock

import pytest
from hypothesis import given
from hypothesis import strategies as st

from falcon_dvc import threads
from falcon_dvc.threads import in_blocks


@given(st.integers(0, 40), st.integers(1, 50), st.integers(1, 3))
def test_every_row_is_handled_once_and_in_order_whatever_the_number_of_threads(rows, at_once, workers):
    with mock.patch.object(threads, "WORKERS", workers):
        found = in_blocks(lambda some: list(range(rows)[some]), rows, at_once)
    assert [row for block in found for row in block] == list(range(rows))
    assert all(1 <= len(block) <= at_once for block in found)


def test_what_fails_in_a_thread_is_raised():
    with pytest.raises(ZeroDivisionError):
        in_blocks(lambda some: 1 / 0, 3, 1)
