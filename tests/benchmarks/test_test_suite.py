"""The number of tests is read from what pytest prints."""

import pytest

from benchmarks.test_suite import tests as count_of


def test_the_number_that_passed_is_found():
    assert count_of("...\n5816 passed, 3 skipped in 135.21s (0:02:15)\n") == 5816


def test_output_without_a_number_is_an_error():
    with pytest.raises(ValueError, match="no number"):
        count_of("make: nothing")
